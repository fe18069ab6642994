"""The median over seeds: the t-interval, censoring, and oracles that are slow and obvious."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from kbench.errors import KbenchError
from kbench.statistics import Interval, median_interval
from kbench.statistics.likelihood import real_interval

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.985])
def test_values_known_exactly_give_the_t_interval_of_their_logs(seeds, confidence):
    logs = RNG.normal(1, 0.7, seeds)
    found = median_interval(list(np.exp(logs)), list(np.exp(logs)), confidence)
    low, high = stats.t.interval(confidence, seeds - 1, logs.mean(), stats.sem(logs))
    if high - low < 10:  # an end that is a thousandfold away is none
        assert found.low == pytest.approx(math.exp(low), rel=5e-3)
        assert found.high == pytest.approx(math.exp(high), rel=5e-3)
    assert found.estimate == pytest.approx(math.exp(logs.mean()), rel=2e-3)


def by_hand(low, high, confidence):
    """The same interval from scipy's distributions and its general optimisers."""

    def log_likelihood(median, spread):
        parts = [
            stats.norm.cdf((b - median) / spread) - stats.norm.cdf((a - median) / spread)
            for a, b in zip(low, high, strict=True)
        ]
        return sum(math.log(max(p, 1e-300)) for p in parts)

    def profile(median):
        best = optimize.minimize_scalar(
            lambda s: -log_likelihood(median, math.exp(s)), bounds=(-5, 3), method="bounded"
        )
        return -best.fun

    top = max(profile(m) for m in np.linspace(-3, 3, 241))
    n = len(low)
    cut = n / 2 * math.log1p(stats.t.ppf(0.5 + confidence / 2, n - 1) ** 2 / (n - 1))
    inside = [m for m in np.linspace(-4, 4, 801) if profile(m) >= top - cut]
    return inside[0], inside[-1]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ([-0.5, 0.1, 0.3, -0.2, 0.6], [-0.1, 0.5, 0.7, 0.2, 1.0]),
        ([-0.5, 0.1, 0.3, -math.inf, 0.6], [-0.1, 0.5, 0.7, 0.2, math.inf]),
        ([-0.9, 0.1, -math.inf, -math.inf, 0.3, 0.0], [-0.6, 0.4, 0.8, 0.8, 0.6, 0.3]),
    ],
)
def test_bounds_give_what_general_optimisers_find(low, high):
    first, last = by_hand(low, high, 0.95)
    found = real_interval(
        [None if math.isinf(x) else x for x in low], [None if math.isinf(x) else x for x in high]
    )
    assert found.low == pytest.approx(first, abs=0.02)
    assert found.high == pytest.approx(last, abs=0.02)


@pytest.mark.parametrize(
    ("seeds", "confidence", "is_there"),
    [(4, 0.95, False), (5, 0.95, True), (5, 0.96, True), (5, 0.97, False), (6, 0.98, True)],
)
def test_seeds_bounded_on_one_side_are_judged_by_a_sign_test(seeds, confidence, is_there):
    bounds = [0.3, 0.5, 0.9, 0.7, 0.4, 0.6][:seeds]
    found = median_interval([None] * seeds, bounds, confidence)
    assert found == Interval(low=None, high=found.high)
    assert (found.high is not None) == is_there
    if is_there:
        assert found.high == pytest.approx(0.9)
        mirrored = median_interval([1 / x for x in bounds], [None] * seeds, confidence)
        assert mirrored.low == pytest.approx(1 / 0.9)


def test_with_many_seeds_a_sign_test_forgives_the_odd_one():
    bounds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 9.0]
    # At most one of eight above its median: 9 in 256.
    assert median_interval([None] * 8, bounds, 0.96).high == pytest.approx(0.7)
    assert median_interval([None] * 8, bounds, 0.97).high == pytest.approx(9.0)


def test_seeds_in_one_bracket_say_no_more_than_the_bracket():
    found = median_interval([2.0] * 6, [2.7] * 6)
    assert found.low == pytest.approx(2.0, rel=1e-3)
    assert found.high == pytest.approx(2.7, rel=1e-3)
    # Brackets that hardly overlap share their rounding all the same.
    many = median_interval([2.0, 2.4] * 6, [2.7, 3.24] * 6)
    reach = 0.7 * (math.log(2.7 / 2.0) + math.log(3.24 / 2.4)) / 4
    assert many.low <= many.estimate * math.exp(-reach) * 1.001
    assert many.high >= many.estimate * math.exp(reach) * 0.999


def test_a_seed_without_bounds_says_nothing():
    low, high = [1.2, 1.5, 1.9], [1.6, 2.0, 2.6]
    assert median_interval([*low, None], [*high, None]) == median_interval(low, high)
    assert median_interval([None, None], [None, None]) == Interval(low=None, high=None)
    assert median_interval([], []) == Interval(low=None, high=None)


def test_a_single_seed_has_an_estimate_and_no_interval():
    found = median_interval([1.0], [4.0])
    assert (found.low, found.high) == (None, None)
    assert found.estimate == pytest.approx(2.0, rel=1e-2)


def test_turned_around_it_is_the_same():
    low, high = [1.2, 1.5, None, 0.7], [1.6, 2.0, 2.6, None]
    found = median_interval(low, high)
    turned = median_interval(
        [None if x is None else 1 / x for x in high], [None if x is None else 1 / x for x in low]
    )
    assert turned.low == pytest.approx(1 / found.high, rel=1e-3)
    assert turned.high == pytest.approx(1 / found.low, rel=1e-3)
    scaled = median_interval([x and 100 * x for x in low], [x and 100 * x for x in high])
    assert scaled.low == pytest.approx(100 * found.low, rel=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "confidence", "said"),
    [
        ([1.0], [2.0, 3.0], 0.95, "one of each a seed"),
        ([0.0], [2.0], 0.95, "positive"),
        ([1.0], [math.inf], 0.95, "positive"),
        ([1.0], [math.nan], 0.95, "positive"),
        ([3.0], [2.0], 0.95, "above its upper bound"),
        ([1.0], [2.0], 95, "between 0.5 and 1"),
    ],
)
def test_bounds_that_cannot_be_are_refused(low, high, confidence, said):
    with pytest.raises(KbenchError, match=said):
        median_interval(low, high, confidence)


def test_it_holds_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        logs = rng.normal(0.4, 0.5, 6)
        grid = np.floor(logs / 0.3)
        low = [None if x > 0.8 else math.exp(0.3 * g) for x, g in zip(logs, grid, strict=True)]
        high = [math.exp(0.3 * g + 0.3) for g in grid]
        low = [math.exp(0.8) if a is None else a for a in low]
        high = [None if x > 0.8 else b for x, b in zip(logs, high, strict=True)]
        found = median_interval(low, high)
        held += (found.low or 0) <= math.exp(0.4) <= (found.high or math.inf)
    assert 365 <= held <= 396  # of nominally 380
