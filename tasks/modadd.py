"""Modular addition: keep the running sum of the tokens, modulo m."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Task


@tasks.register(
    "modadd",
    version=1,
    presets={
        "quick": {"lengths": (2, 6), "m": 3},
        "cpu": {"lengths": (2, 8), "m": 3},
        "paper": {"lengths": (2, 10), "m": 5},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class ModularAddition(Task):
    """x_k in Z_m;  s_k = (s_{k-1} + x_k) mod m,  s_0 = 0  (arXiv 2602.18333, section 3).

    With m = 5, the inputs 3 4 1 have the states 3 2 3.
    """

    m: int

    def __post_init__(self) -> None:
        if not isinstance(self.m, int) or self.m < 2:
            raise KbenchError(f"modadd: m must be an integer of at least 2, got {self.m!r}")

    @property
    def vocab_size(self) -> int:
        """The residues 0 … m − 1, as inputs and as states."""
        return self.m

    def radices(self, n: int) -> tuple[int, ...]:
        """n free residues."""
        return (self.m,) * n

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The digits are the inputs; the states are their cumulative sums."""
        return digits, np.cumsum(digits, axis=1) % self.m
