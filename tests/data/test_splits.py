"""Splits: unique, disjoint, nested, exactly as many as there are, and the same for ever.

Most of it holds for every task, length and seed, so hypothesis draws these, and it holds on both
ways of ordering a universe: permuted whole, or drawn from with repeats dropped.
"""

import itertools
from collections import Counter

import numpy as np
import pytest
from cases import (
    Case,
    both_paths,
    cases,
    evenness,
    independence,
    many,
    ordered_by,
    row,
    source,
    words,
)
from hypothesis import given
from hypothesis import strategies as st

from kbench.data.splits import draw_lengths


@both_paths
@many
@given(case=cases())
def test_no_sample_comes_twice_in_training_or_validation_or_both(path, case):
    with ordered_by(path):
        training, validation = case.source.splits(case.n_samples, case.seed)
    together = words(training, case) + words(validation, case)
    assert len(training.tokens) == case.n_samples
    assert len(set(together)) == len(together)


@both_paths
@many
@given(case=cases())
def test_every_row_is_what_the_definitions_say(path, case):
    with ordered_by(path):
        splits = case.source.splits(case.n_samples, case.seed)
    width = (
        max(case.lengths) + {"outcome": 1, "aligned": 0, "cot": max(case.lengths)}[case.supervision]
    )
    assert case.source.width() == width
    assert case.source.vocab_size() == case.m + 1
    for split in splits:
        rows = [row(word, case, width) for word in words(split, case)]
        assert split.tokens.tolist() == [tokens for tokens, _ in rows]
        assert split.targets.tolist() == [targets for _, targets in rows]
        assert split.tokens.dtype == split.targets.dtype == np.int32


@both_paths
@many
@given(case=cases(), share=st.floats(0, 1))
def test_a_training_set_is_a_prefix_of_every_larger_one(path, case, share):
    fewer = max(1, int(share * case.n_samples))
    with ordered_by(path):
        small, _ = case.source.splits(fewer, case.seed)
        large, _ = case.source.splits(case.n_samples, case.seed)
    assert np.array_equal(small.tokens, large.tokens[:fewer])
    assert np.array_equal(small.targets, large.targets[:fewer])


@both_paths
@many
@given(case=cases())
def test_validation_is_the_same_for_every_n(path, case):
    with ordered_by(path):
        hashes = {
            case.source.splits(n_samples, case.seed)[1].sha256()
            for n_samples in (1, case.n_samples, case.capacity)
        }
    assert len(hashes) == 1


@both_paths
@many
@given(case=cases())
def test_validation_takes_what_its_two_limits_allow_and_no_more(path, case):
    with ordered_by(path):
        _, validation = case.source.splits(1, case.seed)
    by_length = Counter(map(len, words(validation, case)))
    for n in case.lengths:
        assert by_length[n] * 5 <= case.m**n
    assert by_length.total() == min(case.max_validation, sum(case.m**n // 5 for n in case.lengths))
    assert case.source.shares().n_validation == by_length.total()
    assert case.source.shares().training_capacity(case.seed) == {
        n: case.m**n - by_length[n] for n in case.lengths
    }


@both_paths
@many
@given(case=cases())
def test_training_can_have_all_that_validation_leaves_and_not_one_more(path, case):
    with ordered_by(path):
        training, validation = case.source.splits(case.capacity, case.seed)
        with pytest.raises(ValueError, match=f"only {case.capacity} training samples"):
            case.source.splits(case.capacity + 1, case.seed)
    everything = {word for n in case.lengths for word in itertools.product(range(case.m), repeat=n)}
    assert set(words(training, case)) == everything - set(words(validation, case))


@both_paths
@many
@given(case=cases())
def test_the_histogram_counts_the_samples_of_each_length(path, case):
    with ordered_by(path):
        splits = case.source.splits(case.n_samples, case.seed)
    for split in splits:
        by_length = Counter(map(len, words(split, case)))
        assert split.histogram == {n: by_length[n] for n in case.lengths}


@many
@given(case=cases())
def test_the_samples_do_not_depend_on_the_supervision(case):
    def drawn(supervision):
        other = Case(**{**vars(case), "supervision": supervision})
        return [words(split, other) for split in other.source.splits(case.n_samples, case.seed)]

    assert drawn("outcome") == drawn("cot") == drawn("aligned")


def test_another_seed_means_other_samples_and_another_order_of_lengths():
    seeds = [*range(15), 2**16, 2**32, 2**32 + 1, 2**40, 2**64 + 1]
    pairs = [source(3, range(2, 8)).splits(100, seed) for seed in seeds]
    for splits in zip(*pairs, strict=True):
        assert len({split.sha256() for split in splits}) == len(seeds)
        lengths = [(split.targets != -100).sum(axis=1).tolist() for split in splits]
        assert len(set(map(tuple, lengths))) == len(seeds)


def test_a_mixture_draws_its_lengths_evenly():
    for seed in range(3):
        training, validation = source(10, range(8, 13)).splits(5_000, seed)
        assert evenness(list(training.histogram.values())) > 1e-3
        assert evenness(list(validation.histogram.values())) > 1e-3


def test_lengths_come_in_no_order():
    training, validation = source(10, range(8, 13)).splits(5_000, 1)
    for split in (training, validation):
        lengths = (split.targets != -100).sum(axis=1) - 8
        assert independence(np.stack([lengths[:-1], lengths[1:]], axis=1), 5) > 1e-3
    n = len(validation.tokens)
    both = [(split.targets[:n] != -100).sum(axis=1) - 8 for split in (training, validation)]
    assert independence(np.stack(both, axis=1), 5) > 1e-3


# The draw of lengths


def slow_lengths(capacity, count, rng):
    """One draw after the other, over the lengths that still have a sample."""
    left, lengths = dict(capacity), []
    for u in rng.random(count):
        still = sorted(n for n in left if left[n] > 0)
        if not still:
            break
        lengths.append(still[int(u * len(still))])
        left[lengths[-1]] -= 1
    return lengths


capacities = st.dictionaries(st.integers(1, 30), st.integers(0, 40) | st.just(10**60), max_size=6)
seeds = st.integers(0, 2**32)


@many
@given(capacity=capacities, count=st.integers(0, 150), seed=seeds)
def test_lengths_agree_with_drawing_one_after_the_other(capacity, count, seed):
    drawn = draw_lengths(capacity, count, np.random.default_rng(seed))
    assert drawn.tolist() == slow_lengths(capacity, count, np.random.default_rng(seed))


@many
@given(capacity=capacities, count=st.integers(0, 150), seed=seeds)
def test_a_used_up_length_leaves_and_the_others_take_its_draws(capacity, count, seed):
    by_length = Counter(draw_lengths(capacity, count, np.random.default_rng(seed)).tolist())
    assert by_length.total() == min(count, sum(capacity.values()))
    assert all(drawn <= capacity[n] for n, drawn in by_length.items())


@many
@given(capacity=capacities, fewer=st.integers(0, 150), more=st.integers(0, 150), seed=seeds)
def test_the_first_lengths_do_not_depend_on_how_many_are_drawn(capacity, fewer, more, seed):
    small = draw_lengths(capacity, fewer, np.random.default_rng(seed))
    large = draw_lengths(capacity, fewer + more, np.random.default_rng(seed))
    assert small.tolist() == large[:fewer].tolist()


def test_what_a_used_up_length_leaves_is_shared_evenly():
    capacity = {2: 5, 3: 10**6, 4: 10**6, 5: 10**6}
    lengths = draw_lengths(capacity, 6_005, np.random.default_rng(0))
    by_length = Counter(lengths.tolist())
    assert by_length[2] == 5
    assert evenness([by_length[n] for n in (3, 4, 5)]) > 1e-3
    assert np.flatnonzero(lengths == 2)[-1] < 200  # it left early, it was not held back


def test_drawing_lengths_leaves_the_capacity_as_it_was():
    capacity = {2: 3, 3: 4}
    draw_lengths(capacity, 5, np.random.default_rng(0))
    assert capacity == {2: 3, 3: 4}


# The order over one universe
