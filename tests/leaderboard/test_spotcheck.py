"""Trials of entries that are run again: which, how, and what is made of it."""

import contextlib
import dataclasses
import json
import math
import random

import pytest
from conftest import Inventor, board_cell, invented, invented_result, learned_from

from kbench.leaderboard.checking.spotcheck import (
    difference,
    forgiven,
    run_again,
    spot_check,
    why_not,
)
from kbench.leaderboard.entry import read, text_of, trial_of
from kbench.leaderboard.place import location
from kbench.study.executors.local import InProcess

AS_STATED = learned_from(lambda trial: 20)


def test_what_is_drawn_first_is_what_kappa_hangs_on(entry):
    check = spot_check(entry, 6, random.Random(1))
    chosen = [*check.trials.values()]
    # In turns with what is drawn by chance: all lengths together, one end and the other.
    first = {(len(t.lengths), t.n_samples) for t in (chosen[0], chosen[2])}
    assert first == {(3, 15), (3, 20)}
    everything = spot_check(entry, 10_000, random.Random(1))
    assert len(everything.trials) > 20
    assert everything.chances == [1.0] * len(everything.chances)
    assert 0.05 < check.chance < 0.9


def test_a_seed_unlike_the_others_is_drawn_first():
    entry = invented(board_cell(), lambda t: 2 if (len(t.lengths), t.seed) == (3, 2) else 20)
    for seed in range(10):
        first = next(iter(spot_check(entry, 2, random.Random(seed)).trials.values()))
        assert (len(first.lengths), first.seed) == (3, 2)


def test_every_search_has_its_chance(entry):
    drawn = set()
    for seed in range(200):
        drawn |= spot_check(entry, 6, random.Random(seed)).trials.keys()
    assert drawn == spot_check(entry, 10_000, random.Random(1)).trials.keys()


def test_an_invented_trial_is_caught_by_running_it_again(entry):
    check = spot_check(entry, 6, random.Random(1))
    # The made-up runs fail at 15 samples of all lengths: an LSTM does not, or not in these steps.
    found = {t.key(): result for t, result in run_again([check], InProcess())}
    assert "when run again" in check.problems(found)[0]


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
    return check.problems({t.key(): r for t, r in run_again([check], executor)})


@pytest.mark.parametrize("capacity", [1, 3])
def test_trials_that_end_as_stated_in_whatever_order_are_no_problem(entry, capacity):
    check = spot_check(entry, 10, random.Random(1))
    assert len(check.trials) == 10
    assert again(check, AS_STATED, capacity=capacity) == []
    assert len(again(check, lambda trial: "passed", capacity=capacity)) > 1


def turned_but_near(check):
    """One trial ends otherwise, and those that are run to see how far off it is do not."""
    turned = next(t for t in check.trials.values() if len(t.lengths) == 3 and not t.tested)
    other = {"passed": "failed", "failed": "passed"}[AS_STATED(turned)]
    return lambda t: other if t == turned else AS_STATED(t)


def test_one_trial_near_the_threshold_may_end_otherwise(entry):
    check = spot_check(entry, 8, random.Random(1))
    assert again(check, turned_but_near(check)) == []


@pytest.mark.parametrize(("count", "may"), [(1, 1), (4, 2), (12, 4), (50, 11)])
def test_how_many_may_end_otherwise(count, may):
    """By the binomial distribution of RATE, summed here by hand."""
    above = sum(
        math.comb(count, k) * 0.1**k * 0.9 ** (count - k) for k in range(may + 1, count + 1)
    )
    assert forgiven(count) == may
    assert above <= 0.005 < above + math.comb(count, may) * 0.1**may * 0.9 ** (count - may)


def test_the_largest_size_is_not_far_from_itself():
    """Learned from all samples there are, and not on another machine: there are no more to try."""
    entry = invented(board_cell(), lambda t: 10**9 if len(t.lengths) == 1 else 35)
    check = spot_check(entry, 10_000, random.Random(1))
    rule = learned_from(lambda t: 10**9 if len(t.lengths) == 1 else 35)
    turned = next(t for t in check.trials.values()
                  if rule(t) == "passed" and not t.tested and 3 * t.n_samples > 44)  # fmt: skip
    assert again(check, lambda t: "failed" if t == turned else rule(t)) == []


def test_a_loss_far_from_the_threshold_is_a_problem_at_once(entry):
    check = spot_check(entry, 8, random.Random(1))

    def far(trial, outcome):
        result = invented_result(trial, outcome)
        return dataclasses.replace(result, best_loss=1.0) if trial == turned else result

    passing = [t for t in check.trials.values() if AS_STATED(t) == "passed" and not t.tested]
    turned = passing[0]
    rule = lambda t: "failed" if t == turned else AS_STATED(t)  # noqa: E731
    assert again(check, rule) == []
    assert len(again(check, rule, dress=far)) == 1


def test_a_trial_that_breaks_down_is_a_problem_of_its_entry(entry):
    check = spot_check(entry, 10, random.Random(1))
    broken = [*check.trials.values()][3]
    problems = again(check, lambda t: "error" if t == broken else AS_STATED(t))
    assert problems == ["a trial cannot be run again: it broke"]


OWN = """
import torch
from kbench.models.lstm import LSTM


class Own(LSTM):
    presets = {"quick": {"width": 16, "layers": 1}}
"""


def test_a_model_from_a_file_is_run_again_where_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    entry = invented(board_cell(model="own.py:Own"))
    assert "that would execute own.py:Own; --own FILE allows it" in why_not(entry, "cpu")
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text(OWN + "\n")
    assert "is not the file that own.py:Own was measured from" in why_not(entry, "cpu", elsewhere)
    elsewhere.write_text(OWN)
    assert why_not(entry, "cpu", elsewhere) is None
    check = spot_check(entry, 4, random.Random(1), elsewhere)
    assert {t.model for t in check.trials.values()} == {f"{elsewhere}:Own"}
    assert again(check, AS_STATED) == []
    assert again(check, lambda trial: "passed" if trial.n_samples > 1 else "failed") != []


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

    def local(workers, device, apart):
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
    assert "2 entries checked, 0 refused, 3 trials run again" in done.stderr
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
    local = lambda workers, device, apart: contextlib.nullcontext(executor)  # noqa: E731
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
