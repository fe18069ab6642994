"""The workflows for other repositories: what they may do, and whether what they call is there."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from kbench.cli import app

FOLDER = Path(__file__).parents[2] / "docs" / "workflows"
FILES = [FOLDER / "submit-model.yml", FOLDER / "regression.yml"]
WORKFLOWS = [yaml.safe_load(file.read_text()) for file in FILES]
JOBS = {name: job for workflow in WORKFLOWS for name, job in workflow["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
SCRIPTS = [step["run"] for step in STEPS if "run" in step]
KBENCH = re.findall(r"\bkbench ((?!==)[a-z]+\b[^|>;\n]*)", "\n".join(SCRIPTS))


def test_a_pull_request_can_change_nothing():
    assert len(JOBS) == 3
    for file, workflow in zip(FILES, WORKFLOWS, strict=True):
        assert set(workflow[True]) <= {"pull_request", "push"}  # YAML takes `on` for a yes
        assert workflow["permissions"] == {"contents": "read"}
        # The bare name is another project on PyPI, which a workflow must never install.
        assert re.fullmatch(r"git\+https://\S+@[0-9a-f]{40}", workflow["env"]["KBENCH"])
        assert "secrets." not in file.read_text()
    for job in JOBS.values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 30
    checkouts = [step for step in STEPS if "checkout" in step.get("uses", "")]
    assert len(checkouts) == 4
    for step in checkouts:
        assert step["with"]["persist-credentials"] is False


def test_actions_are_pinned_to_a_commit():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert len(used) == 9
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)


def test_no_text_of_a_pull_request_becomes_part_of_a_script():
    for script in SCRIPTS:
        assert "${{" not in script


def test_entries_are_only_read():
    (script,) = (s["run"] for s in JOBS["entries"]["steps"] if "kbench v" in str(s))
    assert "--diff-filter=d" in script
    assert "--spot-check" not in script
    assert "--record" not in script
    installs = [s["run"] for s in STEPS if "pip install" in s.get("run", "")]
    assert installs == ['python -m pip install "$KBENCH"'] * 3


def test_a_pull_request_that_changes_the_ledger_is_refused(tmp_path):
    steps = JOBS["entries"]["steps"]
    (script,) = (s["run"] for s in steps if "ledger" in s.get("name", ""))
    run = lambda *words: subprocess.run(  # noqa: E731
        words, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"BASE": "HEAD~1"}
    )
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    (tmp_path / "leaderboards").mkdir()
    run("git", "init", "-q")
    for name in ("README.md", "entry.json", "verified.json"):
        (tmp_path / "leaderboards" / name).write_text("{}")
        run("git", "add", ".")
        run("git", *names, "commit", "-qm", name)
        if name != "README.md":
            done = run("bash", "-c", script)
            assert done.returncode == (name == "verified.json"), done.stderr


def test_a_model_is_run_again_where_nothing_can_be_changed():
    job = JOBS["again"]
    assert job["needs"] == "entries"
    (script,) = (s["run"] for s in job["steps"] if "--record" in s.get("run", ""))
    assert "--own" in script


def test_every_command_and_option_is_there():
    commands = typer.main.get_command(app).commands
    assert {line.split()[0] for line in KBENCH} == {"check", "canary", "compare", "validate"}
    for line in KBENCH:
        name, *words = shlex.split(line)
        options = {option for p in commands[name].params for option in p.opts}
        assert {w for w in words if w.startswith("--") and w != "--"} <= options, line


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 4)])
def test_a_pull_request_fails_on_what_compare_finds(tmp_path, code, ends):
    (script,) = (script for script in SCRIPTS if "kbench compare" in script)
    (tmp_path / "kbench").write_text(f"#!/bin/sh\necho more seeds: K\nexit {code}\n")
    (tmp_path / "kbench").chmod(0o755)
    (tmp_path / "base.json").touch()
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == ends
    assert ("::warning::inconclusive: more seeds: K" in done.stdout) == (code == 3)


def test_only_entries_that_the_pull_request_brings_are_validated(tmp_path):
    (script,) = (s["run"] for s in JOBS["entries"]["steps"] if "kbench v" in str(s))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kbench").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "bin" / "kbench").chmod(0o755)
    repository = tmp_path / "repository"
    folder = repository / "leaderboards" / "quick-1" / "modadd" / "cot"
    folder.mkdir(parents=True)

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(
            ["git", *who, *arguments], cwd=repository, check=True, stdout=subprocess.DEVNULL
        )

    git("init", "-b", "main")
    for name in ("kept", "changed", "gone"):
        (folder / f"{name}.json").touch()
    git("add", ".")
    git("commit", "-m", "base")
    (folder / "changed.json").write_text("{}")
    (folder / "new one.json").touch()
    (folder / "gone.json").unlink()
    (repository / "model.py").touch()
    git("add", "--all")
    git("commit", "-m", "head")
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=repository,
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "BASE": "HEAD~1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    below = "leaderboards/quick-1/modadd/cot"
    assert done.stdout.splitlines() == [
        "validate", "--leaderboards", "leaderboards", "--",
        f"{below}/changed.json", f"{below}/new one.json",
    ]  # fmt: skip


def test_the_site_is_published_by_a_job_that_runs_nothing_else():
    workflow = yaml.safe_load((FOLDER / "pages.yml").read_text())
    build, publish = (workflow["jobs"][name] for name in ("build", "publish"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in build
    assert [set(step) & {"run"} for step in publish["steps"]] == [set()]
    steps = [*build["steps"], *publish["steps"]]
    for action in (step["uses"] for step in steps if "uses" in step):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)
    commands = typer.main.get_command(app).commands
    called = [shlex.split(s["run"]) for s in steps if s.get("run", "").startswith("kbench ")]
    assert [words[1] for words in called] == ["validate", "site"]
    for _, name, *words in called:
        options = {option for p in commands[name].params for option in p.opts}
        assert {word for word in words if word.startswith("--")} <= options
    (upload,) = (s["with"]["path"] for s in steps if "upload-pages" in s.get("uses", ""))
    assert called[1][2] == upload
