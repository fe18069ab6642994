"""Is this a task, as sampling, supervision and the searches take for granted?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kbench.data.splits import stream, universe
from kbench.data.supervision import closed_up, plain, steps_of
from kbench.errors import KbenchError
from kbench.registry import Entry
from kbench.tasks import NONE, Steps, Task

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
    made = task.simulate(digits, n)
    if not np.array_equal(digits, untouched):
        raise _Unsound(f"length {n}: simulate changes the digits that it is given")
    if isinstance(made, Steps):
        _steps_fit(made, len(digits), n)
    else:
        _arrays_fit(*made, len(digits), n)
        _ends_with_updates(made[0], n)
    steps = made if isinstance(made, Steps) else plain(*made)
    # Where a task says so itself, there may be no token.
    _tokens_fit(task, steps, n, least=NONE if isinstance(made, Steps) else 0)
    if not _equal(steps, steps_of(task, digits, n)):
        raise _Unsound(f"length {n}: the same digits give another sample the second time")
    if not _equal(_first(steps), alone := steps_of(task, digits[:1], n)):
        shapes = [[part.shape[1:] for part in _parts(some)] for some in (steps, alone)]
        what = "has other room" if shapes[0] != shapes[1] else "is another one"
        raise _Unsound(f"length {n}: a sample by itself {what} than beside others")
    inputs = _inputs(steps, n)
    if len(np.unique(inputs, axis=0)) < len(digits):
        raise _Unsound(f"length {n}: different digits give the same inputs")
    answers = steps.answers
    if (answers == answers[0]).all():
        always = " ".join(map(str, answers[0][answers[0] != NONE].tolist()))
        raise _Unsound(f"length {n}: the answer is always {always}")
    # Only of all samples do enough begin alike.
    for k in range(1, n + 1 if len(digits) == universe(task, n) else 1):
        known = _inputs(steps, k)
        pairs = np.concatenate([known, steps.states[:, k - 1]], axis=1)
        if len(np.unique(pairs, axis=0)) > len(np.unique(known, axis=0)):
            raise _Unsound(f"length {n}: state {k} depends on what comes after its update")


def _parts(steps: Steps) -> list[np.ndarray]:
    return [steps.prompt, steps.updates, steps.states, steps.answers]


def _equal(some: Steps, others: Steps) -> bool:
    return all(map(np.array_equal, _parts(some), _parts(others)))


def _first(steps: Steps) -> Steps:
    prompt, updates, states, answers = (part[:1] for part in _parts(steps))
    return Steps(prompt=prompt, updates=updates, states=states, answer=answers)


def _inputs(steps: Steps, k: int) -> np.ndarray:
    """What has been read after k updates, its gaps closed up."""
    updates = steps.updates[:, :k].reshape(len(steps.updates), -1)
    tokens = np.concatenate([steps.prompt, updates], axis=1)
    return closed_up(tokens, tokens != NONE)


def _ends_with_updates(inputs: np.ndarray, n: int) -> None:
    constant_n = (inputs[:, -n:] == inputs[0, -n:]).all(axis=0)
    if constant_n[-1] and not constant_n.all():  # where all are, as in `lookup`, that is meant
        raise _Unsound(
            f"length {n}: the last token is always {inputs[0, -1]}; the last {n} tokens are the "
            "updates, so that a constant one must stand before them"
        )


def _tokens_fit(task: Task, steps: Steps, n: int, least: int) -> None:
    named = {"input": [steps.prompt, steps.updates], "state": [steps.states, steps.answers]}
    for name, arrays in named.items():
        tokens = np.concatenate([array.ravel() for array in arrays])
        if tokens.min() < least or tokens.max() >= task.vocab_size:
            strange = tokens.min() if tokens.min() < least else tokens.max()
            raise _Unsound(
                f"length {n}: {name} token {strange} lies outside 0 … {task.vocab_size - 1}"
            )


def _steps_fit(steps: Steps, count: int, n: int) -> None:
    """Each part has the shape that `Steps` says, and what must have a token has one."""
    given = {"prompt": steps.prompt, "updates": steps.updates, "states": steps.states}
    wanted = {"prompt": "[N, P]", "updates": "[N, n, U]", "states": "[N, n, S]", "answer": "[N, A]"}
    given |= {} if steps.answer is None else {"answer": steps.answer}
    sizes = {"N": count, "n": n}
    for name, array in given.items():
        if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.integer):
            kind = getattr(array, "dtype", type(array).__name__)
            raise _Unsound(f"length {n}: {name} must be an array of integers, got {kind}")
        letters = wanted[name].strip("[]").split(", ")
        if array.ndim != len(letters) or any(
            sizes.get(letter, size) != size
            for letter, size in zip(letters, array.shape, strict=True)
        ):
            raise _Unsound(
                f"length {n}: {name} is {list(array.shape)}, expected {wanted[name]} with N = "
                f"{count}, n = {n}"
            )
    if not (steps.updates != NONE).any(axis=2).all():
        raise _Unsound(f"length {n}: an update has no token")
    if not (steps.answers != NONE).any(axis=1).all():
        raise _Unsound(f"length {n}: an answer has no token")


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
