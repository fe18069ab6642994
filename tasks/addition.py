"""Addition of numbers written in figures: keep a running sum of several figures."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Steps, Task


@tasks.register(
    "addition",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "base": 2, "figures": 2},
        "cpu": {"lengths": (2, 6), "base": 2, "figures": 3},
        "paper": {"lengths": (2, 10), "base": 10, "figures": 3},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class Addition(Task):
    """x_k is a number of so many figures;  s_k = (s_{k-1} + x_k) mod base^figures,  s_0 = 0.

    Numbers are written with the lowest figure first, as carries go (arXiv 2307.03381): every figure
    of a sum is known once those before it are. An update is `figures` tokens, and so is a state.
    With base=10, figures=2, the inputs 71 52 (17 and 25) have the states 71 24 (17 and 42).
    """

    base: int
    figures: int

    def __post_init__(self) -> None:
        for name, least in (("base", 2), ("figures", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise KbenchError(
                    f"addition: {name} must be an integer of at least {least}, got {value!r}"
                )

    @property
    def vocab_size(self) -> int:
        """The figures."""
        return self.base

    def radices(self, n: int) -> tuple[int, ...]:
        """The free figures of n numbers."""
        return (self.base,) * (n * self.figures)

    def simulate(self, digits: np.ndarray, n: int) -> Steps:
        """The digits are the figures; sums are made figure by figure, so that none is too large."""
        updates = digits.reshape(len(digits), n, self.figures)
        states = np.empty_like(updates)
        carry = np.zeros_like(updates[:, :, 0])
        for i in range(self.figures):
            # What all numbers so far have at this place, and what came up from the places below.
            column = np.cumsum(updates[:, :, i], axis=1) + carry
            carry, states[:, :, i] = np.divmod(column, self.base)
        return Steps(prompt=digits[:, :0], updates=updates, states=states)
