"""Scores and ranks, held to what can be worked out by hand, and to simulated seeds."""

import math
import random
import statistics

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kbench.leaderboard.ranking import Shared, rank, shared
from kbench.statistics.brackets import Bracket


def exactly(*kappas):
    """One cell: log κ of each seed."""
    return [Shared(low=math.log(k), high=math.log(k)) for k in kappas]


def by_model(scores):
    return {score.model: score for score in scores}


def test_the_score_is_the_geometric_mean_of_ratios():
    kappas = {
        "a": {"x": exactly(4, 4), "y": exactly(1, 1)},
        "b": {"x": exactly(1, 1), "y": exactly(0.5, 0.5)},
        "ref": {"x": exactly(1, 1), "y": exactly(0.5, 0.5)},
    }
    scores = by_model(rank(kappas, "ref"))
    assert scores["a"].low == scores["a"].high == pytest.approx(math.sqrt(4 * 2))
    assert scores["a"].interval == pytest.approx((math.sqrt(8), math.sqrt(8)))
    assert scores["ref"].low == scores["ref"].high == 1
    assert (scores["a"].rank, scores["b"].rank, scores["ref"].rank) == (1, 2, 2)  # a tie


def test_kappa_of_a_seed_from_its_brackets():
    lengths = [Bracket(low=9, high=10), Bracket(low=29, high=30)]
    joint = Bracket(low=19, high=20)
    known = shared(lengths, joint, [50, 100])
    assert known.low == known.high == pytest.approx(math.log(40 / 20))
    assert known.learned
    # All lengths together fail at 99: they need 100 at least, and at most all of the 150.
    censored = shared(lengths, Bracket(low=99, high=None, censored="right"), [50, 100])
    assert math.exp(censored.low) == pytest.approx(40 / 150)
    assert math.exp(censored.high) == pytest.approx(40 / 100)
    assert not censored.learned
    long = shared([lengths[0], Bracket(low=79, high=None)], joint, [50, 100])
    assert math.exp(long.low) == pytest.approx(90 / 20)
    assert math.exp(long.high) == pytest.approx(110 / 20)


def test_what_is_censored_stays_open_in_the_score():
    kappas = {
        "a": {"x": [Shared(low=math.log(0.5), high=math.log(2))] * 3},
        "ref": {"x": exactly(1, 1, 1)},
    }
    a = by_model(rank(kappas, "ref"))["a"]
    assert (a.low, a.high) == pytest.approx((0.5, 2))
    assert a.interval == pytest.approx((0.5, 2))
    assert a.rank == 1  # not told from the reference


def test_what_is_open_of_the_reference_stays_open_in_every_other_score():
    kappas = {
        "a": {"x": exactly(1, 1, 1)},
        "ref": {"x": [Shared(low=math.log(0.5), high=math.log(4))] * 3},
    }
    a = by_model(rank(kappas, "ref"))["a"]
    assert (a.low, a.high) == pytest.approx((1 / 4, 1 / 0.5))


def test_seeds_in_the_same_brackets_do_not_make_a_score_exact():
    def model(joint):
        lengths = [Bracket(low=29, high=40)]
        return {"x": [shared(lengths, Bracket(low=joint, high=joint * 4 // 3), [100])] * 3}

    found = by_model(rank({"a": model(15), "b": model(20), "ref": model(60)}, "ref"))
    assert found["a"].low == found["a"].high
    assert found["a"].interval[0] < found["a"].low < found["a"].interval[1]
    assert (found["a"].rank, found["b"].rank) == (1, 1)


def test_the_reference_is_at_one_however_little_is_known_of_it():
    open_ended = [Shared(low=-1.0, high=1.0)] * 3
    ref = by_model(rank({"ref": {"x": open_ended}}, "ref"))["ref"]
    assert (ref.low, ref.high, ref.interval) == (1, 1, (1, 1))


def test_a_model_that_lacks_a_cell_is_not_ranked():
    kappas = {
        "ref": {"x": exactly(1, 1), "y": exactly(1, 1)},
        "more": {"x": exactly(2, 2), "y": exactly(2, 2), "z": exactly(99, 99)},
        "half": {"x": exactly(9, 9), "z": exactly(9, 9)},
    }
    more, _, half = rank(kappas, "ref")
    assert (half.model, half.rank, half.cells) == ("half", None, 1)
    assert (more.model, more.rank, more.cells, more.low) == ("more", 1, 2, pytest.approx(2))


def test_a_model_that_learned_nothing_is_not_ranked_and_puts_no_other_down():
    def failed(kappa):
        return [Shared(low=math.log(kappa), high=math.log(kappa), learned=False)] * 2

    kappas = {
        "ref": {"x": exactly(1, 1), "y": exactly(1, 1)},
        "never": {"x": failed(9), "y": failed(9)},
        "one seed in x": {"x": failed(3)[:1] + exactly(3), "y": failed(3)},
    }
    first, second, last = rank(kappas, "ref")
    assert (first.model, first.rank, first.learned) == ("one seed in x", 1, 1)
    assert (second.model, second.rank, second.learned) == ("ref", 2, 2)
    assert (last.model, last.rank, last.learned) == ("never", None, 0)
    assert last.low == pytest.approx(9)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1)), min_size=3, max_size=3),
        min_size=4,
        max_size=4,
    )
)
def test_ranks_do_not_depend_on_the_reference(models):
    kappas = {
        name: {"c": [Shared(low=x, high=x + w) for x, w in seeds]}
        for name, seeds in zip("abcd", models, strict=True)
    }
    ranks = [{s.model: s.rank for s in rank(kappas, ref, resamples=40)} for ref in kappas]
    assert ranks[1:] == ranks[:-1]


def test_what_the_reference_leaves_open_does_not_hide_a_difference_between_two_others():
    kappas = {
        "a": {"x": exactly(2, 2, 2)},
        "b": {"x": exactly(1, 1, 1)},
        "ref": {"x": [Shared(low=-3.0, high=3.0)] * 3},
    }
    found = by_model(rank(kappas, "ref"))
    assert found["a"].interval[0] < found["b"].interval[1]
    assert (found["a"].rank, found["b"].rank) == (1, 2)


def test_two_models_that_rise_and_fall_with_the_seed_are_told_apart():
    """Seeds are drawn alike for both, and share their data: their luck cancels."""
    luck = [0.25, 0.5, 1, 2, 4]
    kappas = {
        "a": {"x": exactly(*(1.5 * k for k in luck))},
        "b": {"x": exactly(*luck)},
        "ref": {"x": exactly(*[1] * 5)},
    }
    found = by_model(rank(kappas, "ref"))
    assert found["a"].interval[0] < found["b"].interval[1]
    assert (found["a"].rank, found["b"].rank) == (1, 2)


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1)), min_size=2, max_size=5))
def test_the_interval_holds_the_range_and_a_better_model_never_ranks_below(seeds):
    better = [Shared(low=x + 0.1, high=x + 0.1 + w) for x, w in seeds]
    worse = [Shared(low=x, high=x + w) for x, w in seeds]
    kappas = {
        "better": {"c": better},
        "worse": {"c": worse},
        "ref": {"c": exactly(*[1] * len(seeds))},
    }
    found = by_model(rank(kappas, "ref", resamples=40))
    assert found["better"].rank <= found["worse"].rank
    for score in found.values():
        assert score.interval[0] <= score.low * 1.0001
        assert score.high <= score.interval[1] * 1.0001


@pytest.mark.parametrize("fixed", [0, 2])
@pytest.mark.parametrize("seeds", [5, 8, 20])
def test_the_interval_is_as_wide_as_students(seeds, fixed):
    """One cell that varies: the t-interval on the log scale, but for the shape of a bootstrap.

    Cells that do not vary shift the mean and tell nothing of its spread.
    """
    logs = [statistics.NormalDist().inv_cdf((i + 0.5) / seeds) for i in range(seeds)]
    cells = fixed + 1
    kappas = {
        "a": {"x": [Shared(low=x, high=x + 1) for x in logs]},
        "ref": {"x": [Shared(low=-2, high=0)] * seeds},
    }
    for i in range(fixed):
        kappas["a"][f"y {i}"] = kappas["ref"][f"y {i}"] = exactly(*[1] * seeds)
    low, high = by_model(rank(kappas, "ref"))["a"].interval
    expected = scipy.stats.ttest_1samp(logs, 0).confidence_interval()
    # What both leave open is added at the upper end: 1 and 2.
    found = (math.log(low) * cells, math.log(high) * cells - 3)
    assert found == pytest.approx(tuple(expected), rel=0.06)


def test_two_models_alike_are_told_apart_seldom():
    """Simulated: nine cells of three seeds, equal but for their luck, or one better by e."""
    rng = random.Random(1)

    def model(better=0.0):
        luck = {f"cell {i}": [rng.gauss(better, 0.3) for _ in range(3)] for i in range(9)}
        return {cell: [Shared(low=x, high=x) for x in of] for cell, of in luck.items()}

    covered = told = right = 0
    for _ in range(200):
        kappas = {"a": model(), "b": model(), "good": model(better=1), "ref": model()}
        found = by_model(rank(kappas, "ref", resamples=200))
        covered += found["a"].interval[0] <= 1 <= found["a"].interval[1]
        pair = by_model(rank({m: kappas[m] for m in "ab"}, "b", resamples=200))
        told += pair["a"].rank != pair["b"].rank
        right += found["good"].rank == 1 and found["a"].rank > 1 and found["b"].rank > 1
    assert covered >= 180  # 95 % promised
    assert told <= 16  # 5 % promised
    assert right == 200


def test_a_seed_more_of_one_model_is_left_out():
    failed = [Shared(low=0, high=0, learned=False)] * 3
    kappas = {
        "a": {"x": exactly(2, 2, 2, 9)},
        "late": {"x": failed + exactly(9)},
        "ref": {"x": exactly(1, 1, 1)},
    }
    found = by_model(rank(kappas, "ref"))
    assert found["a"].interval == pytest.approx((2, 2))
    assert (found["late"].rank, found["late"].learned) == (None, 0)


def test_a_single_seed_tells_no_two_models_apart():
    kappas = {
        "a": {"x": exactly(9), "y": exactly(9, 9)},
        "ref": {"x": exactly(1), "y": exactly(1, 1)},
    }
    a, ref = rank(kappas, "ref")
    assert (a.rank, a.low, a.interval) == (1, pytest.approx(9), (0, math.inf))
    assert ref.rank == 1


def test_a_model_that_lacks_a_cell_takes_no_seed_from_the_others():
    kappas = {
        "half": {"x": exactly(9)},
        "a": {"x": exactly(2, 4, 8), "y": exactly(2, 4, 8)},
        "ref": {"x": exactly(1, 1, 1), "y": exactly(1, 1, 1)},
    }
    with_half = by_model(rank(kappas, "ref"))["a"]
    del kappas["half"]
    assert with_half == by_model(rank(kappas, "ref"))["a"]
    assert with_half.low == pytest.approx(4)
