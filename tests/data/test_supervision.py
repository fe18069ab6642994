"""The three supervision formats, on examples written by hand and against a slow reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.data.supervision import SUPERVISIONS, plain
from kbench.data.supervision import supervise as supervise_steps
from kbench.errors import KbenchError


def supervise(supervision, inputs, states, vocab_size):
    """Of a task whose updates and states are one token each."""
    return supervise_steps(supervision, plain(inputs, states), vocab_size)


_ = -100  # an unsupervised position: torch's ignore_index

# Modular addition with m = 5, so that `=` is token 5.
EXAMPLES = {
    ("outcome", (3, 4, 1), (3, 2, 3)): ((3, 4, 1, 5), (_, _, _, 3)),
    ("cot", (3, 4, 1), (3, 2, 3)): ((3, 4, 1, 5, 3, 2), (_, _, _, 3, 2, 3)),
    ("aligned", (3, 4, 1), (3, 2, 3)): ((3, 4, 1), (3, 2, 3)),
    # one update: cot has no state left to write down
    ("outcome", (4,), (4,)): ((4, 5), (_, 4)),
    ("cot", (4,), (4,)): ((4, 5), (_, 4)),
    ("aligned", (4,), (4,)): ((4,), (4,)),
    # two tokens that set the scene, then two updates
    ("outcome", (0, 1, 2, 3), (4, 2)): ((0, 1, 2, 3, 5), (_, _, _, _, 2)),
    ("cot", (0, 1, 2, 3), (4, 2)): ((0, 1, 2, 3, 5, 4), (_, _, _, _, 4, 2)),
    ("aligned", (0, 1, 2, 3), (4, 2)): ((0, 1, 2, 3), (_, _, 4, 2)),
    # a scene and one update
    ("outcome", (0, 1, 2), (4,)): ((0, 1, 2, 5), (_, _, _, 4)),
    ("cot", (0, 1, 2), (4,)): ((0, 1, 2, 5), (_, _, _, 4)),
    ("aligned", (0, 1, 2), (4,)): ((0, 1, 2), (_, _, 4)),
}


@st.composite
def batches(draw):
    """inputs [N, T], states [N, n] with n <= T, and the vocabulary size."""
    rows, n, scene, vocab = (draw(st.integers(low, 6)) for low in (1, 1, 0, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, vocab, (rows, scene + n)), rng.integers(0, vocab, (rows, n)), vocab


many = settings(max_examples=100, deadline=None, derandomize=True)


def slow_row(supervision, x, s, equals):
    """One row, token by token: what is read, and what is to be said once it has been read."""
    said = {}
    if supervision == "aligned":
        row = list(x)
        for k in range(1, len(s) + 1):
            said[len(x) - k] = s[-k]
    else:
        row = [*x, equals]
        said[len(x)] = s[-1]
        if supervision == "cot":
            for k in range(len(s)):
                said[len(x) + k] = s[k]
                if k > 0:
                    row.append(s[k - 1])
    return row, [said.get(t, -100) for t in range(len(row))]


@pytest.mark.parametrize(("example", "expected"), EXAMPLES.items(), ids=str)
def test_format_on_an_example_written_by_hand(example, expected):
    supervision, x, s = example
    tokens, targets = supervise(supervision, np.array([x]), np.array([s]), vocab_size=5)
    assert (tokens.tolist(), targets.tolist()) == ([list(expected[0])], [list(expected[1])])


def test_every_format_has_an_example():
    assert {supervision for supervision, _, _ in EXAMPLES} == set(SUPERVISIONS)


@pytest.mark.parametrize("supervision", SUPERVISIONS)
@many
@given(batch=batches())
def test_every_row_of_a_batch_agrees_with_the_slow_reference(supervision, batch):
    inputs, states, vocab = batch
    tokens, targets = supervise(supervision, inputs, states, vocab)
    slow = [
        slow_row(supervision, x, s, vocab)
        for x, s in zip(inputs.tolist(), states.tolist(), strict=True)
    ]
    assert tokens.tolist() == [row for row, _ in slow]
    assert targets.tolist() == [said for _, said in slow]
    assert tokens.dtype == targets.dtype == np.int32


@many
@given(batch=batches())
def test_under_cot_the_token_after_each_target_is_that_target(batch):
    inputs, states, vocab = batch
    tokens, targets = supervise("cot", inputs, states, vocab)
    supervised = targets[0] != -100
    assert supervised.sum() == states.shape[1]
    forced = np.flatnonzero(supervised[:-1])
    assert (tokens[:, forced + 1] == targets[:, forced]).all()
    assert (targets[:, -1] == states[:, -1]).all()  # the answer is never shown


@pytest.mark.parametrize("supervision", ["outcome", "cot"])
def test_equals_follows_the_inputs_and_stands_nowhere_else(supervision):
    inputs, states = np.zeros((3, 4), int), np.zeros((3, 2), int)
    tokens, _ = supervise(supervision, inputs, states, vocab_size=7)
    assert np.argwhere(tokens == 7).tolist() == [[0, 4], [1, 4], [2, 4]]


def test_aligned_needs_no_separator():
    tokens, _ = supervise("aligned", np.zeros((3, 4), int), np.zeros((3, 2), int), vocab_size=7)
    assert not (tokens == 7).any()


@pytest.mark.parametrize("supervision", SUPERVISIONS)
def test_inputs_and_states_stay_as_they_were(supervision):
    inputs, states = np.ones((2, 3), np.int32), np.ones((2, 3), np.int32)
    for array in supervise(supervision, inputs, states, vocab_size=2):
        array[:] = 9
    assert (inputs == 1).all()
    assert (states == 1).all()


@pytest.mark.parametrize(("typo", "near"), [("aligend", "aligned"), ("outcom", "outcome")])
def test_an_unknown_name_is_refused_with_the_nearest(typo, near):
    with pytest.raises(KbenchError) as refused:
        supervise(typo, np.zeros((1, 1), int), np.zeros((1, 1), int), vocab_size=2)
    assert str(refused.value) == (
        f"unknown supervision {typo!r}; did you mean {near!r}? (known: aligned, cot, outcome)"
    )
