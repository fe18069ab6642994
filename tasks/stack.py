"""Stack manipulation: push and pop, then read out what is left."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import NONE, Steps, Task


@tasks.register(
    "stack",
    version=1,
    presets={
        "quick": {"lengths": (2, 6), "symbols": 2},
        "cpu": {"lengths": (2, 8), "symbols": 2},
        "paper": {"lengths": (2, 20), "symbols": 4},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class StackManipulation(Task):
    """x_k pushes a symbol or pops one; the answer is the stack (arXiv 2207.02098).

    s_k is the symbol on top, or `end` where the stack is empty; popped, an empty one stays so.
    The answer comes after the last state: all symbols from the top down, then `end`. The inputs
    push a, push b, push a, pop have the states a b a b and the answer b a end.
    """

    symbols: int

    def __post_init__(self) -> None:
        if type(self.symbols) is not int or self.symbols < 1:
            raise KbenchError(
                f"stack: symbols must be an integer of at least 1, got {self.symbols!r}"
            )

    @property
    def vocab_size(self) -> int:
        """The symbols, end, the pushes, pop."""
        return 2 * self.symbols + 2

    def radices(self, n: int) -> tuple[int, ...]:
        """n free updates."""
        return (self.symbols + 1,) * n

    def simulate(self, digits: np.ndarray, n: int) -> Steps:
        """A digit is the symbol pushed, the last one is pop."""
        N, end, rows = len(digits), self.symbols, np.arange(len(digits))
        stack = np.full((N, n + 1), end)  # from the bottom, which stays `end`
        height = np.zeros(N, dtype=np.int64)
        states = np.empty((N, n), dtype=np.int64)
        for k in range(n):
            is_push = digits[:, k] < end
            height = np.maximum(height + np.where(is_push, 1, -1), 0)
            stack[rows[is_push], height[is_push]] = digits[is_push, k]
            states[:, k] = stack[rows, height]
        depths = height[:, None] - np.arange(n + 1)
        answer = np.where(depths >= 0, stack[rows[:, None], depths], NONE)
        return Steps(
            prompt=digits[:, :0],
            updates=digits[:, :, None] + self.symbols + 1,
            states=states[:, :, None],
            answer=answer,
        )

    def token_name(self, token: int) -> str:
        """Symbols are letters, or c0, c1, … where these do not suffice; pushes have a + before."""
        if token in (self.symbols, self.vocab_size - 1):
            return "end" if token == self.symbols else "pop"
        symbol = token % (self.symbols + 1)
        name = chr(ord("a") + symbol) if self.symbols <= 26 else f"c{symbol}"
        return name if token < self.symbols else f"+{name}"
