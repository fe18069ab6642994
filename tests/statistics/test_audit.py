"""Searches that do not take it for granted that success is monotone."""

import math
import random

import pytest

from kbench.protocol import BracketRule
from kbench.statistics.brackets import path_for
from kbench.statistics.search import Probe, Search

RULE = BracketRule(strategy="bracket", n_max=100_000, resolution=1.35, audit=True)
PLAIN = BracketRule(strategy="bracket", n_max=100_000, resolution=1.35)


def searched(passes, guess, rule=RULE, largest=100_000):
    search = Search((1e-3,), path_for(rule, largest, guess))
    runs = 0
    while probes := search.ask():
        runs += 1
        search.tell(Probe(*probes[0]), "passed" if passes(probes[0].n_samples) else "failed")
    return search, runs


def windows(count=100):
    """N* and a success that breaks down between 1.5 and 2.5 times as many samples."""
    rng = random.Random(3)
    for _ in range(count):
        n = math.exp(rng.uniform(math.log(30), math.log(3000)))
        yield n, lambda size, n=n: size >= n and not 1.5 * n <= size <= 2.5 * n


@pytest.mark.parametrize("off", [4.0, 0.25])
def test_a_window_of_failures_above_n_star_is_counted_or_stepped_around(off):
    noticed = {RULE: 0, PLAIN: 0}
    for rule in noticed:
        for n, passes in windows():
            search, _ = searched(passes, n * off, rule)
            right = search.bracket.floor <= n <= search.bracket.high
            noticed[rule] += right or search.violations() > 0
    assert noticed[RULE] >= 95
    assert noticed[PLAIN] < 50  # so that the audit is what does it


def test_an_unlucky_first_run_at_the_top_does_not_end_a_search():
    def passes(size):
        return 500 <= size < 100_000

    search, _ = searched(passes, None)
    assert search.bracket.floor <= 500 <= search.bracket.high
    assert search.violations() == 1
    assert searched(passes, None, PLAIN)[0].bracket.high is None


def test_where_nothing_passes_the_top_is_tried_and_one_below_it():
    search, runs = searched(lambda size: False, None)
    assert (search.bracket.low, search.bracket.high, runs) == (100_000, None, 2)
    assert searched(lambda size: False, None, largest=1)[1] == 1


@pytest.mark.parametrize("guess", [None, 5, 40, 100, 150, 5000])
def test_on_a_monotone_curve_it_finds_the_same_for_little_more(guess):
    for n in (30, 100, 333, 3000):
        audited, runs = searched(lambda size, n=n: size >= n, guess)
        plain, fewer = searched(lambda size, n=n: size >= n, guess, PLAIN)
        assert audited.bracket == plain.bracket
        assert audited.violations() == 0
        assert runs <= fewer + 2


def test_a_failure_between_the_bracket_and_a_start_far_above_is_counted():
    asked = []

    def passes(size):
        asked.append(size)
        return size >= 100

    searched(passes, 4000)
    last = asked[-1]  # the audit, between the two
    assert 300 < last < 3000
    search, _ = searched(lambda size: size >= 100 and size != last, 4000)
    assert search.violations() == 1
    assert search.bracket.floor <= 100 <= search.bracket.high
