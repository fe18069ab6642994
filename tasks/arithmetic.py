"""Modular arithmetic: the value of an expression without brackets, modulo m."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Steps, Task

OPERATORS = "+-*"


@tasks.register(
    "arithmetic",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "m": 3},
        "cpu": {"lengths": (2, 6), "m": 3},
        "paper": {"lengths": (2, 19), "m": 5},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class ModularArithmetic(Task):
    """x_k is an operator, + - or *, and a number; s_k is the value of all read so far, mod m.

    Products bind first (arXiv 2207.02098, "modular arithmetic (simple)"). A number stands before
    the first update, so that n updates are 2 n + 1 tokens. With m = 5, the inputs 2 -3 -3 *2 have
    the states 4 1 3.
    """

    m: int

    def __post_init__(self) -> None:
        if type(self.m) is not int or self.m < 2:
            raise KbenchError(f"arithmetic: m must be an integer of at least 2, got {self.m!r}")

    @property
    def vocab_size(self) -> int:
        """The numbers 0 … m − 1, as inputs and as states, and the operators."""
        return self.m + len(OPERATORS)

    def radices(self, n: int) -> tuple[int, ...]:
        """A free number, and n free pairs of an operator and a number."""
        return (self.m, *(len(OPERATORS) * self.m,) * n)

    def simulate(self, digits: np.ndarray, n: int) -> Steps:
        """The value is what is complete, plus the present term, which may still be multiplied."""
        operators, numbers = np.divmod(digits[:, 1:], self.m)
        complete, term = np.zeros(len(digits), dtype=np.int64), digits[:, 0].astype(np.int64)
        states = np.empty((len(digits), n), dtype=np.int64)
        for k in range(n):
            is_product = operators[:, k] == OPERATORS.index("*")
            sign = np.where(operators[:, k] == OPERATORS.index("-"), -1, 1)
            complete = np.where(is_product, complete, complete + term) % self.m
            term = np.where(is_product, term * numbers[:, k], sign * numbers[:, k]) % self.m
            states[:, k] = (complete + term) % self.m
        return Steps(
            prompt=digits[:, :1],
            updates=np.stack([operators + self.m, numbers], axis=2),
            states=states[:, :, None],
        )

    def token_name(self, token: int) -> str:
        """A number as it is, an operator as its sign."""
        return str(token) if token < self.m else OPERATORS[token - self.m]
