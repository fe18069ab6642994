"""A site is written over an earlier one, whatever became of that."""

from pathlib import PurePosixPath

import pytest
from test_site import files

from kbench.errors import KbenchError
from kbench.leaderboard.site import writing
from kbench.leaderboard.site.writing import MANIFEST, write


def test_stale_pages_go_and_other_files_stay(tmp_path):
    out = tmp_path / "deep" / "site"
    assert write({PurePosixPath("a/b.html"): "b", PurePosixPath("c.html"): "c"}, out) == 0
    (out / "CNAME").write_text("mine")
    assert write({PurePosixPath("c.html"): "new"}, out) == 1
    assert files(out) == {"CNAME": b"mine", "c.html": b"new", MANIFEST: b"c.html\n"}
    assert not (out / "a").exists()


def test_a_site_cut_short_is_written_over_by_the_next(tmp_path, monkeypatch):
    whole = {PurePosixPath("a.html"): "a", PurePosixPath("b.html"): "b"}
    replace = writing._replace

    def cut_short(path, text):
        if path.name == "b.html":
            raise OSError(28, "No space left on device", str(path))
        replace(path, text)

    monkeypatch.setattr(writing, "_replace", cut_short)
    with pytest.raises(KbenchError, match=r"b\.html cannot be written: No space left"):
        write(whole, tmp_path / "site")
    monkeypatch.undo()
    assert write({PurePosixPath("c.html"): "c"}, tmp_path / "site") == 2
    assert set(files(tmp_path / "site")) == {"c.html", MANIFEST}
