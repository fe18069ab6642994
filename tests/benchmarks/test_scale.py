"""Workers, the store at 200,000 trials, and what the search spends."""

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import made_up

from kbench import protocol as protocols
from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.driver import Progress, recall
from kbench.study.searches import CellRun
from kbench.study.store import Store

KBENCH = [sys.executable, "-c", "from kbench.cli import main; main()"]
CELL = ["--task", "modadd", "--supervision", "aligned"]


def seconds_of(command, cwd):
    start = time.perf_counter()
    done = subprocess.run([*KBENCH, *command], cwd=cwd, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


@pytest.mark.slow
def test_two_workers_against_one(benchmark, report, tmp_path):
    """A whole run with its start, on one worker by the same on two. Expected: towards 2."""
    small = ["--set", "m=2", "--lengths", "3-4", "--seeds", "1"] if benchmark.disabled else []
    times, tables = {}, []
    for workers in (1, 2):
        command = ["run", "--model", "transformer", *CELL, *small]
        where = ["--workers", str(workers), "--store", str(workers), "--json"]
        times[workers], out = seconds_of([*command, *where], tmp_path)
        tables.append(json.loads(out)["results"][0]["n_star"])
    assert tables[0] == tables[1]
    report(one_per_two=times[1] / times[2])
    benchmark.pedantic(lambda: None, rounds=1)


def filled(directory, count):
    """A store with that many trials, all of them asked for by cells of `paper`."""
    protocol = protocols.load("paper")
    result = made_up("passed", data_sha256={"train": "0" * 64, "validation": "1" * 64})
    stored, spent = 0, 0.0
    with Store(directory) as store:
        store._db.execute("PRAGMA synchronous=OFF")  # what is measured is not the disk
        for m in range(2, 1000):
            cell = Cell.of(
                model="lstm",
                task="modadd",
                task_params={"m": m},
                supervision="aligned",
                protocol=protocol,
                lengths=tuple(range(2, 11)),
                seeds=protocol.seeds.values(),
            )
            store.add_cell(cell.spec())
            run = CellRun(cell)
            while wanted := run.wanted():
                for trial in wanted:
                    passes = trial.n_samples > 40 * trial.lengths[-1] * trial.seed
                    ending = dataclasses.replace(result, outcome="passed" if passes else "failed")
                    start = time.perf_counter()
                    store.put(trial, ending)
                    spent += time.perf_counter() - start
                    run.tell(trial, ending)
                    stored += 1
            if stored >= count:
                return stored, spent
    raise AssertionError("too few cells")


@pytest.mark.slow
def test_store_of_200_000_trials(benchmark, report, tmp_path):
    """Trials put and recalled per second; seconds to show them all, and to resume one cell."""
    count = 200 if benchmark.disabled else 200_000
    stored, spent = filled(tmp_path / "store", count)
    with Store(tmp_path / "store") as store:
        runs = [CellRun(Cell.from_spec(spec)) for spec in store.cells()]
        start = time.perf_counter()
        assert sum(recall(run, store) for run in runs) == stored
        recalled = time.perf_counter() - start
        assert all(Progress(run=run).run.complete for run in runs)
    shown, _ = seconds_of(["show", "--store", "store"], tmp_path)
    again = ["run", "--model", "lstm", *CELL, "--protocol", "paper", "--set", "m=7"]
    resumed = 0.0
    if not benchmark.disabled:
        resumed, _ = seconds_of([*again, "--store", "store"], tmp_path)
    report(
        trials=stored,
        puts_per_s=stored / spent,
        recalled_per_s=stored / recalled,
        show_s=shown,
        resumed_s=resumed,
        bytes_per_trial=(tmp_path / "store" / "trials.sqlite3").stat().st_size / stored,
    )
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.slow
@pytest.mark.ray
def test_ray_hands_over_and_back(benchmark, report, cell, monkeypatch):
    """Milliseconds of a cohort that does nothing, on a Ray instance of this machine."""
    pytest.importorskip("ray")
    from kbench.study.executors import ray as executor_module

    monkeypatch.setattr(executor_module, "_run", lambda cohort, device, directory: ([], "nothing"))
    trial = cell.trial((3,), 1, Probe(n_samples=8, recipe=plain(0.01, 64)))
    with executor_module.on_ray(None) as executor:
        times = []
        for _ in range(5 if benchmark.disabled else 500):
            start = time.perf_counter()
            executor.submit([trial])
            while not executor.finished():
                pass
            times.append(1e3 * (time.perf_counter() - start))
    report(median_ms=statistics.median(times), least_ms=min(times))
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.slow
def test_steps_against_bisection_and_the_published_procedure(
    benchmark, report, tmp_path, tiny_yaml, monkeypatch
):
    """Of one cell, everything trained here; `studies/search.py` does it for nine."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "studies")
    import search

    protocol = protocols.load(str(tiny_yaml) if benchmark.disabled else "quick")
    cells = search.cells(protocols.load("quick-1"))
    (cell,) = (c for c in cells if (c.model, c.supervision) == ("lstm", "aligned"))
    if benchmark.disabled:
        cell = dataclasses.replace(
            cell, protocol=protocol, lengths=(3, 4), universes={3: 27, 4: 81}, seeds=(1,)
        )
    found = search.figures(cell, search.Curves(tmp_path / "curves.jsonl"))
    assert found["ours"] < found["stopping"] < found["full"]
    assert len(found["by_search"]) == (len(cell.lengths) + 1) * len(cell.seeds)
    report(
        full_per_ours=found["full"] / found["ours"],
        stopping_per_ours=found["stopping"] / found["ours"],
        paper_per_ours=found["paper"] / found["ours"],
        steps_apart=max(found["by_search"]),
    )
    benchmark.pedantic(lambda: None, rounds=1)
