"""Flip-flop: remember what was written last, whatever else is said in between."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import NONE, Steps, Task


@tasks.register(
    "flipflop",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "values": 2},
        "cpu": {"lengths": (2, 7), "values": 2},
        "paper": {"lengths": (2, 40), "values": 2},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class FlipFlop(Task):
    """x_k writes a value, says one that is to be ignored, or reads (arXiv 2306.00946).

    A first write is the prompt, the last update is a read. Writing (w 1) and ignoring (i 0) take
    two tokens, reading (r) takes one. Only after a read is there something to say, the value
    written last. The inputs w 1, i 0, r, w 0, i 1, r have the states – 1 – – 0 from the second on.
    """

    values: int

    def __post_init__(self) -> None:
        if type(self.values) is not int or self.values < 2:
            raise KbenchError(
                f"flipflop: values must be an integer of at least 2, got {self.values!r}"
            )

    @property
    def vocab_size(self) -> int:
        """The values, then write, ignore, read."""
        return self.values + 3

    def radices(self, n: int) -> tuple[int, ...]:
        """The value of the first write, then n − 1 free updates: writes, ignores, the read."""
        return (self.values,) + (2 * self.values + 1,) * (n - 1)

    def simulate(self, digits: np.ndarray, n: int) -> Steps:
        """A digit is an instruction and its value, those of write first."""
        read = np.full((len(digits), 1), 2 * self.values)
        kind, value = np.divmod(np.concatenate([digits[:, 1:], read], axis=1), self.values)
        written = digits[:, 0]
        states = np.empty((len(digits), n), dtype=np.int64)
        for k in range(n):
            written = np.where(kind[:, k] == 0, value[:, k], written)
            states[:, k] = written
        is_read = kind == 2
        return Steps(
            prompt=np.stack([np.full_like(digits[:, 0], self.values), digits[:, 0]], axis=1),
            updates=np.stack([self.values + kind, np.where(is_read, NONE, value)], axis=2),
            states=np.where(is_read, states, NONE)[:, :, None],
        )

    def token_name(self, token: int) -> str:
        """A value as its number, an instruction as its letter."""
        return str(token) if token < self.values else "wir"[token - self.values]
