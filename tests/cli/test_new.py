"""Starter files, and what `kbench --version` says."""

import re

import pytest

import kbench
from kbench.provenance import revision


def test_a_starter_model_passes_every_check(tmp_path, kbench_here):
    done = kbench_here("new-model", "my_idea.py", cwd=tmp_path)
    assert done.returncode == 0
    assert "kbench check my_idea.py:MyIdea" in done.stdout
    checked = kbench_here("check", "my_idea.py:MyIdea", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    assert "FAIL" not in checked.stdout


def test_a_starter_model_and_task_are_measured(tmp_path, kbench_here, tiny_yaml):
    assert kbench_here("new-model", "m.py", cwd=tmp_path).returncode == 0
    assert kbench_here("new-task", "t.py", cwd=tmp_path).returncode == 0
    assert "target" in kbench_here("sample", "--task", "t.py:T", cwd=tmp_path).stdout
    done = kbench_here(
        "run", "--model", "m.py:M", "--task", "t.py:T", "--supervision", "aligned",
        "--lengths", "3-4", "--seeds", 1, "--workers", 1, "--protocol", tiny_yaml, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "m.py:M" in done.stdout


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("there.py", "there.py is there already; nothing was written"),
        ("no/m.py", "no/m.py cannot be written: no such folder"),
        ("m.txt", "a Python file is needed, named as in my_idea.py, got 'm.txt'"),
        ("my-model.py", "a Python file is needed, named as in my_idea.py, got 'my-model.py'"),
        ("class.py", "a Python file is needed"),
        ("_.py", "makes no class name"),
        ("none.py", "makes no class name"),
    ],
)
@pytest.mark.parametrize("command", ["new-model", "new-task"])
def test_a_file_that_cannot_be_is_one_line(tmp_path, kbench_here, command, file, said):
    (tmp_path / "there.py").write_text("mine")
    done = kbench_here(command, file, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "there.py").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_version_names_commit_and_torch(tmp_path, kbench_here):
    done = kbench_here("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"kbench {kbench.__version__}")
    assert re.search(r", torch \d+\.\d+", done.stdout)
    if commit := revision()["revision"]:
        assert commit[:12] in done.stdout
