"""Outcome, chain-of-thought and aligned supervision, for every task alike.

From the steps of a task each format makes a token sequence and, of the same length, the targets:
the token to say next at each supervised position, IGNORE elsewhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kbench.errors import unknown
from kbench.tasks import NONE, Steps, Task

IGNORE = -100
"""Target of an unsupervised position (torch's `ignore_index`); it carries no loss."""
READ, SAID, ANSWER = 0, 1, 2
"""What a model does with a token: it reads it, or has to say it, as a state or as the answer."""
Part = tuple[np.ndarray, np.ndarray]
"""A stretch of all samples: tokens [N, W], and what a model does with each column [W]."""


def _part(tokens: np.ndarray, role: int) -> Part:
    flat = tokens.reshape(len(tokens), -1)
    return flat, np.full(flat.shape[1], role)


def _read(steps: Steps, equals: int) -> list[Part]:
    """x_1…x_n =."""
    sign = np.full((len(steps.prompt), 1), equals)
    return [_part(steps.prompt, READ), _part(steps.updates, READ), _part(sign, READ)]


def _outcome(steps: Steps, equals: int) -> list[Part]:
    """x_1…x_n = answer."""
    return [*_read(steps, equals), _part(steps.answers, ANSWER)]


def _cot(steps: Steps, equals: int) -> list[Part]:
    """x_1…x_n = s_1…s_{n-1} answer, or s_1…s_n answer where that is not s_n."""
    chain = steps.states[:, :-1] if steps.answer is None else steps.states
    return [*_read(steps, equals), _part(chain, SAID), _part(steps.answers, ANSWER)]


def _aligned(steps: Steps, equals: int) -> list[Part]:
    """x_1 s_1 … x_n s_n, and = answer where that is not s_n."""
    N, _, U = steps.updates.shape
    tokens = np.concatenate([steps.updates, steps.states], axis=2)
    roles = np.full(tokens.shape[1:], SAID)
    roles[:, :U] = READ
    read_out: list[Part] = []
    if steps.answer is None:
        roles[-1, U:] = ANSWER
    else:
        read_out = [_part(np.full((N, 1), equals), READ), _part(steps.answer, ANSWER)]
    return [_part(steps.prompt, READ), (tokens.reshape(N, -1), roles.ravel()), *read_out]


SUPERVISIONS: dict[str, Callable[[Steps, int], list[Part]]] = {
    "outcome": _outcome,
    "cot": _cot,
    "aligned": _aligned,
}


class Rows(NamedTuple):
    """Samples as a model reads them [N, T]; rows that are shorter end in NONE."""

    tokens: np.ndarray
    targets: np.ndarray
    is_own: np.ndarray
    """Tokens that the model has said before it reads them (teacher forcing)."""
    is_answer: np.ndarray
    """Positions whose targets are the answer's."""


def steps_of(task: Task, digits: np.ndarray, n: int) -> Steps:
    """What a task makes of these digits."""
    made = task.simulate(digits, n)
    return made if isinstance(made, Steps) else plain(*made)


def plain(inputs: np.ndarray, states: np.ndarray) -> Steps:
    """inputs [N, T], the last n of them the updates, and states [N, n], one token each."""
    n = states.shape[1]
    return Steps(prompt=inputs[:, :-n], updates=inputs[:, -n:, None], states=states[:, :, None])


def laid_out(supervision: str, steps: Steps, vocab_size: int) -> Rows:
    """The samples in one format.

    The separator `=` is the token after the task's own, id `vocab_size`. A model reads what it has
    said only where there is more to say: the last token of a state (under `aligned`) and of the
    answer is a target and never an input.
    """
    if supervision not in SUPERVISIONS:
        raise unknown("supervision", supervision, SUPERVISIONS)
    parts = SUPERVISIONS[supervision](steps, vocab_size)
    tokens = np.concatenate([part for part, _ in parts], axis=1).astype(np.int32)
    # One row for all samples, unless they have their gaps in different places.
    roles = np.concatenate([part for _, part in parts])[None]
    width = np.count_nonzero(_is_kept(roles))
    if (is_there := tokens != NONE).all():
        is_kept = _is_kept(roles)
    else:
        roles = closed_up(np.where(is_there, roles, READ), is_there)
        tokens = closed_up(tokens, is_there)
        is_kept = _is_kept(roles)
    next_roles = _shifted(roles, READ)
    targets = np.where(next_roles == READ, np.int32(IGNORE), _shifted(tokens, NONE))
    rows = (tokens, targets, roles != READ, next_roles == ANSWER)
    tokens, targets, *marks = (closed_up(row, is_kept)[:, :width] for row in rows)
    return Rows(tokens, targets, *(np.broadcast_to(mark, tokens.shape) for mark in marks))


def supervise(supervision: str, steps: Steps, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """N samples → tokens [N, T], padded with 0 on the right, and targets [N, T], both int32."""
    rows = laid_out(supervision, steps, vocab_size)
    return np.maximum(rows.tokens, 0), rows.targets


def read_before(supervision: str, steps: Steps, k: np.ndarray) -> np.ndarray:
    """How many tokens a model has read before update k of each sample, counted from 0 [N]."""
    read = np.count_nonzero(steps.updates != NONE, axis=2)
    if supervision == "aligned":  # all but the last token of what it said in between
        read = read + np.maximum(np.count_nonzero(steps.states != NONE, axis=2) - 1, 0)
    is_before = np.arange(read.shape[1]) < k[:, None]
    return np.count_nonzero(steps.prompt != NONE, axis=1) + (read * is_before).sum(axis=1)


def _shifted(rows: np.ndarray, last: int) -> np.ndarray:
    """What comes next at each position."""
    return np.pad(rows[:, 1:], ((0, 0), (0, 1)), constant_values=last)


def _is_kept(roles: np.ndarray) -> np.ndarray:
    """All but the last token of whatever is said at one go."""
    return (roles == READ) | (_shifted(roles, READ) != READ)


def closed_up(rows: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
    """What is kept of each row moves to its left; is_kept may be one row for all of them."""
    if len(is_kept) < len(rows):
        return rows[:, is_kept[0]]
    order = np.argsort(~is_kept, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1)
