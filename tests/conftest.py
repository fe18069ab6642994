"""What several test files need."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

# Test processes run side by side, and torch must not start a thread per core in each of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tables fit what they are printed on, and tests do not depend on whose terminal starts them.
os.environ["COLUMNS"] = "140"

import pytest
from hypothesis import settings

from kbench import protocol as protocols
from kbench.cli import main
from kbench.study.cell import Cell
from kbench.trial import TrialResult

# How long an example takes says nothing about whether it holds.
settings.register_profile("kbench", deadline=None)
settings.load_profile("kbench")

TINY_YAML = """
name: tiny
version: 1
presets: quick
learning_rates: [1.0e-2]
seeds: {count: 2, first: 1, step: 1}
training:
  eps: 1.0e-1
  steps: 200
  batch_size: 64
  max_validation: 100
  max_validation_fraction: 0.2
  futility: {patience: 40, slack: 2.0}
search: {strategy: bracket, resolution: 2.0, n_max: 64}
"""


@pytest.fixture
def kbench_here(monkeypatch, capsys):
    """The command line in this process, where what it imports is loaded: a process takes seconds.

    Not with --json, which takes the file descriptor of stdout for itself.
    """

    def run(*args, cwd) -> subprocess.CompletedProcess:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["kbench", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(args, end.value.code or 0, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def tiny_yaml(tmp_path_factory) -> Path:
    """A protocol whose cells take seconds."""
    path = tmp_path_factory.mktemp("protocol") / "tiny.yaml"
    path.write_text(TINY_YAML)
    return path


@pytest.fixture
def cell(tiny_yaml) -> Cell:
    """A real cell that takes seconds."""
    return Cell.of(
        model="lstm",
        task="modadd",
        task_params={"m": 2},
        supervision="aligned",
        protocol=protocols.load(str(tiny_yaml)),
        lengths=(3, 4, 5),
        seeds=(1, 2),
    )


def changed(cell: Cell, **changes) -> Cell:
    """The cell with something else of what it was made from."""
    made_from = {
        field: getattr(cell, field)
        for field in ("model", "size", "task", "task_params", "supervision", "protocol", "lengths",
                      "seeds", "distribution", "extrapolate")
    }  # fmt: skip
    return Cell.of(**(made_from | changes))


@pytest.fixture
def wide(cell):
    return changed(
        cell,
        task_params={"m": 3},
        lengths=tuple(range(2, 8)),
        seeds=(1, 2, 3),
        protocol=protocols.load("quick-1"),
    )


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MiB."""
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", tmp_path])
    if mount.returncode:
        pytest.skip("only root can mount a small disk")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill(directory):
    """Write until the disk is full."""
    with (directory / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def made_up(outcome: str, **changes) -> TrialResult:
    """A result that no training produced."""
    values = {
        "outcome": outcome,
        "reason": "made up",
        "steps": 10,
        "best_loss": 0.5,
        "best_step": 10,
        "histogram": {},
        "data_sha256": {},
        "wall_s": 0.0,
        "environment": {"torch": "2"},
    }
    return TrialResult(**(values | changes))


class FakeExecutor:
    """Answers at once by a rule (trial → outcome), in any order, remembering what it ran.

    A rule may also say why a run failed: `memorised`, `unfit` or `diverged`.
    """

    def __init__(self, rule, capacity=2, rng=None, cohort=1):
        self.capacity, self.cohort, self._rule, self._rng = capacity, cohort, rule, rng
        self._waiting, self.ran, self.reached = [], [], {}

    @property
    def idle(self):
        return self.capacity - len(self._waiting)

    def submit(self, cohort):
        assert 1 <= len(cohort) <= self.cohort
        assert all(trial.stacks_with(cohort[0]) for trial in cohort)
        assert self.idle
        self._waiting.append(list(cohort))

    def finished(self):
        from kbench.study.executors import Finished

        if self._rng:
            self._rng.shuffle(self._waiting)
        finished = []
        for trial in self._waiting.pop(0):
            self.ran.append(trial)
            outcome = self._rule(trial)
            if outcome == "error":
                finished.append(Finished(trial=trial, result=None, error="it broke"))
                continue
            why = outcome if outcome in ("memorised", "unfit", "diverged") else None
            result = made_up("failed" if why else outcome, failure=why)
            finished.append(Finished(trial=trial, result=result))
        return finished


# Benchmarks: ratios of times, each pair measured in turns. Nothing is asserted about time.


@pytest.fixture
def compare(benchmark):
    """Seconds of each function: the fastest of many calls, taken in turns so that load is fair."""

    def compare(rounds=40, **functions):
        fastest = {}
        if benchmark.disabled:  # only to see that they run
            rounds = 1
        else:
            for function in functions.values():
                function()
        for _ in range(rounds):
            for name, function in functions.items():
                start = time.perf_counter()
                function()
                elapsed = time.perf_counter() - start
                fastest[name] = min(elapsed, fastest.get(name, elapsed))
        return SimpleNamespace(**fastest)

    return compare


@pytest.fixture
def report(benchmark, request):
    """Keep ratios with the benchmark's result, and print them."""

    def report(**ratios):
        ratios = {name: round(ratio, 4) for name, ratio in ratios.items()}
        benchmark.extra_info.update(ratios)
        print(f"\n{request.node.name}: {ratios}")

    return report


# Leaderboard entries that no training produced: their data is real, how runs ended is made up.


class Inventor(FakeExecutor):
    """Results as training would give them, each made by dress(trial, outcome)."""

    def __init__(self, rule, dress=None, **how):
        super().__init__(rule, **how)
        self._dress = dress or invented_result

    def finished(self):
        return [
            dataclasses.replace(f, result=f.result and self._dress(f.trial, f.result.outcome))
            for f in super().finished()
        ]


def measured(cell: Cell, store, rule=lambda trial: "passed", dress=None):
    """Put all that a cell asks for into a store."""
    from kbench.study.driver import Driver

    for _ in Driver([cell], store, Inventor(rule, dress)).run():
        pass


def learned_from(needs):
    """The rule by which runs pass from `needs(trial)` samples on, with the first rate."""

    def rule(trial):
        passes = trial.n_samples >= needs(trial)
        return "passed" if passes and trial.recipe.learning_rate == 3e-3 else "failed"

    return rule


def invented(cell: Cell, needs=lambda trial: 20):
    """An entry of a cell of which nothing was trained."""
    from kbench.leaderboard.submission import build
    from kbench.study.store import Store

    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store:
        measured(cell, store, learned_from(needs))
        return build(cell, store)


KERNELS = {
    "mamba-ssm": {"device": "NVIDIA H100 80GB HBM3", "mamba-ssm": "2.3.2.post1"},
    "numba": {"device": "cpu", "numba": "0.68.1"},
}


def invented_result(trial, outcome):
    from kbench.data.splits import chance, source_of
    from kbench.provenance import source_sha256
    from kbench.registry import models, tasks
    from kbench.training.member import validation_interval

    source = source_of(trial)
    train, validation = source.splits(trial.n_samples, trial.seed)
    batch_size = min(trial.recipe.batch_size, trial.n_samples)
    interval = validation_interval(len(validation.tokens), batch_size)
    at = interval * -(-250 // interval)
    # Of no two trials alike, as real losses are, but of a test and the search's own run.
    noise = int(dataclasses.replace(trial, tested=()).key()[:8], 16) / 2**32
    passed = outcome == "passed"
    return TrialResult(
        outcome=outcome,
        reason="success" if passed else "budget",
        steps=at if passed else trial.training.steps,
        best_loss=trial.training.eps * (0.5 + 0.4 * noise if passed else 2 + noise),
        best_step=at,
        histogram={str(n): count for n, count in train.histogram.items()},
        data_sha256={"train": train.sha256(), "validation": validation.sha256()},
        wall_s=1.0,
        environment={
            "kbench": "0.2.0",
            "torch": "2.13.0+cpu",
            "numpy": "2.4.6",
            "python": "3.11.7",
            "machine": "x86_64",
            **KERNELS.get(trial.backend, {"device": "cpu"}),
            "threads": 1,
            "model_source": source_sha256(models, trial.model, trial.model_version),
            "task_source": source_sha256(tasks, trial.task, trial.task_version),
            "revision": "0123456789" * 4,
            "dirty": False,
        },
        accuracy={
            str(n): {"accuracy": 0.5 + noise / 2, "chance": chance(source.task, n)}
            for n in trial.tested
        },
    )


def board_cell(**changes) -> Cell:
    """A small cell as a leaderboard takes it."""
    made_from = {
        "model": "lstm",
        "task": "modadd",
        "task_params": {"m": 2},
        "supervision": "aligned",
        "protocol": protocols.load("quick-1"),
        "lengths": (3, 4, 5),
        "seeds": (1, 2, 3),
        "extrapolate": (10,),
    }
    return Cell.of(**(made_from | changes))


@pytest.fixture(scope="session")
def entry():
    return invented(board_cell())
