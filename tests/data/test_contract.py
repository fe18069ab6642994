"""What is no task is said in one line, before a run begins."""

from dataclasses import dataclass

import numpy as np
import pytest

from kbench.data.contract import made
from kbench.errors import KbenchError
from kbench.registry import Entry, tasks
from kbench.tasks import Task

LENGTHS = (1, 2, 5)


class Sum(Task):
    """Sum of three digits modulo three; the tasks below break one thing each."""

    vocab_size = 3

    def radices(self, n):
        return (3,) * n

    def simulate(self, digits, n):
        return digits, np.cumsum(digits, axis=1) % 3


def entry(cls):
    return Entry(name="mine.py:Mine", cls=cls, version="sha256:0", presets=None)


class NoTask:
    pass


class HalfDone(Task):
    vocab_size = 3


class FractionalVocabulary(Sum):
    vocab_size = 3.0


class ListOfRadices(Sum):
    def radices(self, n):
        return [3] * n


class NoChoice(Sum):
    def radices(self, n):
        return (3, 0)


class Fewer(Sum):
    def simulate(self, digits, n):
        return digits, np.cumsum(digits, axis=1)[:, 1:] % 3


class Floats(Sum):
    def simulate(self, digits, n):
        return digits, np.cumsum(digits, axis=1) / 3


class Lists(Sum):
    def simulate(self, digits, n):
        return digits.tolist(), np.cumsum(digits, axis=1) % 3


class Short(Sum):
    def simulate(self, digits, n):
        return digits[:, :-1], np.cumsum(digits, axis=1) % 3


class Outside(Sum):
    def simulate(self, digits, n):
        return digits, np.cumsum(digits, axis=1)


class Negative(Sum):
    def simulate(self, digits, n):
        return digits - 1, np.cumsum(digits, axis=1) % 3


class Forgetful(Sum):
    def simulate(self, digits, n):
        return np.minimum(digits, 1), np.cumsum(digits, axis=1) % 3


class Constant(Sum):
    def simulate(self, digits, n):
        return digits, np.zeros_like(digits)


class Foresees(Sum):
    def simulate(self, digits, n):
        return digits, np.cumsum(digits[:, ::-1], axis=1)[:, ::-1] % 3


class Ends(Sum):
    """With an equals sign, so to say: every aligned target would stand one token too early."""

    def simulate(self, digits, n):
        sign = np.zeros((len(digits), 1), digits.dtype)
        return np.concatenate([digits, sign], axis=1), np.cumsum(digits, axis=1) % 3


class Overwrites(Sum):
    def simulate(self, digits, n):
        digits[:, 0] = 0
        return digits, np.cumsum(digits, axis=1) % 3


class Random(Sum):
    def simulate(self, digits, n):
        return digits, np.random.default_rng().integers(0, 3, digits.shape)


class Raises(Sum):
    def simulate(self, digits, n):
        return digits, digits[:, n]


class Numbered(Sum):
    def token_name(self, token):
        return token


class Nameless(Sum):
    def token_name(self, token):
        return ["a", "b"][token]


class Exits(Sum):
    def radices(self, n):
        raise SystemExit("bye")


BROKEN = {
    NoTask: "NoTask is no subclass of kbench.tasks.Task",
    HalfDone: "TypeError: Can't instantiate abstract class HalfDone",
    FractionalVocabulary: "vocab_size must be an integer of at least 2, got 3.0",
    ListOfRadices: r"length 1: radices must be a tuple of positive integers, got \[3\]",
    NoChoice: r"length 1: radices must be a tuple of positive integers, got \(3, 0\)",
    Fewer: r"length 1: states are \[3, 0\], expected \[3, 1\]",
    Floats: "length 1: states must be an array of integers, got float64",
    Lists: "length 1: inputs must be an array of integers, got list",
    Short: r"length 1: inputs are \[3, 0\], expected 3 rows of at least 1",
    Outside: "length 2: state token 4 lies outside 0 … 2",
    Negative: "length 1: input token -1 lies outside 0 … 2",
    Forgetful: "length 1: different digits give the same inputs",
    Constant: "length 1: the answer is always 0",
    Foresees: "length 2: state 1 depends on what comes after its update",
    Ends: "length 2: the last token is always 0; the last 2 tokens are the updates",
    Overwrites: "length 1: simulate changes the digits that it is given",
    Random: "length 2: the same digits give another sample the second time",
    Raises: "IndexError: ",
    Numbered: r"token_name\(0\) must be a text, got 0",
    Nameless: "IndexError: list index out of range",
    Exits: "SystemExit: bye",
}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_task_is_named_with_its_reason(cls):
    with pytest.raises(KbenchError, match=f"^task mine.py:Mine: {BROKEN[cls]}") as refused:
        made(entry(cls), {}, (2, 5) if cls is Random else LENGTHS)
    assert "\n" not in str(refused.value)


def test_a_sound_task_is_made_with_its_parameters():
    @dataclass(frozen=True)
    class Modular(Sum):
        m: int

    assert made(entry(Modular), {"m": 4}, LENGTHS) == Modular(m=4)
    with pytest.raises(KbenchError, match="missing 1 required positional argument: 'm'"):
        made(entry(Modular), {}, LENGTHS)


@pytest.mark.parametrize("name", tasks.names())
def test_every_registered_task_is_sound_at_the_lengths_of_its_presets_and_beyond(name):
    for family in ("quick", "cpu"):
        params = dict(tasks[name].preset(family))
        first, last = params.pop("lengths")
        made(tasks[name], params, (*range(first, last + 1), 2 * last, 100))
