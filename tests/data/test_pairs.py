"""Pairs of updates held out: no training sample holds one, every validation sample does.

The references are words and loops: a word is the numbers of a sample's updates, and what a pair is
stands in the text by which `kbench sample` names it.
"""

import hashlib
import itertools

import numpy as np
import pytest

from kbench.data.pairs import hold_out
from kbench.data.splits import Source, source_of
from kbench.errors import KbenchError
from kbench.registry import tasks

TABLE = ((0, 1), (2, 0), (1, 2))
"""State by state, where 0 and 1 lead; the first state comes again."""
CASES = {
    "modadd": ({"m": 3}, "{}", lambda s, x: (s + x) % 3),
    "automaton": ({"table": [list(row) for row in TABLE]}, "q{}", lambda s, x: TABLE[s][x]),
}
LENGTHS = (2, 3, 4, 5)
every_case = pytest.mark.parametrize("name", CASES)


class Reference:
    """A task of CASES with so many pairs held out, by words."""

    def __init__(self, name, share=0.1):
        params, state, self.step = CASES[name]
        self.task = tasks[name].cls(**params)
        self.held_out = hold_out(self.task, share)
        self.held = {*map(self.held_out.text, self.held_out.pairs)}
        self.name = (state + ": {} {}").format
        self.symbols = range(self.task.radices(1)[0])

    def source(self, supervision="outcome", max_validation=10_000):
        return Source(
            task=self.task, supervision=supervision, lengths=LENGTHS, held_out=self.held_out,
            max_validation=max_validation, max_validation_fraction=0.2,
        )  # fmt: skip

    def states(self, word):
        """Before each update, and after the last one."""
        return [*itertools.accumulate(word, self.step, initial=0)]

    def completes(self, word):
        """Which update completes the first held-out pair; None where there is none."""
        pairs = zip(self.states(word), word, word[1:], strict=False)
        found = (k for k, pair in enumerate(pairs, 1) if self.name(*pair) in self.held)
        return next(found, None)

    def words(self):
        return [w for n in LENGTHS for w in itertools.product(self.symbols, repeat=n)]

    def read(self, split):
        """The words of a split under `outcome`, which end where the separator stands."""
        first = self.task.vocab_size - len(self.symbols) if "q0" in self.task.token_name(0) else 0
        rows = [row[: row.index(self.task.vocab_size)] for row in split.tokens.tolist()]
        return [tuple(token - first for token in row) for row in rows]


@every_case
@pytest.mark.parametrize("seed", [1, 7])
def test_no_training_sample_holds_a_pair_and_every_validation_sample_does(name, seed):
    of = Reference(name)
    shares = of.source().shares()
    training, validation = of.source().splits(shares.n_training, seed)
    without = [word for word in of.words() if of.completes(word) is None]
    assert sorted(of.read(training)) == sorted(without)
    assert sorted(of.read(validation)) == sorted({*of.words()} - {*without})
    assert shares.n_validation == len(validation.tokens)
    assert {n: len([w for w in without if len(w) == n]) for n in LENGTHS} == (
        shares.training_capacity(seed)
    )
    with pytest.raises(ValueError, match=f"only {len(without)} training samples"):
        of.source().splits(len(without) + 1, seed)


@every_case
def test_training_sets_are_nested_and_validation_stays_as_it_is(name):
    of = Reference(name)
    source = of.source(max_validation=5)
    large, validation = source.splits(source.shares().n_training, 3)
    for n_samples in (1, 9, 20):
        small, again = source.splits(n_samples, 3)
        assert np.array_equal(small.tokens, large.tokens[:n_samples])
        assert again.sha256() == validation.sha256()
    assert len(validation.tokens) == 5
    assert source.splits(9, 4)[0].sha256() != source.splits(9, 3)[0].sha256()


@every_case
@pytest.mark.parametrize("share", [0.1, 0.25])
def test_every_transition_of_a_length_stays_in_its_training(name, share):
    of = Reference(name, share)
    assert len(of.held) == len(of.held_out.pairs) == max(1, round(share * of.held_out.of))

    def transitions(words):
        return {pair for w in words for pair in zip(of.states(w), w, strict=False)}

    for n in (2, 3, 4, 7):
        words = [*itertools.product(of.symbols, repeat=n)]
        without = [word for word in words if of.completes(word) is None]
        assert transitions(without) == transitions(words)


def test_a_pair_is_held_out_after_the_first_state_where_one_may_be():
    for name in CASES:
        of = Reference(name)
        assert any(len(word) == 2 and of.completes(word) for word in of.words())


def test_what_is_judged_is_said_once_a_pair_was_read():
    of = Reference("modadd")
    _, validation = of.source("aligned").splits(1, 1)
    by_targets = {w: of.states(w)[1:] for w in of.words() if of.completes(w)}
    for tokens, targets in zip(
        validation.tokens.tolist(), validation.targets.tolist(), strict=True
    ):
        n = 1 + max(t for t, target in enumerate(targets) if target != -100)
        word = tuple(tokens[:n])
        start = of.completes(word)
        expected = [-100] * start + by_targets[word][start:]
        assert targets == expected + [-100] * (len(targets) - n)
    training, _ = of.source("aligned").splits(20, 1)
    assert (training.targets[:, 0] != -100).all()  # nothing is taken from what is taught


def test_under_aligned_states_of_several_tokens_are_read_in_between():
    task = tasks["addition"].cls(base=2, figures=2)
    held_out = hold_out(task, 0.1)
    limits = {"max_validation": 100, "max_validation_fraction": 0.2}
    source = Source(task=task, supervision="aligned", lengths=(3,), held_out=held_out, **limits)
    _, judged = source.splits(1, 1)
    targets = (judged.targets != -100).sum(axis=1)
    # Two targets for each update from the one that completes the pair: the second or the third.
    assert {*targets.tolist()} == {2, 4}
    # Each update is two tokens, and the first of two that are said is read again.
    assert {(row != -100).argmax() for row in judged.targets} == {1 + 3, 1 + 6}


@pytest.mark.parametrize("supervision", ["outcome", "cot"])
def test_where_all_is_read_before_anything_is_said_all_is_judged(supervision):
    of = Reference("modadd")
    _, validation = of.source(supervision).splits(1, 1)
    lengths = [len(word) for word in Reference.read(of, of.source().splits(1, 1)[1])]
    wanted = lengths if supervision == "cot" else [1] * len(lengths)
    assert (validation.targets != -100).sum(axis=1).tolist() == wanted


def test_longer_samples_that_are_tested_hold_a_pair():
    of = Reference("modadd")
    digits = of.source().beyond(14, seed=2, count=50)
    assert len({*map(tuple, digits.tolist())}) == 50
    assert all(of.completes(word) for word in digits.tolist())
    few = of.source().beyond(2, seed=2, count=50)  # as many as there are
    assert [*map(tuple, few.tolist())] == [w for w in of.words() if len(w) == 2 and of.completes(w)]


def test_which_pairs_are_held_out_never_changes():
    """They are not part of a trial's key: changed, they would give old trials another data set."""
    held_out = hold_out(tasks["modadd"].cls(m=5), 0.1)
    assert (len(held_out.pairs), held_out.of) == (12, 125)
    texts = [hold_out(tasks[name].cls(**params), 0.1) for name, params in (
        ("modadd", {"m": 5}), ("automaton", {"name": "dyck-2"}), ("permutation", {"group": "S3"}),
        ("addition", {"base": 2, "figures": 2}), ("gridnav", {"w": 3, "h": 3, "walls": 2}),
    )]  # fmt: skip
    said = "; ".join(of.text(pair) for of in texts for pair in of.pairs)
    assert hashlib.sha256(said.encode()).hexdigest()[:16] == "7fb24bcab185a3c3"


def test_all_lengths_seeds_and_models_have_the_same(a_hold_out_trial):
    import dataclasses

    sources = [
        source_of(dataclasses.replace(a_hold_out_trial, **other))
        for other in ({}, {"lengths": (4,)}, {"seed": 9}, {"model": "gru"}, {"supervision": "cot"})
    ]
    assert len({tuple(source.held_out.pairs) for source in sources}) == 1


@pytest.fixture
def a_hold_out_trial():
    from kbench.protocol import Training
    from kbench.recipe import plain
    from kbench.trial import Trial

    return Trial(
        model="lstm", model_version=1, size={"width": 8, "layers": 1}, backend="torch",
        task="modadd", task_version=1, task_params={"m": 3}, supervision="aligned",
        lengths=(3, 4), distribution="uniform", n_samples=9, recipe=plain(3e-3, 64), seed=1,
        protocol="test-1", hold_out_pairs=0.1,
        training=Training(
            eps=1e-2, steps=60, max_validation=100, max_validation_fraction=0.2, futility=None
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "params", "share", "lengths", "said"), [
    ("lookup", {"keys": 4}, 0.1, (2,), "from state .*, update hop leads to several"),
    ("stack", {"symbols": 2}, 0.1, (2,), "needs a task whose state and update say which state"),
    ("modadd", {"m": 3}, 0.9, (2,), "that is 24 of 27 pairs, and at most 1. can be held out"),
    ("modadd", {"m": 2}, 0.1, (2, 21), "up to 1,048,576; length 21 has more"),
    ("automaton", {}, 0.1, (2, 3), "no sample of length 2 holds a pair that is held out"),
    ("parity", {}, 0.1, (1, 2), "no sample of length 1 holds a pair"),
    ("registers", {"r": 2, "m": 3}, 0.3, (4, 5), "at length 5 a transition would stand in no"),
])  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(name, params, share, lengths, said):
    with pytest.raises(KbenchError, match=said) as refused:
        hold_out(tasks[name].cls(**params), share).sizes(lengths)
    assert "\n" not in str(refused.value)
