"""Slopes of N* against size: exact on power laws, bounded by what brackets leave open."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.statistics.scaling import slope_bounds, slope_over_seeds

SIZES = (3, 5, 9, 20)


def exact(n):
    """A bracket that leaves nothing open."""
    return Bracket(low=n - 1, high=n)


def within(log_n, width):
    """The bracket of this width, on a log scale, around N*, with room for whole numbers."""
    middle = math.exp(log_n)
    return Bracket(
        low=round(1e6 * middle * math.exp(-width / 2)),
        high=round(1e6 * middle * math.exp(width / 2)),
    )


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_a_power_law_has_its_power_as_slope(power):
    brackets = [exact(7 * size**power) for size in SIZES]
    bounds = slope_bounds(SIZES, brackets)
    assert bounds.low == pytest.approx(power, abs=1e-9)
    assert bounds.high == pytest.approx(power, abs=1e-9)
    found = slope_over_seeds(SIZES, [[b, b, b] for b in brackets], 0.95)
    for end in (found.low, found.estimate, found.high):
        assert end == pytest.approx(power, abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=4, max_size=4),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_the_bounds_hold_every_n_star_in_the_brackets_and_are_reached(edges, shares):
    brackets = [Bracket(low=low - 1, high=low - 1 + more) for low, more in edges]
    bounds = slope_bounds(SIZES, brackets)

    def slope(n_stars):
        return np.polyfit(np.log(SIZES), np.log(n_stars), 1)[0]

    some = [b.floor + share * (b.high - b.floor) for b, share in zip(brackets, shares, strict=True)]
    assert bounds.low - 1e-9 <= slope(some) <= bounds.high + 1e-9
    corners = [
        slope([(b.floor, b.high)[i >> k & 1] for k, b in enumerate(brackets)]) for i in range(16)
    ]
    assert bounds.low == pytest.approx(min(corners), abs=1e-9)
    assert bounds.high == pytest.approx(max(corners), abs=1e-9)


def test_an_unbounded_n_star_takes_away_the_bound_that_it_would_set():
    small, large = Bracket(low=9, high=12), Bracket(low=99, high=130)
    right = Bracket(low=99, high=None, censored="right")
    bounded = slope_bounds((2, 8), [small, large])
    assert slope_bounds((2, 8), [small, right]) == Interval(low=bounded.low, high=None)
    over_small = slope_bounds((2, 8), [right, large])
    assert (over_small.low, over_small.high is None) == (None, False)
    assert slope_bounds((2, 8), [right, right]) == Interval(low=None, high=None)
    # In the middle of the sizes an N* has no weight in the slope.
    for sizes in ((2, 4, 8), (5, 10, 20), (3, 6, 12)):
        found = slope_bounds(sizes, [small, right, large])
        assert None not in (found.low, found.high)


def test_a_seed_that_is_unbounded_still_counts_with_the_bound_that_it_has():
    b, c = Bracket(low=9, high=12), Bracket(low=99, high=130)
    right = Bracket(low=999, high=None, censored="right")
    steep = slope_over_seeds((2, 8), [[b] * 4, [c, c, c, right]], 0.9)
    plain = slope_over_seeds((2, 8), [[b] * 4, [c, c, c, c]], 0.9)
    assert steep.high > plain.high
    only = slope_over_seeds((2, 8), [[b] * 6, [right] * 6], 0.95)
    assert only.low == pytest.approx(math.log(1000 / 12) / math.log(4))
    assert (only.estimate, only.high) == (None, None)


def test_one_seed_has_no_interval_and_equal_seeds_have_that_of_their_brackets():
    small, large = Bracket(low=9, high=12), Bracket(low=99, high=130)
    one = slope_over_seeds((2, 8), [[small], [large]], 0.95)
    assert (one.low, one.high) == (None, None)
    three = slope_over_seeds((2, 8), [[small] * 3, [large] * 3], 0.95)
    assert three.estimate == pytest.approx(one.estimate, abs=0.01)
    assert three.low < three.estimate < three.high


@pytest.mark.parametrize("width", [0.05, 0.3])
def test_the_interval_over_seeds_covers_the_true_slope(width):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        true = rng.uniform(-1, 3)
        brackets = []
        for size in SIZES:
            logs = true * math.log(size) + rng.normal(0, 0.4, 5)
            offsets = rng.uniform(-width / 2, width / 2, 5)
            brackets.append([within(x + off, width) for x, off in zip(logs, offsets, strict=True)])
        found = slope_over_seeds(SIZES, brackets, 0.95)
        covered += found.low <= true <= found.high
    assert 365 <= covered <= 396  # of nominally 380
