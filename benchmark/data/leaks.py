"""What of a validation set already stands in the training set, though no sample of it does."""

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
    seen = np.isin(_positions(validation), _positions(training))
    return float(seen.mean()) if len(seen) else 0.0


def _positions(split: Split) -> np.ndarray:
    """A hash of 64 bits of the prefix and the target of every supervised position."""
    found = []
    prefix = np.zeros(len(split.tokens), dtype=np.uint64)
    for t in range(split.tokens.shape[1]):
        prefix = _mixed(prefix + split.tokens[:, t].astype(np.uint64) + np.uint64(1))
        target = split.targets[:, t]
        is_judged = target != IGNORE
        found.append(_mixed(prefix[is_judged] ^ _mixed(target[is_judged].astype(np.uint64))))
    return np.concatenate(found)


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x * MULTIPLIER
    return x ^ (x >> np.uint64(29))
