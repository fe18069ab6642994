"""The example job script for a batch system: what it runs, and whether that is there."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import typer

from kbench.cli import app

FILE = Path(__file__).parents[2] / "docs" / "workflows" / "slurm-array.sbatch"
SCRIPT = FILE.read_text("utf-8")


def test_every_command_and_option_is_there():
    lines = re.findall(r"(?m)\bkbench ((?:run|merge|plan)\b[^&'`\n]*)", SCRIPT)
    lines = [line for line in lines if line.strip() != "run"]
    commands = typer.main.get_command(app).commands
    assert {line.split()[0] for line in lines} == {"run", "merge", "plan"}
    for line in lines:
        name, *words = shlex.split(line)
        options = {option for p in commands[name].params for option in p.opts}
        assert {w for w in words if w.startswith("--")} <= options, line


def test_there_are_as_many_shards_as_tasks():
    (tasks,) = re.findall(r"^#SBATCH --array=1-(\d+)$", SCRIPT, re.M)
    (shards,) = re.findall(r"^shards=(\d+)\b", SCRIPT, re.M)
    assert tasks == shards


def run(folder, kbench):
    """One task of the array, with a stand-in for kbench."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
    (programs / "kbench").write_text(f"#!/bin/bash\n{kbench}\n")
    (programs / "kbench").chmod(0o755)
    return subprocess.Popen(
        ["bash", FILE, "--model", "lstm", "--task", "modadd"],
        cwd=folder,
        env=os.environ | {"SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "4"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_task_measures_its_share_into_its_own_store(tmp_path):
    task = run(tmp_path, 'echo "$@"; exit 7')
    said, _ = task.communicate(timeout=60)
    assert task.returncode == 7
    assert said.split() == [
        "run", "--model", "lstm", "--task", "modadd", "--shard", "3/10",
        "--store", "shards/3", "--workers", "4",
    ]  # fmt: skip


def test_the_end_of_the_time_stops_kbench_politely(tmp_path):
    waits = "trap 'echo stopping; exit 130' TERM; echo ready; for i in {1..300}; do sleep 0.1; done"
    with run(tmp_path, waits) as task:
        assert task.stdout.readline() == "ready\n"
        task.terminate()
        assert task.stdout.read() == "stopping\n"
    assert task.returncode == 130
