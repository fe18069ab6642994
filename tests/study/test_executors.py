"""Executors: the same results from each, and no trial lost with a worker."""

import dataclasses
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study.driver import Driver
from kbench.study.executors.local import InProcess, SpawnPool, local
from kbench.study.store import Store


def trials(cell, count):
    return [
        cell.trial((5,), seed, Probe(n_samples=8, recipe=plain(0.01, 64))) for seed in range(count)
    ]


def run_all(executor, todo):
    todo, done = list(todo), []
    with executor:
        under_way = 0
        while todo or under_way:
            while todo and under_way < executor.capacity:
                executor.submit([todo.pop()])
                under_way += 1
            finished = executor.finished()
            under_way -= len(finished)
            done += finished
    return {f.trial.key(): f for f in done}


def test_one_worker_is_this_process_and_more_are_a_pool():
    with local(1) as one, local(2) as two:
        assert isinstance(one, InProcess)
        assert isinstance(two, SpawnPool)
        assert (one.capacity, two.capacity) == (1, 2)


@pytest.mark.slow
def test_every_executor_gives_the_same_digests(cell):
    todo = trials(cell, 4)
    digests = [
        {key: f.result.digest(key) for key, f in run_all(executor, todo).items()}
        for executor in (InProcess(), SpawnPool(2))
    ]
    assert len(digests[0]) == 4
    assert digests[0] == digests[1]


@pytest.mark.parametrize("executor", [InProcess, lambda: SpawnPool(1)])
def test_a_trial_that_raises_is_reported_in_one_line(cell, executor):
    # More samples than the universe has.
    broken = cell.trial((3,), 1, Probe(n_samples=1000, recipe=plain(0.01, 64)))
    (finished,) = run_all(executor(), [broken]).values()
    assert finished.result is None
    assert finished.error.startswith("ValueError: only ")
    assert "\n" not in finished.error


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_trial_run_again(cell, tmp_path):
    """The first attempt of one trial is killed from outside; the driver gets the same results."""
    cell = dataclasses.replace(cell, lengths=(3, 4), seeds=(1,))
    results = []
    for kill in (False, True):
        with Store(tmp_path / str(kill)) as store, SpawnPool(2) as pool:
            driver = Driver([cell], store, pool)
            steps = driver.run()
            next(steps)
            if kill:
                os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
            for _ in steps:
                pass
            run = driver.progress[0].run
            assert run.complete
            results.append(run.results)
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_worker_that_always_dies_ends_as_an_error(cell, tmp_path, monkeypatch):
    monkeypatch.setattr("kbench.study.executors.local.run_cohort", die)
    with Store(tmp_path) as store, SpawnPool(2) as pool:
        cell = dataclasses.replace(cell, lengths=(3, 4), seeds=(1,))
        driver = Driver([cell], store, pool)
        for _ in driver.run():
            pass
        run = driver.progress[0].run
    lines = [line for s in run.searches.values() for line in s.errors]
    assert lines
    assert all("failed twice: its worker died" in line for line in lines)
    assert Counter(lines).most_common(1)[0][1] == 1


def die(cohort, device, at):
    os._exit(7)


@pytest.mark.slow
def test_workers_end_with_their_driver(cell, tmp_path):
    """Killed without a chance to clean up, the driver leaves no worker computing behind it."""
    import subprocess
    import sys

    script = tmp_path / "driver.py"
    script.write_text(
        "import time\n"
        "import multiprocessing\n"
        "from kbench.study.executors.local import SpawnPool\n"
        "if __name__ == '__main__':\n"
        "    pool = SpawnPool(2)\n"
        "    print(*(c.pid for c in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in driver.stdout.readline().split()]
    assert len(workers) == 2
    time.sleep(3)  # long enough for a worker to import what it needs
    assert all(alive(pid) for pid in workers)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    driver.stdout.close()
    assert not any(alive(pid) for pid in workers)


def alive(pid):
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_in_process_says_how_far_a_trial_has_come_while_it_trains(cell, monkeypatch):
    monkeypatch.setattr("kbench.study.executors.local._TELL_S", 0.0)
    seen = []

    def stopping():
        seen.extend(executor.reached.values())
        return False

    executor = InProcess(stopping)
    (trial,) = trials(cell, 1)
    executor.submit([trial])
    assert executor.finished()[0].result.steps > 20
    steps = [at.steps for at in seen]
    assert len(set(steps)) > 20
    assert steps == sorted(steps)
    assert seen[0].loss is None
    assert seen[-1].loss > 0


def test_workers_say_how_far_their_trials_have_come(cell):
    with SpawnPool(1) as pool:
        pool.submit(trials(cell, 1))
        assert pool.reached == {}
        while not (done := pool.finished()):
            pass
        assert done[0].result.outcome in ("passed", "failed")
        assert 1 <= pool._board[0] <= done[0].result.steps
        assert pool.reached == {}  # of what runs, and nothing does


def test_leaving_in_process_mid_trial_gives_it_up(cell):
    stop = []

    def stopping():
        stop.append(1)
        return len(stop) > 2

    executor = InProcess(stopping)
    executor.submit(trials(cell, 1))
    assert executor.finished() == []
