"""`kbench canary`: what it measures, and what it leaves behind."""

import json

import pytest
from test_cli import kbench
from test_own import OWN

from kbench import protocol as protocols


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "lstmm"], "did you mean 'lstm'"),
        (["--seeds", "0"], "--seeds is a number of seeds, at least 1"),
        (["--workers", "0"], "--workers is a number of processes, at least 1"),
        (["--store", "used"], "--store used: a canary trains anew"),
        (["--output", "used"], "--output used: no such folder"),
        (["--output", "none/a.json"], "--output none/a.json: no such folder"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(tmp_path, arguments, said):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    done = kbench("canary", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (tmp_path / "canary.json").exists()
