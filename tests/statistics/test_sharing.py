"""κ from brackets: arithmetic by hand, censoring, verdicts; and the studies' own simulation."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from kbench.statistics.brackets import Bracket, best_of_grid, bracket_path, size_grid
from kbench.statistics.likelihood import Interval, median_interval
from kbench.statistics.sharing import (
    MARGIN,
    memorised_share,
    n_star_over_seeds,
    over_seeds,
    ratio_by_seed,
    sharing_bounds,
    sharing_by_seed,
    verdict,
)

STUDIES = Path(__file__).parents[2] / "studies"


def bracket(low, high, censored=None):
    return Bracket(low=low, high=high, censored=censored)


NONE = Interval(low=None, high=None)


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
    joint = bracket(64, None, "right")
    assert sharing_bounds([bracket(64, None, "right")], joint) == NONE
    assert sharing_bounds([bracket(64, None, "right"), bracket(8, 11)], joint) == NONE


def test_a_model_that_learned_nothing_has_no_kappa_from_the_sizes_of_its_universes():
    lengths = [bracket(7, 9, "right"), bracket(21, 27, "right")]
    assert sharing_bounds(lengths, bracket(29, None, "right")) == NONE
    # It does as soon as one of the lengths was learned.
    assert sharing_bounds([*lengths, bracket(8, 11)], bracket(29, None, "right")).high == 47 / 30


def test_a_search_that_ends_in_unfit_runs_bounds_nothing():
    unfit = bracket(None, None, "unfit")
    assert sharing_bounds([bracket(8, 11)], unfit) == NONE
    assert sharing_bounds([bracket(8, 11), unfit], bracket(9, 10)) == Interval(low=1.0, high=None)
    # Passing at 10, with no size known to be too small, bounds κ from below only.
    assert sharing_bounds([bracket(8, 11)], bracket(None, 10, "left")) == Interval(
        low=0.9, high=None
    )
    assert sharing_bounds([bracket(8, 11)], bracket(None, 1, "left")).high == 11


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


def test_over_seeds_is_the_median_of_each_seeds_bounds():
    lengths = [[bracket(8, 11), bracket(8, 11)], [bracket(20, 27), bracket(27, 37)]]
    joint = [bracket(15, 20), bracket(100, None, "right")]
    each = sharing_by_seed(lengths, joint)
    expected = median_interval([each[0].low, None], [each[0].high, each[1].high], 0.9)
    assert over_seeds(each, 0.9) == expected


def test_n_star_over_seeds_has_no_upper_end_from_a_universe_run_out():
    ran_out = n_star_over_seeds([bracket(7, 9, "right")] * 5, 0.96)
    assert (ran_out.low, ran_out.high) == (pytest.approx(8), None)
    found = n_star_over_seeds([bracket(7, 9)] * 5, 0.96)
    assert found.high == pytest.approx(9, rel=1e-3)


def test_ratios_are_paired_by_seed_and_carry_their_bounds():
    a = [bracket(9, 12), bracket(99, None, "right"), bracket(3, 4)]
    b = [bracket(4, 6), bracket(19, 24), bracket(7, 9, "right")]
    assert ratio_by_seed(a, b) == [
        Interval(low=10 / 6, high=12 / 5),
        Interval(low=100 / 24, high=None),
        Interval(low=None, high=4 / 8),
    ]
    assert len(ratio_by_seed(a, b[:2])) == 2


def test_the_memorised_share_is_the_part_of_the_sum_that_ran_out():
    lengths = [[bracket(7, 9, "right"), bracket(3, 4)], [bracket(20, 27), bracket(20, 27)]]
    assert memorised_share(lengths) == pytest.approx((9 / 36 + 0) / 2)
    assert memorised_share([[bracket(64, None, "right")]]) is None
    assert memorised_share([]) is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.01, 3.0, "sharing"),
        (1.01, None, "sharing"),
        (1.0, 3.0, "not-identified"),
        (0.2, 0.99, "interference"),
        (None, 0.5, "interference"),
        (None, 1.0, "not-identified"),
        (1 / MARGIN, MARGIN, "isolated"),
        (0.66, 1.2, "not-identified"),
        (0.9, 1.51, "not-identified"),
        (None, None, "not-identified"),
    ],
)
def test_verdict_by_the_interval(low, high, said):
    assert verdict(Interval(low=low, high=high), [bracket(9, 10)] * 3) == said


def test_not_learned_is_where_no_seed_learned_all_lengths_and_kappa_says_nothing():
    right, unfit = bracket(64, None, "right"), bracket(None, None, "unfit")
    assert verdict(NONE, [right, unfit]) == "not-learned"
    assert verdict(NONE, [right, bracket(9, 10)]) == "not-identified"
    assert verdict(Interval(low=None, high=0.4), [right] * 5) == "interference"


def simulated():
    """The module that the studies draw from."""
    return runpy.run_path(str(STUDIES / "simulated.py"))


def test_the_studies_search_as_kbench_does():
    follow, rng = simulated()["follow"], np.random.default_rng(0)
    grid = np.array(size_grid(1.35, 3000))
    for monotone in (True, False):
        thresholds = rng.uniform(0, 9, 200)
        passes = np.log(grid) >= thresholds[:, None]
        if not monotone:
            passes ^= rng.random(passes.shape) < 0.1
        start = 4.0
        low, high = follow(passes, grid, start)
        for row, a, b in zip(passes, low, high, strict=True):
            path = bracket_path(grid.tolist(), guess=np.exp(start), audit=False)
            try:
                size = next(path)
                while True:
                    size = path.send(bool(row[grid.tolist().index(size)]))
            except StopIteration as end:
                assert (end.value.low or 0, end.value.high or np.inf) == (a, b)


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0.5, 1.0, 2.0])
def test_intervals_cover_a_known_kappa_as_often_as_they_say(kappa):
    module = simulated()
    from kbench.statistics.profile import intervals

    low, high = module["drawn"](module["Setting"](kappa=kappa, right=0.3, seeds=6), 1500)
    first, _, last = intervals(low, high, 0.96)
    held = np.mean((first <= np.log(kappa)) & (np.log(kappa) <= last))
    assert 0.94 <= held <= 0.98
