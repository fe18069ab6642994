"""The commit, and the digests of sources."""

import subprocess
import sys
from pathlib import Path

import pytest

import kbench
from kbench import provenance
from kbench.provenance import revision, source_sha256, without_comments
from kbench.registry import models, tasks

SOURCE = '''"""A module."""

X = "# no comment"  # a comment


class A:
    """What it is,
    over two lines."""

    y = """no
    docstring"""
'''


def test_comments_docstrings_and_blank_lines_do_not_count():
    assert without_comments(SOURCE).splitlines() == [
        'X = "# no comment"', "class A:", '    y = """no', '    docstring"""',
    ]  # fmt: skip
    assert without_comments(SOURCE.replace("a comment", "other").replace("What", "that")) == (
        without_comments(SOURCE)
    )
    assert without_comments(SOURCE.replace("no comment", "other")) != without_comments(SOURCE)
    assert "return x * 999" in without_comments('def f(x):\n    """doc"""; return x * 999')
    assert without_comments("x = 1\x0c\n'doc'\ny = 2\n").splitlines()[-1] == "y = 2"


def test_every_packaged_model_and_task_has_a_digest_of_its_own():
    found = {source_sha256(registry, name, 1) for registry in (models, tasks)
             for name in registry.names()}  # fmt: skip
    files = {registry[name].cls.__module__ for registry in (models, tasks)
             for name in registry.names()}  # fmt: skip
    assert len(found) == len(files)  # two names may share a file
    assert source_sha256(models, "path.py:Own", "sha256:ab") == "sha256:ab"


@pytest.mark.parametrize(
    ("registry", "names", "builds_on"),
    [
        (
            models,
            [
                "transformer-rope",
                "transformer-alibi",
                "looped-transformer",
                "transformer-canon",
                "hybrid",
            ],
            "transformer_nope",
        ),
        (models, ["mamba-neg"], "mamba"),
        (
            models,
            [
                "deltaproduct",
                "deltanet-pos",
                "deltaproduct-pos",
                "gated-deltanet",
                "gla",
                "hybrid",
            ],
            "deltanet",
        ),
        (models, ["gated-deltanet", "gla", "hybrid", "mlstm"], "mamba2"),
        (tasks, ["automaton", "composition", "cycle"], "permutation"),
        (tasks, ["parity"], "modadd"),
    ],
)
def test_a_digest_covers_the_file_of_the_model_or_task_that_is_varied(
    registry, names, builds_on, monkeypatch
):
    def digests():
        provenance._packaged.cache_clear()
        return {name: source_sha256(registry, name, 1) for name in registry.names()}

    before = digests()
    edited = sys.modules[f"kbench.{registry.kind}s.{builds_on}"].__file__
    read_text = Path.read_text
    monkeypatch.setattr(
        Path, "read_text",
        lambda path, *a: read_text(path, *a) + ("\nx = 1\n" if str(path) == edited else ""),
    )  # fmt: skip
    after = digests()
    monkeypatch.undo()
    provenance._packaged.cache_clear()
    changed = {name for name in before if before[name] != after[name]}
    itself = {name for name in changed if registry[name].cls.__module__.endswith("." + builds_on)}
    assert itself and changed - itself == set(names)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """kbench in a repository of its own."""
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "benchmark" / "__init__.py").write_text("")
    monkeypatch.setattr(kbench, "__file__", str(tmp_path / "benchmark" / "__init__.py"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(tmp_path, "init", "-q")
    revision.cache_clear()
    yield tmp_path
    revision.cache_clear()


def git(folder, *arguments):
    who = ["-c", "user.name=k", "-c", "user.email=k@k"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_the_commit_and_whether_the_source_has_changed_since(repository):
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    head = git(repository, "rev-parse", "HEAD")
    (repository / "notes.md").write_text("not source")
    assert revision() == {"revision": head, "dirty": False}
    revision.cache_clear()
    (repository / "models" / "new.py").write_text("")
    assert revision() == {"revision": head, "dirty": True}


def test_installed_into_somebody_elses_repository_it_has_no_commit(repository):
    (repository / "theirs.py").write_text("")
    git(repository, "add", "theirs.py")
    git(repository, "commit", "-qm", "theirs")
    assert revision() == {"revision": None, "dirty": None}


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(repository) / "nowhere"))
    assert revision() == {"revision": None, "dirty": None}


def test_a_digest_covers_the_operations_that_a_model_builds_on():
    read = provenance.built_on(Path(models["mamba"].cls.__init__.__code__.co_filename).read_text())
    assert {"kbench.ops.backends", "kbench.ops.mamba_block"} <= set(read)
    block = Path(provenance.kbench.__file__).parent / "ops" / "mamba_block.py"
    assert "kbench.ops.kernels" in provenance.built_on(block.read_text())


def test_committed_entries_of_mamba_have_its_digest():
    import json
    from pathlib import Path

    entry = Path(__file__).parents[1] / "leaderboards" / "quick-1/modadd/aligned/mamba.json"
    (stated,) = {e["model_source"] for e in json.loads(entry.read_text())["environments"]}
    assert models["mamba"].earlier[1] == stated
