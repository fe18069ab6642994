"""What a release consists of says one version, and installs what the commands need."""

import dataclasses
import re
import tomllib
from pathlib import Path

import yaml
from conftest import made_up

import kbench
from kbench.study.searches import CellRun
from kbench.training.loop import environment

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version_everywhere():
    """`pyproject.toml` reads it from the package, where `--version` and trials have it from."""
    assert PROJECT["dynamic"] == ["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == kbench.__version__
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == kbench.__version__


def test_nobody_is_told_to_install_a_stranger_s_package():
    """On PyPI `kbench` is a tool for Kubernetes clusters, at present."""
    asked = re.compile(r"pip install [^\n`]*?(?<![\w/.-])'?kbench\b(?![/-])")
    files = [p for p in ROOT.glob("*.md") if p.name != "CHANGELOG.md"]
    for folder in ("docs", "benchmark", ".github"):
        files += [p for p in (ROOT / folder).rglob("*.*") if p.suffix in (".md", ".py", ".yml")]
    assert not {str(p): found[0] for p in files if (found := asked.search(p.read_text()))}


def test_a_release_changes_neither_key_nor_digest_of_a_trial(cell, monkeypatch):
    """So stored results stay, and entries of an earlier release stand."""
    trial = next(iter(CellRun(cell).wanted()))
    result = made_up("passed")
    was = trial.key(), result.digest(trial.key())
    before = environment(trial)
    monkeypatch.setattr(kbench, "__version__", "99.0.0")
    after = environment(trial)
    assert (before["kbench"], after["kbench"]) != (after["kbench"], before["kbench"])
    later = dataclasses.replace(result, environment=after)
    assert (trial.key(), later.digest(trial.key())) == was


def test_every_extra_is_in_the_table():
    table = (ROOT / "docs" / "install.md").read_text()
    for name in PROJECT["optional-dependencies"]:
        assert f"| `{name}` |" in table, name
