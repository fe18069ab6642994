"""Trials of entries that are run again: which, how, and what is made of it."""

import contextlib
import dataclasses
import json
import random

import pytest
from conftest import Inventor, board_cell, invented, learned_from

from kbench.leaderboard.checking.spotcheck import difference, run_again, spot_check
from kbench.leaderboard.entry import read, text_of, trial_of
from kbench.leaderboard.place import location
from kbench.study.executors.local import InProcess

AS_STATED = learned_from(lambda trial: 20)


def test_an_invented_trial_is_caught_by_running_it_again(entry):
    check = spot_check(entry, 6, random.Random(1))
    chosen = check.trials
    assert [(len(t.lengths), bool(t.tested)) for t in chosen] == [
        (3, False), (3, True), (1, False), (3, False), (3, True), (1, False),
    ]  # fmt: skip
    assert {t.n_samples for t in chosen if len(t.lengths) == 3 and not t.tested} <= {15, 20}
    # The made-up runs fail at 15 samples of all lengths: an LSTM does not, or not in these steps.
    found = {t.key(): result for t, result in run_again(chosen, InProcess())}
    assert "when run again, the entry says" in check.problems(found)[0]


def test_a_made_up_test_is_caught_by_running_it_again(entry):
    row = next(row for row in entry.trials if row.tested)
    trial = trial_of(row, entry.cell())

    def again(**changes):
        return difference(trial, row, dataclasses.replace(row.result({}), **changes))

    ((n, stated),) = row.accuracy.items()
    assert again() is None
    near = {n: {"accuracy": stated.accuracy - 0.05, "chance": 0.5}}
    assert again(accuracy=near) is None
    far = {n: {"accuracy": stated.accuracy - 0.2, "chance": 0.5}}
    assert f"at length {n} when run again" in again(accuracy=far)
    assert "other data" in again(data_sha256={"train": "0" * 64, "validation": "0" * 64})
    assert "when run again" in again(outcome="failed")


def test_why_a_run_failed_is_held_to_running_it_again(entry):
    plain = next(row for row in entry.trials if row.outcome == "failed" and not row.tested)
    trial = trial_of(plain, entry.cell())
    row = plain.model_copy(update={"failure": "memorised", "training_loss": 1e-3})

    def again(failure):
        return difference(trial, row, dataclasses.replace(row.result({}), failure=failure))

    assert again("memorised") is None
    assert "is unfit when run again, the entry says memorised" in again("unfit")
    # An entry from before that was recorded has nothing to be held to.
    assert difference(trial, plain, dataclasses.replace(plain.result({}), failure="unfit")) is None


def again(check, rule, **how):
    """What a check makes of its trials run again by a rule."""
    executor = Inventor(rule, rng=random.Random(2), **how)
    return check.problems({t.key(): r for t, r in run_again(check.trials, executor)})


@pytest.mark.parametrize("capacity", [1, 3])
def test_trials_that_end_as_stated_in_whatever_order_are_no_problem(entry, capacity):
    check = spot_check(entry, 10, random.Random(1))
    assert len(check.trials) == 10
    assert again(check, AS_STATED, capacity=capacity) == []
    assert len(again(check, lambda trial: "passed", capacity=capacity)) > 1


@pytest.mark.parametrize(("count", "n_problems"), [(8, 0), (7, 1)])
def test_one_trial_in_eight_may_end_otherwise(entry, count, n_problems):
    check = spot_check(entry, count, random.Random(1))
    turned = check.trials[0]  # of all lengths together, not tested
    other = {"passed": "failed", "failed": "passed"}[AS_STATED(turned)]
    problems = again(check, lambda t: other if t == turned else AS_STATED(t))
    assert len(problems) == n_problems


def test_a_trial_that_breaks_down_is_a_problem_of_its_entry(entry):
    check = spot_check(entry, 10, random.Random(1))
    broken = check.trials[3]
    problems = again(check, lambda t: "error" if t == broken else AS_STATED(t))
    assert problems == ["a trial cannot be run again: it broke"]


@pytest.fixture
def folder(tmp_path):
    """Two true entries."""
    for model in ("lstm", "rnn"):
        cell = board_cell(model=model)
        path = tmp_path / "leaderboards" / location(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(invented(cell)), "utf-8")
    return tmp_path


def verified(folder):
    """Names of the models whose entries are noted as verified."""
    ledger = folder / "leaderboards" / "verified.json"
    return [p.split("/")[-1] for p in json.loads(ledger.read_text())] if ledger.exists() else []


def test_what_passed_is_noted_though_the_command_is_stopped(folder, monkeypatch, kbench_here):
    """And is left out when it goes on."""
    ran = []

    def rule(trial):
        ran.append(trial.model)
        if stop_at and len(ran) == stop_at:
            raise KeyboardInterrupt
        return AS_STATED(trial)

    def local(workers, device):
        return contextlib.nullcontext(Inventor(rule))

    monkeypatch.setattr("kbench.study.executors.local.local", local)
    words = ["validate", "leaderboards", "--spot-check", "3", "--record", "--unverified"]
    stop_at = 4
    done = kbench_here(*words, cwd=folder)
    assert done.returncode == 130
    assert "6 trials of 2 entries to run again" in done.stderr
    assert "1 of 2 entries run again" in done.stderr
    assert verified(folder) == ["lstm.json"]
    stop_at, ran[:] = None, []
    done = kbench_here(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 entries looked at, 0 refused, 3 trials run again" in done.stderr
    assert ran == ["rnn"] * 3
    assert verified(folder) == ["lstm.json", "rnn.json"]
    done = kbench_here(*words[:-1], cwd=folder)
    assert "0 refused, 6 trials run again" in done.stderr


def test_a_trial_that_two_entries_share_is_run_once(folder, monkeypatch, kbench_here):
    other = board_cell(lengths=(3, 4), extrapolate=(8,))
    path = folder / "leaderboards" / location(other)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(invented(other)), "utf-8")
    executor = Inventor(AS_STATED)
    local = lambda workers, device: contextlib.nullcontext(executor)  # noqa: E731
    monkeypatch.setattr("kbench.study.executors.local.local", local)
    words = ["validate", "leaderboards", "--spot-check", "1000", "--seed", "1"]
    done = kbench_here(*words, cwd=folder)
    assert done.returncode == 0, done.stdout
    files = (folder / "leaderboards").rglob("*.json")
    chosen = [spot_check(read(file), 1000, random.Random(1)).trials for file in files]
    keys = [trial.key() for trial in executor.ran]
    assert len(keys) == len(set(keys)) < sum(map(len, chosen))
    assert f"{len(keys)} trials of 3 entries" in done.stderr
    assert f"0 refused, {len(keys)} trials run again" in done.stderr
