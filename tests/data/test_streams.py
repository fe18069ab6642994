"""Streams: every sample as likely at every place, and the same for ever."""

import dataclasses
import itertools
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from cases import both_paths, evenness, independence, ordered_by, source

from kbench.data import splits as data
from kbench.data.splits import Source, Split, stream, universe
from kbench.tasks import Task
from kbench.tasks.modadd import ModularAddition


@dataclass(frozen=True)
class Uneven(Task):
    """Digits of different sizes, which `modadd` has not; states looked up, as in a group table."""

    vocab_size = 9

    def radices(self, n):
        return tuple(range(2, 2 + n))

    def simulate(self, digits, n):
        return digits, np.arange(9)[::-1][digits]


@both_paths
def test_a_stream_spells_out_a_universe_of_uneven_digits(path):
    with ordered_by(path):
        everything = stream(Uneven(), 5, seed=1, count=720)
        with pytest.raises(ValueError, match="length 5 has 720 samples, asked for 721"):
            stream(Uneven(), 5, seed=1, count=721)
    assert universe(Uneven(), 5) == 720
    assert sorted(map(tuple, everything.tolist())) == list(
        itertools.product(range(2), range(3), range(4), range(5), range(6))
    )


def test_a_task_may_use_digits_as_indices():
    split, _ = Source(
        task=Uneven(),
        supervision="aligned",
        lengths=(3, 4),
        max_validation=10,
        max_validation_fraction=0.2,
    ).splits(50, seed=1)
    assert split.tokens.shape == (50, 4)


@pytest.mark.parametrize("small_universe", [2**20, 1], ids=["permuted", "drawn"])
def test_a_stream_runs_to_the_end_of_its_universe_in_blocks_of_full_size(
    small_universe, monkeypatch
):
    monkeypatch.setattr(data, "SMALL_UNIVERSE", small_universe)
    everything = stream(ModularAddition(m=3), 7, seed=5, count=3**7)
    assert len(set(map(tuple, everything.tolist()))) == 3**7


def test_a_long_stream_begins_like_a_short_one_wherever_it_is_cut():
    task = ModularAddition(m=10)
    longest = stream(task, 8, seed=3, count=13_000)
    # 10^8 samples, so that a few of the 13,000 draws are repeats
    for count in (1, 4_095, 4_096, 4_097, 8_192, 12_288, 12_289):
        assert np.array_equal(stream(task, 8, seed=3, count=count), longest[:count])
    assert len(np.unique(longest, axis=0)) == 13_000


def test_the_path_changes_exactly_above_small_universe(monkeypatch):
    def order(limit):
        monkeypatch.setattr(data, "SMALL_UNIVERSE", limit)
        return stream(ModularAddition(m=2), 6, seed=1, count=64).tolist()

    assert order(2**6 - 1) != order(2**6) == order(2**20)


@both_paths
def test_every_sample_is_equally_likely_at_every_place(path):
    orders = []
    with ordered_by(path):
        for seed in range(800):
            orders.append(stream(ModularAddition(m=2), 3, seed, count=8) @ [4, 2, 1])
    for place in np.transpose(orders):
        assert evenness(np.bincount(place, minlength=8)) > 1e-4


@pytest.mark.parametrize(("m", "n"), [(5, 8), (5, 40)], ids=["permuted", "drawn"])
def test_digits_of_a_long_stream_are_even_and_unrelated(m, n):
    digits = stream(ModularAddition(m=m), n, seed=11, count=5_000)
    for k in range(n):
        assert evenness(np.bincount(digits[:, k], minlength=m)) > 1e-4
    for k in range(n - 1):
        assert independence(digits[:, k : k + 2], m) > 1e-4
    assert independence(np.stack([digits[:-1, 0], digits[1:, 0]], axis=1), m) > 1e-4


@pytest.mark.parametrize("n", [7, 30], ids=["permuted", "drawn"])
def test_streams_of_two_seeds_and_of_two_lengths_are_unrelated(n):
    task = ModularAddition(m=5)
    one = stream(task, n, seed=1, count=4_000)
    other_seed = stream(task, n, seed=2, count=4_000)
    other_length = stream(task, n + 1, seed=1, count=4_000)
    for other in (other_seed, other_length):
        for k in (0, 3, n - 1):
            assert independence(np.stack([one[:, k], other[:, k]], axis=1), 5) > 1e-3


@both_paths
def test_over_many_seeds_two_lengths_begin_and_end_unrelated(path):
    # One generator for both would show here, in the first rows, before the lengths drift apart.
    task = ModularAddition(m=3)
    with ordered_by(path):
        for place in (0, -1):
            pairs = [
                [stream(task, n, seed, count=3**n)[place, 0] for n in (3, 4)] for seed in range(400)
            ]
            assert independence(pairs, 3) > 1e-4


def test_drawing_leaves_numpy_global_state_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    source(3, range(2, 5)).splits(10, seed=1)
    assert np.random.random() == expected


# Huge universes


def test_a_universe_of_10_to_the_60_can_be_sampled():
    huge = source(100, [30])
    assert universe(huge.task, 30) == 10**60
    training, validation = huge.splits(1_000, seed=1)
    rows = np.concatenate([training.tokens, validation.tokens])
    assert len(np.unique(rows, axis=0)) == 3_000
    assert huge.shares().training_capacity(seed=1) == {30: 10**60 - 2_000}


def test_a_universe_beyond_floating_point_can_be_sampled():
    # The Chomsky-hierarchy targets evaluate up to length 500: 5^500 is above the largest float.
    training, validation = source(5, [500]).splits(10, seed=1)
    assert training.tokens.shape == (10, 500)
    assert validation.tokens.shape == (2_000, 500)


def test_300_000_samples_are_unique_and_nested_and_the_universe_is_never_held():
    huge = source(100, [30])
    small, _ = huge.splits(1_000, seed=4)
    tracemalloc.start()
    training, validation = huge.splits(300_000, seed=4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(training.tokens[:1_000], small.tokens)
    assert np.array_equal(training.targets[:1_000], small.targets)
    rows = np.concatenate([training.tokens, validation.tokens]).astype(np.int8)
    assert len({word.tobytes() for word in rows}) == 302_000
    assert peak < 1.5e9  # the two arrays that come out take 72 MB


# Digests


def sha256s(case_source, n_samples, seed):
    return tuple(split.sha256() for split in case_source.splits(n_samples, seed))


PINNED = {
    "permuted": (
        source(3, range(2, 8)),
        100,
        1,
        "8e1d85610ee52712612a87f2eb95f1ae52a62be1dfc8cb3903995380e36c1c91",
        "743babdc4731dea297fba01f197674ecae519729f61a43703a256721f8c6b67d",
    ),
    "drawn": (
        source(100, [30], "cot"),
        50,
        10,
        "a7bda4b7351a4edbed5273548560840553104cbcc504e22b5ddd857e23bdf2a6",
        "97338e4cbfe4751e11b3b8467780f099a6480614fb226cb36b3b1541d95ba4fd",
    ),
}


@pytest.mark.parametrize("path", PINNED)
def test_data_changed_raise_the_task_version(path):
    case_source, n_samples, seed, training, validation = PINNED[path]
    assert sha256s(case_source, n_samples, seed) == (training, validation), (
        "data changed: raise the task version, say so under 'scores' in the changelog, pin anew"
    )


def test_digests_are_the_same_in_another_process():
    program = (
        "from kbench.data.splits import Source; from kbench.tasks.modadd import ModularAddition\n"
        "for split in Source(task=ModularAddition(m=3), supervision='cot', lengths=(2, 3, 4),"
        " max_validation=20, max_validation_fraction=0.2).splits(30, 7): print(split.sha256())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    here = source(3, (2, 3, 4), "cot", max_validation=20)
    assert sha256s(here, 30, 7) == tuple(printed)
    assert sha256s(here, 30, 7) == tuple(printed)  # and a second time, in this one


def test_the_digest_changes_when_anything_does():
    variants = [
        (source(3, range(2, 6)), 80, 1),
        (source(4, range(2, 6)), 80, 1),
        (source(3, range(2, 5)), 80, 1),
        (source(3, range(3, 6)), 80, 1),
        (source(3, [5]), 80, 1),
        (source(3, range(2, 6), "cot"), 80, 1),
        (source(3, range(2, 6), "outcome"), 80, 1),
        (source(3, range(2, 6), max_validation=20), 80, 1),
        (source(3, range(2, 6)), 79, 1),
        (source(3, range(2, 6)), 80, 2),
    ]
    digests = [sha256s(*variant) for variant in variants]
    assert len({training for training, _ in digests}) == len(variants)
    assert digests[0][1] == digests[-2][1]  # N is not part of the validation set
    assert len({validation for _, validation in digests}) == len(variants) - 1


def test_the_digest_covers_every_token_every_target_and_the_shape():
    def digest(tokens, targets):
        return Split(tokens=tokens, targets=targets, histogram={}).sha256()

    tokens, targets = np.arange(12).reshape(3, 4), np.arange(12, 24).reshape(3, 4)
    digests = {digest(tokens, targets), digest(tokens.reshape(4, 3), targets.reshape(4, 3))}
    for i in range(12):
        changed = tokens.copy(), targets.copy()
        for array in changed:
            array.flat[i] += 1
        digests |= {digest(changed[0], targets), digest(tokens, changed[1])}
    assert len(digests) == 2 + 2 * 12


def test_the_digest_does_not_depend_on_how_the_array_lies_in_memory():
    tokens = np.arange(12, dtype=np.int32).reshape(3, 4)
    spellings = [tokens, np.asfortranarray(tokens), tokens.astype(">i4"), tokens.astype(np.int64)]
    digests = {Split(tokens=t, targets=t, histogram={}).sha256() for t in spellings}
    assert len(digests) == 1


# Distributions and answers


def drawn(source, n_samples, seed=1):
    """Length of each training sample, in order."""
    training, _ = source.splits(n_samples, seed)
    return [len(word) for word in words_of(training)]


def words_of(split):
    """The samples without their padding (aligned: every token has a target)."""
    return [tuple(row[t != -100]) for row, t in zip(split.tokens, split.targets, strict=True)]


@both_paths
def test_short_to_long_takes_all_of_a_length_before_any_of_the_next(path):
    with ordered_by(path):
        ordered = dataclasses.replace(source(3, (2, 3, 4)), distribution="short-to-long")
        lengths = drawn(ordered, 60)
        capacity = ordered.shares().training_capacity(1)
    assert lengths == sorted(lengths)
    assert Counter(lengths) == {2: capacity[2], 3: capacity[3], 4: 60 - capacity[2] - capacity[3]}
    # Validation has the same distribution: with room for all, a fifth of each length.
    _, validation = ordered.splits(60, 1)
    assert validation.histogram == {2: 1, 3: 5, 4: 16}
    few = dataclasses.replace(ordered, max_validation=4)
    assert few.splits(60, 1)[1].histogram == {2: 1, 3: 3, 4: 0}


@both_paths
def test_short_to_long_is_disjoint_nested_and_exact(path):
    with ordered_by(path):
        ordered = dataclasses.replace(source(4, (2, 3)), distribution="short-to-long")
        everything, validation = ordered.splits(
            sum(ordered.shares().training_capacity(2).values()), 2
        )
        first, _ = ordered.splits(17, 2)
    whole = words_of(everything)
    assert words_of(first) == whole[:17]
    assert len(set(whole)) == len(whole)
    assert set(whole).isdisjoint(words_of(validation))
    assert len(whole) + len(words_of(validation)) == 4**2 + 4**3
    with pytest.raises(ValueError, match="only 65 training samples, not 66"):
        ordered.splits(66, 2)


def test_one_length_is_the_same_under_every_distribution():
    digests = {
        tuple(s.sha256() for s in dataclasses.replace(source(3, [5]), distribution=d).splits(50, 1))
        for d in data.DISTRIBUTIONS
    }
    assert len(digests) == 1


def test_lengths_that_cannot_be_counted_in_64_bits_are_drawn_short_to_long():
    ordered = dataclasses.replace(source(100, (30, 31)), distribution="short-to-long")
    assert set(drawn(ordered, 1_000)) == {30}


@pytest.mark.parametrize("n", [1, 3, 6])
def test_answers_of_a_small_universe_are_counted_exactly(n):
    task = ModularAddition(m=4)
    counted = Counter(sum(word) % 4 for word in itertools.product(range(4), repeat=n))
    assert data.answer_counts(task, n).tolist() == [counted[i] for i in range(4)]


def test_chance_is_that_of_the_most_frequent_answer_and_not_one_in_so_many():
    @dataclass(frozen=True)
    class Maximum(ModularAddition):
        def simulate(self, digits, n):
            return digits, np.maximum.accumulate(digits, axis=1)

    for n in (2, 5):
        # The largest of n draws from 0 … 3 is 3 unless all are below it.
        assert data.chance(Maximum(m=4), n) == pytest.approx(1 - (3 / 4) ** n)
    # Estimated where there are too many: for n = 40 nearly always 3.
    assert data.chance(Maximum(m=4), 40) == pytest.approx(1, abs=1e-3)
    assert data.chance(ModularAddition(m=4), 40) == pytest.approx(1 / 4, abs=0.01)
    assert data.chance(ModularAddition(m=4), 40) == data.chance(ModularAddition(m=4), 40)


@pytest.mark.parametrize("parts", [1, 7, 10**6])
def test_the_parts_that_samples_are_simulated_in_leave_no_trace(parts, monkeypatch):
    whole = [s.sha256() for s in source(3, (3, 4, 5), "cot").splits(100, 1)]
    monkeypatch.setattr(data, "PART", parts)
    assert [s.sha256() for s in source(3, (3, 4, 5), "cot").splits(100, 1)] == whole
