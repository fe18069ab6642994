"""The examples in docstrings of what users call are run."""

import doctest
import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "name", ["kbench", "kbench.api", "kbench.report.callbacks", "kbench.study.request"]
)
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaderboards").symlink_to(Path(__file__).parents[2] / "leaderboards")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed
