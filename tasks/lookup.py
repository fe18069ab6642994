"""Multi-hop lookup: follow a table in the prompt, hop by hop."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError, unknown
from kbench.registry import tasks
from kbench.tasks import Task

MAPPINGS = ("permutation", "function")


def _arrangements(digits: np.ndarray) -> np.ndarray:
    """Lehmer codes [N, K − 1], digit i below K − i, to permutations of 0 … K − 1 [N, K]."""
    K = digits.shape[1] + 1
    left = np.tile(np.arange(K), (len(digits), 1))
    order = np.empty((len(digits), K), dtype=np.int64)
    rows = np.arange(len(digits))
    for i in range(K):
        chosen = digits[:, i] if i < K - 1 else 0
        order[:, i] = left[rows, chosen]
        # The one taken makes room: those behind it move up.
        behind = np.arange(K - i - 1)
        left = left[rows[:, None], behind + (behind >= np.reshape(chosen, (-1, 1)))]
    return order


@tasks.register(
    "lookup",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "keys": 4},
        "cpu": {"lengths": (2, 8), "keys": 4},
        "paper": {"lengths": (2, 10), "keys": 16},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class MultiHopLookup(Task):
    """A table, a start key s_0, n hops;  s_k = table[s_{k-1}]  (arXiv 2512.17351, "Depo").

    The prompt is the key and value of each entry, entries in any order, then s_0, then n hop
    tokens. The table is drawn anew for each sample: a permutation of the keys, or any function.
    Prompts that differ only in the order of their entries are different samples, and may lie on
    both sides of a split. With keys=3, the inputs 2 0 0 1 1 2, 1, hop hop have the states 2 0.
    """

    keys: int
    mapping: str = "permutation"

    def __post_init__(self) -> None:
        if not isinstance(self.keys, int) or self.keys < 2:
            raise KbenchError(f"lookup: keys must be an integer of at least 2, got {self.keys!r}")
        if self.mapping not in MAPPINGS:
            raise unknown("lookup: mapping", str(self.mapping), MAPPINGS)

    @property
    def vocab_size(self) -> int:
        """The keys, which are also the values and the states, and the hop token."""
        return self.keys + 1

    def radices(self, n: int) -> tuple[int, ...]:
        """The order of the entries, the values, the start; the same for every n."""
        arrangement = tuple(range(self.keys, 1, -1))
        values = arrangement if self.mapping == "permutation" else (self.keys,) * self.keys
        return (*arrangement, *values, self.keys)

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values side by side, the start, the hops."""
        N, K = len(digits), self.keys
        order, values = _arrangements(digits[:, : K - 1]), digits[:, K - 1 : -1]
        table = _arrangements(values) if self.mapping == "permutation" else values
        rows = np.arange(N)
        entries = np.stack([order, table[rows[:, None], order]], axis=2).reshape(N, 2 * K)
        hops = np.full((N, n), K)
        states = np.empty((N, n), dtype=np.int64)
        state = start = digits[:, -1]
        for k in range(n):
            states[:, k] = state = table[rows, state]
        return np.concatenate([entries, start[:, None], hops], axis=1), states

    def token_name(self, token: int) -> str:
        """Keys are letters, or k0, k1, … where these do not suffice."""
        if token == self.keys:
            return "hop"
        return chr(ord("a") + token) if self.keys <= 26 else f"k{token}"
