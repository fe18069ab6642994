"""Outcome, chain-of-thought and aligned supervision, for every task alike.

From input tokens x and states s_1 … s_n, each format makes a token sequence and, of the same
length, the targets: the state to predict at each supervised position, IGNORE elsewhere.
"""

from collections.abc import Callable

import numpy as np

from kbench.errors import unknown

IGNORE = -100
"""Target of an unsupervised position (torch's `ignore_index`); it carries no loss."""


def _outcome(x: np.ndarray, s: np.ndarray, equals: int) -> tuple[np.ndarray, np.ndarray]:
    """x_1…x_n = ; the answer s_n at `=`."""
    tokens = np.pad(x, ((0, 0), (0, 1)), constant_values=equals)
    targets = np.full_like(tokens, IGNORE)
    targets[:, -1] = s[:, -1]
    return tokens, targets


def _cot(x: np.ndarray, s: np.ndarray, equals: int) -> tuple[np.ndarray, np.ndarray]:
    """x_1…x_n = s_1…s_{n-1} ; s_1…s_n from `=` on (teacher forcing)."""
    n = s.shape[1]
    prompt = np.pad(x, ((0, 0), (0, 1)), constant_values=equals)
    tokens = np.concatenate([prompt, s[:, :-1]], axis=1)
    targets = np.full_like(tokens, IGNORE)
    targets[:, -n:] = s
    return tokens, targets


def _aligned(x: np.ndarray, s: np.ndarray, equals: int) -> tuple[np.ndarray, np.ndarray]:
    """x_1…x_n ; s_k at the token of update k, the k-th last."""
    targets = np.full_like(x, IGNORE)
    targets[:, -s.shape[1] :] = s
    return x, targets


SUPERVISIONS: dict[str, Callable] = {"outcome": _outcome, "cot": _cot, "aligned": _aligned}


def supervise(
    supervision: str, inputs: np.ndarray, states: np.ndarray, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """inputs [N, T0], states [N, n] → tokens [N, T], targets [N, T], both int32.

    The separator `=` is the token after the task's own, id `vocab_size`.
    """
    if supervision not in SUPERVISIONS:
        raise unknown("supervision", supervision, SUPERVISIONS)
    return SUPERVISIONS[supervision](
        inputs.astype(np.int32), states.astype(np.int32), equals=vocab_size
    )


def prompt(supervision: str, inputs: np.ndarray, n: int, vocab_size: int) -> tuple[np.ndarray, int]:
    """inputs [N, T0] → what comes before a model's first word [N, T], int32, and how many it says.

    The last word is the answer; under `cot` the model says all n states, one after the other.
    """
    if supervision == "aligned":
        return inputs.astype(np.int32), 1
    tokens = np.pad(inputs.astype(np.int32), ((0, 0), (0, 1)), constant_values=vocab_size)
    return tokens, n if supervision == "cot" else 1
