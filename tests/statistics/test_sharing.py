"""κ from brackets: arithmetic by hand, censoring, coverage."""

import math
import runpy
from pathlib import Path

import pytest

from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.sharing import (
    Interval,
    PerSeed,
    sharing_bounds,
    sharing_by_seed,
    sharing_per_seed,
    verdict,
)

STUDY = Path(__file__).parents[2] / "studies" / "coverage_per_seed.py"
coverage = runpy.run_path(str(STUDY))["coverage"]


def bracket(low, high, censored=None):
    return Bracket(low=low, high=high, censored=censored)


NONE = PerSeed(estimate=None, low=None, high=None, seeds=3)


def test_bounds_by_hand():
    bounds = sharing_bounds([bracket(8, 11), bracket(20, 27)], bracket(15, 20))
    assert bounds == Interval(low=(9 + 21) / 20, high=(11 + 27) / 16)


def test_each_seed_by_itself_shows_what_the_best_of_the_grid_hides():
    lengths = [[bracket(8, 11), bracket(8, 11)], [bracket(20, 27), bracket(27, 37)]]
    joint = [bracket(15, 20), bracket(100, None, "right")]
    assert sharing_by_seed(lengths, joint) == [
        Interval(low=(9 + 21) / 20, high=(11 + 27) / 16),
        Interval(low=None, high=(11 + 37) / 101),
    ]


def test_a_small_length_whose_universe_ran_out_counts_up_to_the_universe():
    bounds = sharing_bounds([bracket(8, 9, "right"), bracket(20, 27)], bracket(15, 20))
    assert bounds == Interval(low=(9 + 21) / 20, high=(9 + 27) / 16)


def test_left_censored_lengths_count_from_one():
    assert sharing_bounds([bracket(None, 1, "left")], bracket(1, 2)).low == 1 / 2


def test_right_censored_joint_gives_an_upper_bound_only():
    bounds = sharing_bounds([bracket(8, 11)], bracket(100, None, "right"))
    assert bounds == Interval(low=None, high=11 / 101)


def test_right_censored_length_gives_a_lower_bound_only():
    bounds = sharing_bounds([bracket(8, 11), bracket(64, None, "right")], bracket(9, 10))
    assert bounds == Interval(low=(9 + 65) / 10, high=None)


def test_both_censored_gives_nothing():
    bounds = sharing_bounds([bracket(64, None, "right")], bracket(64, None, "right"))
    assert bounds == Interval(low=None, high=None)
    assert verdict(bounds, NONE) == "not-identified"


@pytest.mark.parametrize(
    ("per_seed", "best"),
    [
        ([(8, 11, None), (11, 15, None)], (8, 11, None)),
        ([(11, 15, None), (8, 11, None)], (8, 11, None)),
        # A seed that never passes does not hide one that does.
        ([(8, 11, None), (22, 27, "right")], (8, 11, None)),
        ([(22, None, "right"), (8, 11, None)], (8, 11, None)),
        ([(22, 27, "right"), (22, 27, "right")], (22, 27, "right")),
        ([(22, None, "right"), (22, None, "right")], (22, None, "right")),
        ([(None, 1, "left"), (1, 2, None)], (None, 1, "left")),
        ([(None, None, None), (8, 11, None)], (None, 11, None)),
    ],
)
def test_best_of_grid(per_seed, best):
    assert best_of_grid([bracket(*b) for b in per_seed]) == bracket(*best)


def test_per_seed_is_the_t_interval_on_logs():
    # Brackets of one value, so that κ_s is exact: 2, 4 and 8.
    joint = [bracket(9, 10), bracket(9, 10), bracket(9, 10)]
    lengths = [[bracket(19, 20), bracket(39, 40), bracket(79, 80)]]
    result = sharing_per_seed(lengths, joint)
    reach = 4.302652729911275 * math.log(2) / math.sqrt(3)  # t, 2 degrees of freedom, 97.5 %
    assert result.estimate == pytest.approx(4)
    assert result.low == pytest.approx(4 * math.exp(-reach))
    assert result.high == pytest.approx(4 * math.exp(reach))


def test_per_seed_takes_the_geometric_middle_of_each_bracket():
    result = sharing_per_seed([[bracket(8, 16)], [bracket(3, 4)]], [bracket(1, 8)])
    assert result.estimate == pytest.approx((12 + 4) / 4)
    assert (result.low, result.high, result.seeds) == (None, None, 1)


def test_agreeing_seeds_are_no_surer_than_their_brackets():
    row = [bracket(100, 135)] * 5
    result = sharing_per_seed([row], row)
    assert result.estimate == pytest.approx(1)
    assert result.low < 0.9
    assert result.high > 1.1


def test_one_unbounded_seed_leaves_no_per_seed_interval():
    joint = [bracket(9, 10), bracket(9, None, "right"), bracket(9, 10)]
    assert sharing_per_seed([[bracket(8, 9)] * 3], joint) == NONE
    lengths = [[bracket(8, 9), bracket(8, None, "right"), bracket(8, 9)]]
    assert sharing_per_seed(lengths, [bracket(9, 10)] * 3) == NONE


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.01, 3.0, "sharing"),
        (1.01, None, "sharing"),
        (1.0, 3.0, "not-identified"),
        (0.2, 0.99, "interference"),
        (None, 0.5, "interference"),
        (None, 1.0, "not-identified"),
        (0.8, 1.25, "isolated"),
        (0.79, 1.2, "not-identified"),
        (0.9, 1.26, "not-identified"),
        (None, None, "not-identified"),
    ],
)
def test_verdict_by_the_bounds(low, high, said):
    assert verdict(Interval(low=low, high=high), NONE) == said


def test_verdict_by_the_per_seed_interval_where_there_is_one():
    wide = PerSeed(estimate=2.0, low=0.5, high=8.0, seeds=3)
    assert verdict(Interval(low=1.5, high=3.0), wide) == "not-identified"
    point = PerSeed(estimate=2.0, low=None, high=None, seeds=1)
    assert verdict(Interval(low=0.5, high=3.0), point) == "not-identified"


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.3, 2.0])
@pytest.mark.parametrize("resolution", [1.35, 1.2])
def test_per_seed_interval_covers_as_often_as_it_says(kappa, resolution):
    share, _ = coverage(kappa, 0.5 * math.log(2), seeds=5, resolution=resolution, replicates=1500)
    # 95 % ± four standard errors of 1,500 draws, within which 93 to 97 % lies.
    assert 0.93 <= share <= 0.97
