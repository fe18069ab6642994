"""Every command in a terminal of 80 columns, in a dumb one, and without colour: it reads well."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import board_cell, learned_from, measured
from rich.cells import cell_len
from test_cli import KBENCH

from kbench import protocol as protocols
from kbench.study.store import Store

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
RUN = "run --model lstm --model transformer-canon --task modadd --set m=2 --lengths 3-5 "
RUN += "--supervision aligned --protocol quick-1 --extrapolate 2x --store {store}"
COMMANDS = {
    "help": "",
    "help of run": "run --help",
    "run": RUN,
    "run, with its board": f"{RUN} --board --leaderboards {LEADERBOARDS}",
    "show": "show --store {store}",
    "plan": "plan --model transformer-canon --model lstm --task modadd --protocol quick-2 "
    "--lengths 2-4 --shards 2",
    "list models": "list models",
    "list models -v": "list models -v",
    "list tasks": "list tasks",
    "list protocols -v": "list protocols -v",
    "board": f"board {LEADERBOARDS}",
    "claims": f"claims {LEADERBOARDS}",
    "check": "check transformer-canon",
    "reproduce": "reproduce",
    "compare": "compare {store} {store}",
    "sample": "sample --task modadd --length 100",
}


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Cells that no training produced, one of them of a protocol with reach."""
    folder = tmp_path_factory.mktemp("store")
    by_length = protocols.load("quick-2")
    reach = {"protocol": by_length, "seeds": by_length.seeds.values(None), "extrapolate": ()}
    with Store(folder) as trials:
        for changes in (
            {"model": "lstm"},
            {"model": "transformer-canon"},
            {"lengths": (2, 3, 4, 5, 6), **reach},
        ):
            measured(board_cell(**changes), trials, learned_from(lambda trial: 6 + trial.seed))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_longer_than_80_and_nothing_is_cut(command, store, kbench_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = kbench_here(*COMMANDS[command].format(store=store).split(), cwd=store)
    assert done.returncode in (0, 3), done.stderr  # 3: nothing to compare by
    assert done.stdout.strip()
    assert max(map(cell_len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout


def test_it_uses_the_width_there_is(store, kbench_here, monkeypatch):
    lines = {}
    for columns in ("60", "80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        shown = kbench_here("show", "--store", store, cwd=store).stdout
        lines[columns] = len(shown.splitlines())
        assert max(map(cell_len, shown.splitlines())) <= int(columns)
    assert lines["60"] > lines["80"] > lines["200"]


@pytest.mark.parametrize(
    "changes",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0"},
     {"PYTHONIOENCODING": "latin-1"}],
    ids=str,
)  # fmt: skip
def test_it_reads_anywhere(changes, store):
    words = COMMANDS["run" if "LC_ALL" in changes else "show"].format(store=store).split()
    env = {**os.environ, "COLUMNS": "80", **changes}
    done = subprocess.run([*KBENCH, *words], capture_output=True, cwd=store, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("latin-1" if "PYTHONIOENCODING" in changes else "utf-8")
    assert "\x1b" not in text
    assert "N*" in text
    assert re.search("Sharing factor (κ|kappa)", text)
    assert "transformer-canon" in text
    assert max(map(cell_len, text.splitlines())) <= 80


def test_bare_kbench_prints_help(kbench_here, tmp_path):
    done = kbench_here(cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "Usage" in done.stdout
    assert "plan" in done.stdout


def test_after_a_run_it_says_what_was_found_and_what_to_type_next(store, kbench_here):
    said = kbench_here(*RUN.format(store=store).split(), cwd=store)
    assert "All 2 cells share across lengths." in said.stdout
    assert re.search(r"kbench: .*: kbench (run|show) ", said.stderr)
    quiet = kbench_here(*RUN.format(store=store).split(), "--quiet", cwd=store)
    assert quiet.stderr == ""
    assert "All 2 cells share across lengths." in quiet.stdout
