"""Entries that are consistent and untrue: the maintainers' check of them.

What a search says is made up, and everything else follows from that: `kbench validate` has nothing
against such an entry. Runs of the check are those of a model that needs 20 samples of everything,
whose validation loss falls with the square of the number of samples.
"""

import dataclasses
import random

import pytest
from conftest import Inventor, board_cell, invented, invented_result, learned_from

from kbench.leaderboard.checking import DEFAULT
from kbench.leaderboard.checking.spotcheck import run_again, spot_check

NEEDS = 20
TRIES = 20
NEVER = 10**9
LENGTHS = JOINT = (6, 7, 8, 9)
SEEDS, MANY = 3, 16


def cell(seeds=SEEDS):
    return board_cell(lengths=LENGTHS, extrapolate=(18,), seeds=tuple(range(1, seeds + 1)))


RESULTS = {}


def dress(trial, outcome):
    """Losses as they come: the further below the threshold, the larger."""
    if (known := (trial.key(), outcome)) not in RESULTS:
        RESULTS[known] = _dress(trial, outcome)
    return RESULTS[known]


def _dress(trial, outcome):
    result = invented_result(trial, outcome)
    short = max(1.0, NEEDS / trial.n_samples)
    loss = result.best_loss * (1 if outcome == "passed" else min(short**2, 60))
    return dataclasses.replace(result, best_loss=loss)


def checked(entry, seed, needs=lambda trial: NEEDS):
    """What the maintainers' check finds."""
    check = spot_check(entry, DEFAULT, random.Random(seed))
    executor = Inventor(learned_from(needs), dress)
    found = {t.key(): r for t, r in run_again([check], executor)}
    return check.problems(found)


def one(lengths, seed, factor):
    """The search at these lengths, of one seed, is said to need `factor` times as much."""
    return lambda t: factor if (t.lengths, t.seed) == (lengths, seed) else 1


def every(lengths, factor):
    return lambda t: factor if t.lengths == lengths else 1


MADE_UP = {
    **{f"joint of seed {s}, {f:g}": (SEEDS, one(JOINT, s, f))
       for s in (1, 2, 3) for f in (1 / NEEDS, 0.1, 0.25, 6.0, NEVER)},
    **{f"joint of all seeds, {f:g}": (SEEDS, every(JOINT, f))
       for f in (1 / NEEDS, 0.1, 0.25, 6.0, NEVER)},
    **{f"length {n} of all seeds, {f:g}": (SEEDS, every((n,), f))
       for n in (7, 8, 9) for f in (6, NEVER)},
    "lengths 8 and 9 are never learned alone": (
        SEEDS, lambda t: NEVER if t.lengths in ((8,), (9,)) else 1),
    "no length is learned alone": (SEEDS, lambda t: NEVER if len(t.lengths) == 1 else 1),
    "all single lengths need a tenth": (SEEDS, lambda t: 0.1 if len(t.lengths) == 1 else 1),
    "all single lengths need six times as much": (
        SEEDS, lambda t: 6 if len(t.lengths) == 1 else 1),
    "two of three joint searches": (
        SEEDS, lambda t: 0.1 if t.lengths == JOINT and t.seed > 1 else 1),
    "everything needs a quarter": (SEEDS, lambda t: 0.25),
    "everything needs six times as much": (SEEDS, lambda t: 6),
    "nothing is learned": (SEEDS, lambda t: NEVER),
    "the sixteenth of sixteen seeds": (MANY, one(JOINT, 16, 1 / NEEDS)),
    "the seventh of sixteen seeds": (MANY, one(JOINT, 7, 0.1)),
    "two of sixteen seeds": (
        MANY, lambda t: 0.1 if t.lengths == JOINT and t.seed in (5, 11) else 1),
    "half of sixteen seeds": (MANY, lambda t: 0.25 if t.lengths == JOINT and t.seed > 8 else 1),
}  # fmt: skip
"""Number of seeds, and by what factor N* is made up."""


@pytest.mark.parametrize("which", MADE_UP)
def test_none_is_accepted_in_twenty_tries(which):
    seeds, factor = MADE_UP[which]
    entry = invented(cell(seeds), lambda trial: NEEDS * factor(trial))
    accepted = [seed for seed in range(TRIES) if not checked(entry, seed)]
    assert accepted == []


def other_machine(rate, rng):
    """The same runs, of which this share of those near N* ends otherwise."""

    def rule(trial):
        passes = learned_from(lambda trial: NEEDS)(trial)
        is_near = NEEDS / 1.5 < trial.n_samples < NEEDS * 1.5 and trial.recipe.learning_rate == 3e-3
        if is_near and not trial.tested and rng.random() < rate:
            return {"passed": "failed", "failed": "passed"}[passes]
        return passes

    return rule


@pytest.mark.parametrize("seeds", [SEEDS, MANY])
def test_honest_entries_of_another_machine_are_accepted(seeds):
    """At the rate that was measured between instruction sets, 5 of 120."""
    entry = invented(cell(seeds), lambda trial: NEEDS)
    refused = 0
    for seed in range(100):
        check = spot_check(entry, DEFAULT, random.Random(seed))
        executor = Inventor(other_machine(5 / 120, random.Random(seed)), dress)
        refused += bool(check.problems({t.key(): r for t, r in run_again([check], executor)}))
    assert refused <= 1


def test_on_the_same_kind_of_machine_none_is_forgiven():
    entry = invented(cell(), lambda trial: NEEDS)
    check = spot_check(entry, DEFAULT, random.Random(1))
    here = {"cpu": "GenuineIntel 6 143", "cpu_capability": "AVX512"}
    for environment in entry.environments:
        environment |= here
    turned = next(t for t in check.trials.values() if not t.tested)

    def rule(trial):
        outcome = learned_from(lambda trial: NEEDS)(trial)
        other = {"passed": "failed", "failed": "passed"}[outcome]
        return other if trial == turned else outcome

    def on(cpu):
        def dressed(trial, outcome):
            result = dress(trial, outcome)
            return dataclasses.replace(result, environment=result.environment | here | {"cpu": cpu})

        executor = Inventor(rule, dressed)
        return check.problems({t.key(): r for t, r in run_again([check], executor)})

    assert len(on(here["cpu"])) == 1
    assert on("AuthenticAMD 25 1") == []
