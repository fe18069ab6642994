"""The N* search on synthetic success curves, whose threshold is known."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.protocol import BracketRule, PaperRule
from kbench.statistics.brackets import Bracket, bracket_path, paper_path, path_for, size_grid
from kbench.statistics.search import Probe, Search

RESOLUTION = 1.35
RATES = (3e-3, 1e-3)
RULES = (
    BracketRule(strategy="bracket", n_max=100_000, resolution=RESOLUTION),
    PaperRule(strategy="paper", n_max=100_000, multiplier=1000, max_sizes=20),
)


def search_over(rule, largest, guess=None):
    return Search(RATES, path_for(rule, largest, guess))


def finish(search, outcome_of, k=1, rng=None, repeat=False):
    """Answer everything that is asked; returns the sizes in the order they were asked for."""
    asked = []
    while probes := search.ask(k):
        if rng:
            rng.shuffle(probes)
        for probe in probes:
            asked.append(probe.n_samples)
            for _ in range(2 if repeat else 1):
                search.tell(probe, outcome_of(probe))
    return asked


def by_threshold(threshold):
    """The second learning rate alone succeeds, from the threshold on."""
    return lambda p: "passed" if p.n_samples >= threshold and p.recipe == RATES[1] else "failed"


@settings(max_examples=1000, deadline=None)
@given(
    threshold=st.floats(0, math.log(300_000)).map(math.exp),
    largest=st.integers(1, 100_000),
    guess=st.none() | st.floats(0, math.log(300_000)).map(math.exp),
)
def test_finds_any_threshold_within_one_resolution_step(threshold, largest, guess):
    search = search_over(RULES[0], largest, guess)
    finish(search, by_threshold(threshold))
    found = search.bracket
    n_star = max(1, math.ceil(threshold))
    if threshold > largest:
        assert found == Bracket(low=largest, high=None, censored="right")
    else:
        assert found.floor <= n_star <= found.high
        assert found.censored == ("left" if found.low is None else None)
        # One step of the grid; at its end a step may be up to √resolution longer.
        assert found.high <= max(found.floor, found.low * RESOLUTION**1.5 + 1 if found.low else 1)


@settings(max_examples=300, deadline=None)
@given(threshold=st.integers(1, 150_000))
def test_the_papers_search_is_exact_unless_it_runs_out_of_sizes(threshold):
    search = search_over(RULES[1], 100_000)
    asked = set(finish(search, by_threshold(threshold)))
    found = search.bracket
    assert len(asked) <= 20
    if threshold > 100_000:
        assert found == Bracket(low=100_000, high=None, censored="right")
    else:
        assert found.floor <= threshold <= found.high
        assert found.high == found.floor or len(asked) == 20


@settings(max_examples=300, deadline=None)
@given(data=st.data(), rule=st.sampled_from(RULES), guess=st.none() | st.integers(1, 3000))
def test_order_repeats_and_retries_change_nothing(data, rule, guess):
    # Any verdicts at all, not only monotone ones.
    passing = data.draw(st.sets(st.integers(1, 500)), label="passing")
    threshold = data.draw(st.integers(1, 3000), label="threshold")

    def outcome(p):
        return "passed" if p.n_samples in passing or p.n_samples >= threshold else "failed"

    plain, shuffled, retried = (search_over(rule, 2000, guess) for _ in range(3))
    finish(plain, outcome)
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    finish(shuffled, outcome, k=len(RATES), rng=rng, repeat=True)
    assert shuffled.bracket == plain.bracket
    assert shuffled.violations() == plain.violations()

    while probes := retried.ask():
        retried.tell(probes[0], "error")
        retried.tell(probes[0], outcome(probes[0]))
        retried.tell(probes[0], "error")  # a late report of the first attempt
    assert retried.bracket == plain.bracket


@settings(max_examples=300, deadline=None)
@given(
    threshold=st.integers(1, 3000),
    broken=st.sets(st.integers(1, 2000), max_size=400),
    rule=st.sampled_from(RULES),
    guess=st.none() | st.integers(1, 2000),
)
def test_broken_runs_only_widen_the_bracket(threshold, broken, rule, guess):
    search = search_over(rule, 2000, guess)

    def outcome(p):
        return "error" if p.n_samples in broken else by_threshold(threshold)(p)

    asked = finish(search, outcome)
    assert len(asked) < 2 * 2000
    found = search.bracket
    assert found.floor <= threshold
    assert found.high is None or threshold <= found.high
    assert found.low not in broken
    assert found.high not in broken


def test_one_passing_rate_is_enough_and_spares_the_others():
    search = search_over(RULES[0], 100)
    search.tell(search.ask(1)[0], "passed")
    assert search.ask(1)[0].n_samples < 100


def test_a_size_fails_only_when_every_rate_fails():
    search = search_over(RULES[0], 100)
    assert [p.recipe for p in search.ask(2)] == list(RATES)
    search.tell(search.ask(1)[0], "failed")
    assert search.bracket is None
    assert search.ask(1) == [Probe(n_samples=100, recipe=RATES[1])]
    search.tell(search.ask(1)[0], "failed")
    assert search.bracket == Bracket(low=100, high=None, censored="right")


def test_what_is_known_so_far_is_a_valid_bracket_at_every_moment():
    for threshold, guess in itertools.product((1, 7, 50, 333, 5000), (None, 3, 40, 900)):
        search = search_over(RULES[0], 1000, guess)
        while probes := search.ask():
            search.tell(probes[0], by_threshold(threshold)(probes[0]))
            known = search.known()
            assert known.floor <= threshold
            assert known.high is None or known.high >= threshold


def test_a_lucky_pass_below_a_failing_size_is_counted_and_moves_nothing():
    # The search comes from below, passes by luck at the first size above the guess, and its audit
    # two sizes further up fails.
    grid = size_grid(RESOLUTION, 1000)
    lucky = next(size for size in grid if size > 100)
    search = search_over(RULES[0], 1000, guess=100)
    finish(search, lambda p: "passed" if p.n_samples in (lucky, 1000) else "failed")
    assert search.bracket.high == lucky
    assert search.violations() == 1


def test_no_violation_is_counted_on_a_monotone_curve():
    for threshold in (1, 20, 300):
        search = search_over(RULES[0], 1000, guess=30)
        finish(search, by_threshold(threshold))
        assert search.violations() == 0


@pytest.mark.parametrize("largest", [0, 1, 2, 8, 100, 12_345])
def test_grid_ends_at_the_largest_and_steps_evenly(largest):
    grid = size_grid(RESOLUTION, largest)
    assert grid == tuple(sorted(set(grid)))
    assert grid[-1:] == ((largest,) if largest else ())
    for a, b in itertools.pairwise(grid):
        assert b <= max(a + 1, a * RESOLUTION**1.5 + 1)


def test_grid_does_not_depend_on_where_it_ends():
    assert size_grid(RESOLUTION, 10_000)[:20] == size_grid(RESOLUTION, 500_000)[:20]


def test_an_empty_grid_is_censored_at_once():
    assert search_over(RULES[0], 0).bracket == Bracket(low=None, high=None, censored="right")


def test_a_good_guess_costs_one_passing_and_one_failing_size():
    grid = size_grid(RESOLUTION, 1000)
    threshold = grid[10]
    asked = finish(search_over(RULES[0], 1000, guess=grid[9]), by_threshold(threshold))
    assert set(asked) - {grid[12]} == {grid[10], grid[9]}  # grid[12]: the audit


@settings(max_examples=200, deadline=None)
@given(threshold=st.integers(1, 2000), guess=st.none() | st.integers(1, 1000))
def test_futures_bound_what_happens(threshold, guess):
    search = search_over(RULES[0], 1000, guess)
    ways = search.futures(1000)
    assert ways
    asked = dict.fromkeys(finish(search, by_threshold(threshold)))
    passing = sum(search.verdict(size) for size in asked)
    assert min(map(sum, ways)) <= len(asked) <= max(map(sum, ways))
    assert passing <= max(p for p, _ in ways)
    assert len(asked) - passing <= max(f for _, f in ways)
    assert all(way == (0, 0) for way in search.futures(1000))


def test_futures_near_what_another_seed_came_to_are_fewer():
    search = search_over(RULES[0], 1000)
    every, near = search.futures(1000), search.futures(1000, Bracket(low=100, high=120))
    assert 0 < len(near) < len(every) / 4
    finish(search_like := search_over(RULES[0], 1000), by_threshold(5))
    assert search_like.futures(1000, Bracket(low=100, high=120)) == search_like.futures(1000)


def test_paths_can_be_walked_by_hand():
    path = bracket_path((1, 2, 4, 8), guess=2)
    assert next(path) == 4
    assert path.send(True) == 2
    assert path.send(False) == 8  # nothing larger had passed: the audit
    with pytest.raises(StopIteration) as end:
        path.send(True)
    assert end.value.value == Bracket(low=2, high=4)
    path = paper_path(10, 10, 20)
    assert [next(path), path.send(True), path.send(False)] == [10, 1, 5]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("threshold", [1, 3, 40, 100, 101])
def test_what_is_asked_ahead_holds_what_is_asked_later(rule, threshold):
    """Whatever the verdicts, the runs that a search needs next are among those it asks ahead."""
    search = search_over(rule, 100)
    ahead = {(p.n_samples, p.recipe) for p in search.ask(10_000)}
    asked = set()
    while probes := search.ask():
        (probe,) = probes
        assert search.ask(3)[0] == probe
        asked.add((probe.n_samples, probe.recipe))
        search.tell(probe, "passed" if probe.n_samples >= threshold else "failed")
    assert asked <= ahead


@settings(max_examples=300, deadline=None)
@given(
    threshold=st.floats(0, math.log(300)).map(math.exp),
    guess=st.none() | st.floats(0, math.log(300)).map(math.exp),
    known=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("rule", RULES)
def test_recalling_is_asking_and_telling(rule, threshold, guess, known, seed):
    """With some outcomes known, the others told one by one, and some of them beside the path."""
    rng = random.Random(seed)

    def outcome_of(probe):  # the second learning rate needs fewer samples
        needed = threshold * (2 if probe.recipe == RATES[0] else 1)
        return "passed" if probe.n_samples >= needed else "failed"

    stored = {
        (size, rate): outcome_of(Probe(size, rate))
        for size in range(1, 201)
        for rate in RATES
        if rng.random() < known
    }
    recalled, told = search_over(rule, 200, guess), search_over(rule, 200, guess)
    filed = recalled.recall(lambda size, rate: stored.get((size, rate)))
    while (probes := told.ask()) and tuple(probes[0]) in stored:
        told.tell(probes[0], stored[tuple(probes[0])])
        assert filed.pop(0) == probes[0]
    assert filed == []
    assert recalled.ask(3) == told.ask(3)
    assert recalled.known() == told.known()
    finish(recalled, outcome_of), finish(told, outcome_of)
    assert recalled.bracket == told.bracket


def test_a_size_that_breaks_down_by_its_last_answer_is_left_out_too():
    """One learning rate broke down, and the other then failed: no verdict will ever come."""
    for told in (("error", "failed"), ("failed", "error")):
        search = search_over(RULES[0], 100)
        for rate, outcome in zip(RATES, told, strict=True):
            search.tell(Probe(100, rate), outcome)
        assert search.broken() == [100]
        finish(search, by_threshold(40))
        assert search.bracket.low < 40 <= search.bracket.high < 100
        recalled = search_over(RULES[0], 100)
        recalled.tell(Probe(100, RATES[0]), "error")
        outcomes = {(100, RATES[1]): "failed"}
        recalled.recall(
            lambda size, rate, known=outcomes: known.get(
                (size, rate), by_threshold(40)(Probe(size, rate))
            )
        )
        assert recalled.bracket == search.bracket


def test_what_is_asked_first_is_what_the_search_waits_for():
    """Whatever has gone wrong: a run that may come to be needed is never the first."""
    for seed in range(200):
        rng, search = random.Random(seed), search_over(RULES[0], 200)
        while probes := search.ask(4):
            assert probes[0].n_samples == search._waits_for
            search.tell(probes[0], rng.choice(["passed", "failed", "error"]))
        assert search.bracket is not None
