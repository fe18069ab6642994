"""Scores and ranks, held to what can be worked out by hand, and to simulated seeds."""

import math
import random

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.leaderboard.ranking import Shared, rank, shared
from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval


def exactly(*kappas):
    """One cell: log κ of each seed."""
    return [Shared(low=math.log(k), high=math.log(k)) for k in kappas]


def ranked(kappas, reference="ref", confidence=0.95):
    return {score.model: score for score in rank(kappas, reference, confidence)}


def test_the_score_is_the_geometric_mean_of_ratios():
    kappas = {
        "a": {"x": exactly(4, 4, 4), "y": exactly(1, 1, 1)},
        "b": {"x": exactly(1, 1, 1), "y": exactly(0.5, 0.5, 0.5)},
        "ref": {"x": exactly(1, 1, 1), "y": exactly(0.5, 0.5, 0.5)},
    }
    scores = ranked(kappas)
    a = scores["a"].score
    for end in (a.low, a.estimate, a.high):
        assert end == pytest.approx(math.sqrt(4 * 2), rel=1e-4)
    assert scores["ref"].score == Interval(low=1.0, high=1.0, estimate=1.0)
    assert (scores["a"].rank, scores["b"].rank, scores["ref"].rank) == (1, 2, 2)  # a tie


def test_the_interval_is_students_over_the_means_of_each_seed():
    logs = {"x": [0.1, 0.9, 0.4, 0.6], "y": [-0.2, 0.3, 0.5, 0.0]}
    kappas = {
        "a": {cell: exactly(*map(math.exp, of)) for cell, of in logs.items()},
        "ref": {cell: exactly(1, 1, 1, 1) for cell in logs},
    }
    means = [(x + y) / 2 for x, y in zip(logs["x"], logs["y"], strict=True)]
    low, high = scipy.stats.ttest_1samp(means, 0).confidence_interval()
    score = ranked(kappas)["a"].score
    assert math.log(score.low) == pytest.approx(low, rel=5e-3, abs=2e-3)
    assert math.log(score.high) == pytest.approx(high, rel=5e-3)


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
    half_to_two = [Shared(low=math.log(0.5), high=math.log(2))] * 3
    found = ranked({"a": {"x": half_to_two}, "ref": {"x": exactly(1, 1, 1)}})
    assert found["a"].score.low <= 0.5001
    assert found["a"].score.high >= 1.9999
    assert found["a"].rank == 1  # not told from the reference
    turned = ranked({"a": {"x": exactly(1, 1, 1)}, "ref": {"x": half_to_two}})["a"].score
    assert turned.low <= 0.5001
    assert turned.high >= 1.9999


def test_seeds_in_the_same_brackets_do_not_make_a_score_exact():
    def model(joint):
        lengths = [Bracket(low=29, high=40)]
        return {"x": [shared(lengths, Bracket(low=joint, high=joint * 4 // 3), [100])] * 3}

    found = ranked({"a": model(15), "b": model(20), "ref": model(60)})
    assert found["a"].score.low < found["a"].score.estimate < found["a"].score.high
    assert (found["a"].rank, found["b"].rank) == (1, 1)


def test_the_reference_is_at_one_however_little_is_known_of_it():
    ref = ranked({"ref": {"x": [Shared(low=-1.0, high=1.0)] * 3}})["ref"]
    assert ref.score == Interval(low=1.0, high=1.0, estimate=1.0)


def test_a_model_that_lacks_a_cell_is_not_ranked():
    kappas = {
        "ref": {"x": exactly(1, 1), "y": exactly(1, 1)},
        "more": {"x": exactly(2, 2), "y": exactly(2, 2), "z": exactly(99, 99)},
        "half": {"x": exactly(9, 9), "z": exactly(9, 9)},
    }
    more, _, half = rank(kappas, "ref", 0.95)
    assert (half.model, half.rank, half.cells, half.score.is_open) == ("half", None, 1, True)
    assert (more.model, more.rank, more.cells) == ("more", 1, 2)
    assert more.score.estimate == pytest.approx(2, rel=1e-4)


def test_a_model_that_learned_nothing_is_not_ranked_and_puts_no_other_down():
    def failed(kappa):
        return [Shared(low=math.log(kappa), high=math.log(kappa), learned=False)] * 2

    kappas = {
        "ref": {"x": exactly(1, 1), "y": exactly(1, 1)},
        "never": {"x": failed(9), "y": failed(9)},
        "one seed in x": {"x": failed(3)[:1] + exactly(3), "y": failed(3)},
    }
    first, second, last = rank(kappas, "ref", 0.95)
    assert (first.model, first.rank, first.learned) == ("one seed in x", 1, 1)
    assert (second.model, second.rank, second.learned) == ("ref", 2, 2)
    assert (last.model, last.rank, last.learned) == ("never", None, 0)
    assert last.score.estimate == pytest.approx(9, rel=1e-4)


MODELS = st.lists(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 1)), min_size=3, max_size=3),
    min_size=3,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(MODELS)
def test_ranks_do_not_depend_on_the_reference(models):
    kappas = {
        name: {"c": [Shared(low=x, high=x + w) for x, w in seeds]}
        for name, seeds in zip("abc", models, strict=True)
    }
    ranks = [{name: s.rank for name, s in ranked(kappas, ref).items()} for ref in kappas]
    assert ranks[1:] == ranks[:-1]


def test_what_the_reference_leaves_open_does_not_hide_a_difference_between_two_others():
    kappas = {
        "a": {"x": exactly(2, 2, 2)},
        "b": {"x": exactly(1, 1, 1)},
        "ref": {"x": [Shared(low=-3.0, high=3.0)] * 3},
    }
    found = ranked(kappas)
    assert found["a"].score.low < found["b"].score.high
    assert (found["a"].rank, found["b"].rank) == (1, 2)


def test_two_models_that_rise_and_fall_with_the_seed_are_told_apart():
    """Seeds share their data: their luck cancels."""
    luck = [0.25, 0.5, 1, 2, 4]
    kappas = {
        "a": {"x": exactly(*(1.5 * k for k in luck))},
        "b": {"x": exactly(*luck)},
        "ref": {"x": exactly(*[1] * 5)},
    }
    found = ranked(kappas)
    assert found["a"].score.low < found["b"].score.high
    assert (found["a"].rank, found["b"].rank) == (1, 2)


def test_two_models_alike_are_told_apart_seldom():
    """Simulated: nine cells of five seeds, equal but for their luck, or one better by e."""
    rng = random.Random(1)

    def model(better=0.0):
        luck = {f"cell {i}": [rng.gauss(better, 0.3) for _ in range(5)] for i in range(9)}
        return {cell: [Shared(low=x, high=x) for x in of] for cell, of in luck.items()}

    told = right = 0
    for _ in range(100):
        found = ranked({"a": model(), "ref": model(), "good": model(better=1)})
        told += found["a"].rank != found["ref"].rank
        right += found["good"].rank == 1 and found["a"].rank > 1
    assert told <= 11  # 5 % promised
    assert right == 100


def test_a_seed_more_of_one_model_is_left_out():
    failed = [Shared(low=0, high=0, learned=False)] * 3
    kappas = {
        "a": {"x": exactly(2, 2, 2, 9)},
        "late": {"x": failed + exactly(9)},
        "ref": {"x": exactly(1, 1, 1)},
    }
    found = ranked(kappas)
    assert found["a"].score.high == pytest.approx(2, rel=1e-4)
    assert found["late"].score.high == pytest.approx(1, rel=1e-4)


def test_a_single_seed_tells_no_two_models_apart():
    kappas = {
        "a": {"x": exactly(9), "y": exactly(9, 9)},
        "ref": {"x": exactly(1), "y": exactly(1, 1)},
    }
    a, ref = rank(kappas, "ref", 0.95)
    assert (a.rank, a.score.low, a.score.high) == (1, None, None)
    assert a.score.estimate == pytest.approx(9, rel=1e-4)
    assert ref.rank == 1


def test_a_model_that_lacks_a_cell_takes_no_seed_from_the_others():
    kappas = {
        "half": {"x": exactly(9)},
        "a": {"x": exactly(2, 4, 8), "y": exactly(2, 4, 8)},
        "ref": {"x": exactly(1, 1, 1), "y": exactly(1, 1, 1)},
    }
    with_half = ranked(kappas)["a"]
    del kappas["half"]
    assert with_half == ranked(kappas)["a"]
    assert with_half.score.estimate == pytest.approx(4, rel=1e-3)
