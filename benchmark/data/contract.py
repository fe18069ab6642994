"""Is this a task, as sampling, supervision and the searches take for granted?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kbench.data.splits import stream, universe
from kbench.errors import KbenchError
from kbench.registry import Entry
from kbench.tasks import Task

SAMPLES, TOKENS = 4_096, 2**21
"""Looked at for each length, at most; small universes are looked at whole."""


class _Unsound(Exception):
    """The message says what the task does instead."""


def made(entry: Entry, params: Mapping[str, Any], lengths: Iterable[int]) -> Task:
    """The task with these parameters, looked over at these lengths; raises KbenchError."""
    try:
        task = entry.cls(**params)
        if not isinstance(task, Task):
            raise _Unsound(f"{entry.cls.__name__} is no subclass of kbench.tasks.Task")
        for n in lengths:
            _look_over(task, n)
        for token in (0, task.vocab_size - 1):
            if not isinstance(name := task.token_name(token), str):
                raise _Unsound(f"token_name({token}) must be a text, got {name!r}")
    except KbenchError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's task raises
        kind = "" if isinstance(error, _Unsound) else f"{type(error).__name__}: "
        raise KbenchError(f"task {entry.name}: {kind}{error}") from None
    return task


def _look_over(task: Task, n: int) -> None:
    _digits_are_counted(task, n)
    digits = stream(task, n, 0, min(SAMPLES, TOKENS // n, universe(task, n)))
    untouched = digits.copy()
    inputs, states = task.simulate(digits, n)
    if not np.array_equal(digits, untouched):
        raise _Unsound(f"length {n}: simulate changes the digits that it is given")
    _arrays_fit(inputs, states, len(digits), n)
    for name, tokens in (("input", inputs), ("state", states)):
        if tokens.min() < 0 or tokens.max() >= task.vocab_size:
            strange = tokens.min() if tokens.min() < 0 else tokens.max()
            raise _Unsound(
                f"length {n}: {name} token {strange} lies outside 0 … {task.vocab_size - 1}"
            )
    again = task.simulate(digits, n)
    if not (np.array_equal(inputs, again[0]) and np.array_equal(states, again[1])):
        raise _Unsound(f"length {n}: the same digits give another sample the second time")
    if len(np.unique(inputs, axis=0)) < len(digits):
        raise _Unsound(f"length {n}: different digits give the same inputs")
    if (states[:, -1] == states[0, -1]).all():
        raise _Unsound(f"length {n}: the answer is always {states[0, -1]}")
    constant_n = (inputs[:, -n:] == inputs[0, -n:]).all(axis=0)
    if constant_n[-1] and not constant_n.all():  # where all are, as in `lookup`, that is meant
        raise _Unsound(
            f"length {n}: the last token is always {inputs[0, -1]}; the last {n} tokens are the "
            "updates, so that a constant one must stand before them"
        )
    # Only of all samples do enough begin alike.
    for k in range(1, n + 1 if len(digits) == universe(task, n) else 1):
        known = inputs[:, : inputs.shape[1] - n + k]
        pairs = np.concatenate([known, states[:, k - 1 : k]], axis=1)
        if len(np.unique(pairs, axis=0)) > len(np.unique(known, axis=0)):
            raise _Unsound(f"length {n}: state {k} depends on what comes after its update")


def _digits_are_counted(task: Task, n: int) -> None:
    vocab_size, radices = task.vocab_size, task.radices(n)
    if not isinstance(vocab_size, int) or vocab_size < 2:
        raise _Unsound(f"vocab_size must be an integer of at least 2, got {vocab_size!r}")
    if (
        not isinstance(radices, tuple)
        or not radices
        or not all(isinstance(radix, int) and radix >= 1 for radix in radices)
    ):
        raise _Unsound(f"length {n}: radices must be a tuple of positive integers, got {radices!r}")


def _arrays_fit(inputs: Any, states: Any, count: int, n: int) -> None:
    for name, tokens in (("inputs", inputs), ("states", states)):
        if not isinstance(tokens, np.ndarray) or not np.issubdtype(tokens.dtype, np.integer):
            kind = getattr(tokens, "dtype", type(tokens).__name__)
            raise _Unsound(f"length {n}: {name} must be an array of integers, got {kind}")
    if states.shape != (count, n):
        raise _Unsound(f"length {n}: states are {list(states.shape)}, expected {[count, n]}")
    if inputs.ndim != 2 or len(inputs) != count or inputs.shape[1] < n:
        raise _Unsound(
            f"length {n}: inputs are {list(inputs.shape)}, expected {count} rows of at least {n}"
        )
