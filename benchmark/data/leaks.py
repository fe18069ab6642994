"""What of a validation set already stands in the training set, though no sample of it does."""

import dataclasses

import numpy as np

from kbench.data.splits import Split
from kbench.data.supervision import IGNORE

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: odd, and its bits are spread."""


def seen_prefixes(training: Split, validation: Split) -> float:
    """The share of the validation set's supervised positions that the training set holds.

    That is, the same tokens up to there with the same target. A sample is in one set only, but
    under `aligned` it is supervised at every update, and two samples may begin alike: a model that
    knows its training set by heart knows these positions too. Under `outcome` and `cot` the whole
    input stands before the first target, so that there are none.
    """
    is_judged = validation.targets != IGNORE
    return float(is_seen(training, validation)[is_judged].mean()) if is_judged.any() else 0.0


def is_seen(training: Split, validation: Split) -> np.ndarray:
    """seen_NT: which supervised positions of the validation set the training set holds."""
    known = _positions(training)[training.targets != IGNORE]
    return (validation.targets != IGNORE) & np.isin(_positions(validation), known)


def only_new(training: Split, validation: Split) -> Split:
    """The validation set without the targets that the training set holds.

    Should it hold all of them, which leaves nothing to judge by, then as it is.
    """
    targets = np.where(is_seen(training, validation), IGNORE, validation.targets)
    if (targets == IGNORE).all():
        return validation
    return dataclasses.replace(validation, targets=targets.astype(validation.targets.dtype))


def _positions(split: Split) -> np.ndarray:
    """A hash of 64 bits [N, T] of every prefix and the target at its end."""
    found = np.empty(split.tokens.shape, dtype=np.uint64)
    prefix = np.zeros(len(split.tokens), dtype=np.uint64)
    for t in range(split.tokens.shape[1]):
        prefix = mixed(prefix + split.tokens[:, t].astype(np.uint64) + np.uint64(1))
        found[:, t] = mixed(prefix ^ mixed(split.targets[:, t].astype(np.uint64)))
    return found


def mixed(x: np.ndarray) -> np.ndarray:
    """A hash of each number of 64 bits."""
    x = x * MULTIPLIER
    return x ^ (x >> np.uint64(29))
