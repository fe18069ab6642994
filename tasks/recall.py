"""Associative recall: look up one key after the other in a table in the prompt."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Task


def _chosen(digits: np.ndarray, keys: int) -> np.ndarray:
    """Digits [N, P], digit i below keys − i, to P different keys of 0 … keys − 1 [N, P]."""
    chosen = digits.astype(np.int64)
    # A digit counts the keys that are left: from the last to the first, each makes room for it.
    for i in range(digits.shape[1] - 2, -1, -1):
        chosen[:, i + 1 :] += chosen[:, i + 1 :] >= chosen[:, i : i + 1]
    return chosen


@tasks.register(
    "recall",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "keys": 4, "pairs": 2},
        "cpu": {"lengths": (2, 8), "keys": 4, "pairs": 3},
        "paper": {"lengths": (2, 10), "keys": 16, "pairs": 8},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class AssociativeRecall(Task):
    """`pairs` keys with their values, then n queries: s_k is the value of key x_k, by n lookups.

    Multi-query associative recall (arXiv 2312.04927): keys and values are different tokens, `keys`
    of each. A sample has `pairs` of the keys, in any order, and only these are asked for, as often
    as chance has it. With two pairs, b=2 d=1, the queries d b d have the values 1 2 1.

    With `hops`, values are keys of the same sample, and each query follows the table so many
    times: the query a with h hops has the answer of `lookup` from a at length h.
    """

    keys: int
    pairs: int
    hops: int = 0

    def __post_init__(self) -> None:
        for name, least in (("keys", 2), ("pairs", 2), ("hops", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise KbenchError(
                    f"recall: {name} must be an integer of at least {least}, got {value!r}"
                )
        if self.pairs > self.keys:
            raise KbenchError(
                f"recall: pairs must be at most keys, {self.keys}, got {self.pairs}: no key comes "
                "twice"
            )

    @property
    def vocab_size(self) -> int:
        """The keys, then the values; with hops the keys are the values."""
        return self.keys if self.hops else 2 * self.keys

    def radices(self, n: int) -> tuple[int, ...]:
        """The keys of the sample in their order, their values, the queries."""
        keys = tuple(range(self.keys, self.keys - self.pairs, -1))
        values = (self.pairs if self.hops else self.keys,) * self.pairs
        return (*keys, *values, *(self.pairs,) * n)

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values side by side, then the queries."""
        N, P = len(digits), self.pairs
        keys, values = _chosen(digits[:, :P], self.keys), digits[:, P : 2 * P]
        queries = at = digits[:, 2 * P :]  # as places in the sample
        for _ in range(self.hops - 1):
            at = np.take_along_axis(values, at, axis=1)
        said = np.take_along_axis(keys, values, axis=1) if self.hops else self.keys + values
        prompt = np.stack([keys, said], axis=2).reshape(N, 2 * P)
        asked = np.take_along_axis(keys, queries, axis=1)
        return np.concatenate([prompt, asked], axis=1), np.take_along_axis(said, at, axis=1)

    def token_name(self, token: int) -> str:
        """Keys are letters, or k0, k1, … where these do not suffice; values are numbers."""
        if token >= self.keys:
            return str(token - self.keys)
        return chr(ord("a") + token) if self.keys <= 26 else f"k{token}"
