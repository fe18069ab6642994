"""A study in shares, on the command line: `run --shard`, `plan --shards`, `merge`."""

import json
import sqlite3

import pytest
from forked import kbench

OF = ["--model", "lstm", "--task", "modadd", "--set", "m=2", "--lengths", "3-4"]


def digests(directory):
    db = sqlite3.connect(directory / "trials.sqlite3")
    found = dict(db.execute("SELECT key, digest FROM trials"))
    db.close()
    return found


@pytest.fixture(scope="module")
def shares(tmp_path_factory, tiny_yaml):
    """Three cells measured in three shares, and what the runs said."""
    folder = tmp_path_factory.mktemp("shares")
    options = [*OF, "--protocol", tiny_yaml, "--workers", 1]
    runs = [
        kbench("run", *options, "--shard", f"{k}/3", "--store", f"shards/{k}", cwd=folder)
        for k in (1, 2, 3)
    ]
    return folder, options, runs


def test_three_shares_into_three_stores_merged_are_one_run(shares, kbench_here):
    folder, options, runs = shares
    for k, done in enumerate(runs, 1):
        assert done.returncode == 0, done.stderr
        assert f"kbench: shard {k}/3: 1 of 3 cells" in done.stderr
    stores = sorted((folder / "shards").iterdir())
    merged = kbench_here("merge", *stores, "--into", "all", cwd=folder)
    count = len(digests(folder / "all"))
    assert merged.stdout == (
        f"all: {count} trials and 3 cells added, 0 trials and 0 cells were there already\n"
    )
    kbench_here("run", *options, "--store", "one", cwd=folder)
    assert digests(folder / "all") == digests(folder / "one")

    before = (folder / "all" / "trials.sqlite3").read_bytes()
    again = kbench_here("merge", *stores, "--into", "all", cwd=folder)
    assert again.stdout == (
        f"all: 0 trials and 0 cells added, {count} trials and 3 cells were there already\n"
    )
    assert (folder / "all" / "trials.sqlite3").read_bytes() == before
    resumed = kbench_here("run", *options, "--store", "all", cwd=folder)
    assert "nothing to run" in resumed.stderr


def test_a_changed_row_is_refused_in_one_line(shares, kbench_here, tmp_path):
    folder, _, _ = shares
    source = sqlite3.connect(folder / "shards" / "1" / "trials.sqlite3")
    (tmp_path / "bad").mkdir()
    bad = sqlite3.connect(tmp_path / "bad" / "trials.sqlite3")
    source.backup(bad)
    key = bad.execute("SELECT min(key) FROM trials").fetchone()[0]
    with bad:
        bad.execute("UPDATE trials SET steps = steps + 1 WHERE key = ?", (key,))
    source.close()
    bad.close()
    done = kbench_here("merge", folder / "shards" / "2", "bad", "--into", "new", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "kbench: error: the store bad has a changed row, and nothing was merged: trial "
        f"{key[:12]}, whose steps is not what its result gives\n"
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["0/3", "4/3", "x"])
def test_what_is_no_share_is_one_line(kbench_here, tmp_path, text):
    done = kbench_here("run", *OF, "--shard", text, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"--shard wants one share out of several, from 1/10 to 10/10 for ten, got '{text}'" in (
        done.stderr
    )
    assert not (tmp_path / ".kbench").exists()


def test_a_share_without_cells_says_so(kbench_here, tmp_path, tiny_yaml):
    options = [*OF, "--protocol", tiny_yaml, "--shard", "4/4"]
    done = kbench_here("run", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "kbench: shard 4/4: none of 3 cells, nothing to run\n"
    assert not (tmp_path / ".kbench").exists()
    done = kbench("run", *options, "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["results"]) == (0, [])


def test_plan_says_how_the_work_divides(kbench_here, tmp_path, tiny_yaml):
    options = ["plan", *OF, "--protocol", tiny_yaml]
    done = kbench_here(*options, "--shards", 2, cwd=tmp_path)
    assert done.returncode == 0
    _, _, table = done.stdout.partition("Shards:")
    rows = [line.split() for line in table.splitlines() if "/2" in line]
    assert [row[:2] for row in rows] == [["1/2", "2"], ["2/2", "1"]]
    done = kbench_here(*options, "--shards", 5, cwd=tmp_path)
    assert "2 of 5 shards have no cells" in done.stdout
    done = kbench_here(*options, "--shards", 0, cwd=tmp_path)
    assert done.returncode == 2
    assert "--shards" in done.stderr
