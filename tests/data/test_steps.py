"""Updates, states and answers of several tokens or none, in all three formats."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.data.contract import made
from kbench.data.splits import Source, answer_counts, chance
from kbench.data.supervision import SUPERVISIONS, laid_out, supervise
from kbench.errors import KbenchError
from kbench.registry import Entry
from kbench.tasks import NONE, Steps, Task

_ = -100  # an unsupervised position
VOCAB = 9  # so that `=` is token 9


def steps(prompt, updates, states, answer=None):
    """One sample from lists, with -1 where there is no token."""
    given = {"prompt": prompt, "updates": updates, "states": states}
    given |= {} if answer is None else {"answer": answer}
    return Steps(**{name: np.array([tokens], dtype=int) for name, tokens in given.items()})


WRITTEN = {  # by hand: updates of two tokens, then states of two tokens, and so on
    "updates": steps([], [[1, 2], [3, 4]], [[5], [6]]),
    "states": steps([0], [[1], [2]], [[5, 6], [7, 8]]),
    "mask": steps([0], [[1, 2], [3, -1]], [[-1], [6]]),
    "answer": steps([], [[1], [2]], [[5], [6]], [7, 8, -1]),
    "all": steps([0, -1], [[1, -1], [2, 3]], [[5, 6], [-1, -1]], [7, 8]),
}
EXPECTED = {
    ("updates", "outcome"): ([1, 2, 3, 4, 9], [_, _, _, _, 6]),
    ("updates", "cot"): ([1, 2, 3, 4, 9, 5], [_, _, _, _, 5, 6]),
    ("updates", "aligned"): ([1, 2, 3, 4], [_, 5, _, 6]),
    ("states", "outcome"): ([0, 1, 2, 9, 7], [_, _, _, 7, 8]),
    ("states", "cot"): ([0, 1, 2, 9, 5, 6, 7], [_, _, _, 5, 6, 7, 8]),
    ("states", "aligned"): ([0, 1, 5, 2, 7], [_, 5, 6, 7, 8]),
    ("mask", "outcome"): ([0, 1, 2, 3, 9], [_, _, _, _, 6]),
    ("mask", "cot"): ([0, 1, 2, 3, 9], [_, _, _, _, 6]),
    ("mask", "aligned"): ([0, 1, 2, 3], [_, _, _, 6]),
    ("answer", "outcome"): ([1, 2, 9, 7], [_, _, 7, 8]),
    ("answer", "cot"): ([1, 2, 9, 5, 6, 7], [_, _, 5, 6, 7, 8]),
    ("answer", "aligned"): ([1, 2, 9, 7], [5, 6, 7, 8]),
    ("all", "outcome"): ([0, 1, 2, 3, 9, 7], [_, _, _, _, 7, 8]),
    ("all", "cot"): ([0, 1, 2, 3, 9, 5, 6, 7], [_, _, _, _, 5, 6, 7, 8]),
    ("all", "aligned"): ([0, 1, 5, 2, 3, 9, 7], [_, 5, 6, _, _, 7, 8]),
}


@pytest.mark.parametrize(("name", "supervision"), EXPECTED)
def test_format_on_an_example_written_by_hand(name, supervision):
    tokens, targets, *_rest = laid_out(supervision, WRITTEN[name], VOCAB)
    is_there = tokens[0] != NONE
    assert (targets[0][~is_there] == _).all()
    read = (tokens[0][is_there].tolist(), targets[0][is_there].tolist())
    assert read == EXPECTED[name, supervision]


def slow_row(supervision, prompt, updates, states, answer):
    """One sample told as a dialogue; what is said is read only when there is more to say."""
    read, said, own, pending = [], {}, set(), []

    def reads(tokens):
        pending.clear()
        read.extend(tokens)

    def says(tokens, kind):
        for token in tokens:
            own.update(range(len(read), len(read) + len(pending)))
            read.extend(pending)
            pending[:] = [token]
            said[len(read) - 1] = token, kind

    chain, last = (states, answer) if answer else (states[:-1], states[-1])
    reads(prompt)
    for k, update in enumerate(updates):
        reads(update)
        if supervision == "aligned" and k < len(chain):
            says(chain[k], "state")
    if supervision != "aligned" or answer:
        reads([VOCAB])
    if supervision == "cot":
        says(sum(chain, []), "state")
    says(last, "answer")
    answers = {t for t, (_, kind) in said.items() if kind == "answer"}
    return read, {t: token for t, (token, _) in said.items()}, own, answers


@st.composite
def batches(draw):
    """Steps with gaps anywhere, but none that a task may not have."""
    N, n, P, U, S, A = (draw(st.integers(low, 4)) for low in (1, 1, 0, 1, 1, 0))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    holes = draw(st.sampled_from([0, 0.3, 0.8]))

    def tokens(*shape, least=0):
        drawn = rng.integers(0, VOCAB, shape)
        drawn[rng.random(shape) < holes] = NONE
        full = (drawn != NONE).any(axis=-1, keepdims=True)
        return np.where(full | (not least), drawn, rng.integers(0, VOCAB, shape))

    states = tokens(N, n, S)
    states[:, -1] = tokens(N, S, least=not A)
    return Steps(
        prompt=tokens(N, P),
        updates=tokens(N, n, U, least=1),
        states=states,
        answer=tokens(N, A, least=1) if A else None,
    )


def there(tokens):
    return [token for token in tokens if token != NONE]


@pytest.mark.parametrize("supervision", SUPERVISIONS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(batch=batches())
def test_every_row_of_a_batch_agrees_with_the_slow_reference(supervision, batch):
    rows = laid_out(supervision, batch, VOCAB)
    tokens, targets = supervise(supervision, batch, VOCAB)
    assert tokens.dtype == targets.dtype == np.int32
    T = tokens.shape[1]
    for i in range(len(tokens)):
        answer = [] if batch.answer is None else there(batch.answer[i].tolist())
        read, said, own, answers = slow_row(
            supervision,
            there(batch.prompt[i].tolist()),
            [there(update) for update in batch.updates[i].tolist()],
            [there(state) for state in batch.states[i].tolist()],
            answer,
        )
        assert rows.tokens[i].tolist() == read + [NONE] * (T - len(read))
        assert tokens[i].tolist() == read + [0] * (T - len(read))
        assert targets[i].tolist() == [said.get(t, _) for t in range(T)]
        assert set(np.flatnonzero(rows.is_own[i])) == own
        assert set(np.flatnonzero(rows.is_answer[i])) == answers


@dataclass(frozen=True)
class Words(Task):
    """Copies: x_k is one letter or two, s_k the same letters; what is wrong is asked for."""

    wrong: str = ""
    vocab_size = 3

    def radices(self, n):
        return (2,) * n

    def simulate(self, digits, n):
        updates = np.stack([np.full_like(digits, 2), np.where(digits, 1, NONE)], axis=2)
        parts = {"prompt": digits[:, :0], "updates": updates, "states": updates}
        parts |= {"answer": updates[:, -1]} if "answer" in self.wrong else {}
        parts |= {
            "no update": {"updates": np.where(digits[:, :, None], 1, [NONE, NONE])},
            "no answer": {"answer": np.where(digits[:, -1:], 1, [NONE, NONE])},
            "flat": {"states": digits},
            "short": {"updates": updates[:, 1:]},
            "floats": {"states": updates / 2},
            "below": {"states": updates - 1},
            "above": {"answer": updates[:, -1] + 1},
            "same inputs": {"updates": np.maximum(updates, 1)[:, :, 1:]},
            "foresees": {"states": updates[:, ::-1]},
            "room": {"states": updates[:, :, : 1 + (len(digits) > 1)]},
            "others": {"states": updates * (len(digits) > 1)},
            "constant": {"states": updates[:, :, :1]},
        }.get(self.wrong, {})
        return Steps(**parts)


WRONG = {
    "no update": "length 1: an update has no token",
    "no answer": "length 1: an answer has no token",
    "flat": r"length 1: states is \[2, 1\], expected \[N, n, S\] with N = 2, n = 1",
    "short": r"length 1: updates is \[2, 0, 2\], expected \[N, n, U\] with N = 2, n = 1",
    "floats": "length 1: states must be an array of integers, got float64",
    "below": "length 1: state token -2 lies outside 0 … 2",
    "above": "length 1: state token 3 lies outside 0 … 2",
    "same inputs": "length 1: different digits give the same inputs",
    "foresees": "length 2: state 1 depends on what comes after its update",
    "room": "length 1: a sample by itself has other room than beside others",
    "others": "length 1: a sample by itself is another one than beside others",
    "constant": "length 1: the answer is always 2",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_broken_steps_are_named_with_their_reason(wrong):
    entry = Entry(name="mine.py:Words", cls=Words, version="sha256:0", presets=None)
    assert made(entry, {}, (1, 2, 5)) == Words()
    with pytest.raises(KbenchError, match=f"^task mine.py:Words: {WRONG[wrong]}$"):
        made(entry, {"wrong": wrong}, (1, 2, 5))


@pytest.mark.parametrize("supervision", SUPERVISIONS)
def test_rows_are_as_wide_as_the_longest_sample_could_be(supervision):
    source = Source(
        task=Words(),
        supervision=supervision,
        lengths=(2, 5),
        max_validation=9,
        max_validation_fraction=0.2,
    )
    few, validation = source.splits(3, 1)
    many, _same = source.splits(20, 1)
    room = {"outcome": 12, "cot": 20, "aligned": 15}[supervision]
    assert {few.tokens.shape[1], many.tokens.shape[1], validation.tokens.shape[1]} == {room}
    assert (few.tokens == many.tokens[:3]).all()
    longest = {"outcome": 5 * 2 + 1 + 1, "cot": 5 * 2 + 1 + 5 * 2 - 1, "aligned": 5 * 3}
    assert longest[supervision] == room == source.width()


def test_answers_of_several_tokens_are_counted_whole():
    assert answer_counts(Words(), 3).tolist() == [4, 4]
    assert chance(Words(), 3) == 0.5
