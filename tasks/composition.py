"""Two state machines read in turns: keep the state of one while the other moves."""

from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Task
from kbench.tasks.permutation import group


@tasks.register(
    "composition",
    version=1,
    presets={
        "quick": {"lengths": (2, 6), "first": "Z3", "second": "Z3"},
        "cpu": {"lengths": (2, 8), "first": "Z3", "second": "Z3"},
        "paper": {"lengths": (2, 10), "first": "Z5", "second": "S3"},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class Composition(Task):
    """Updates 1, 3, 5, … compose elements of one group, updates 2, 4, 6, … those of another.

    The groups are those of `permutation`: Zm is a counter modulo m, S3 the permutations of three
    things. With first=Z3, second=S3, the inputs 2, (12), 2, (123) have the states 2, (12), 1, (13).

    s_k is the state of the machine just updated, x_k ∘ s_{k-2}, and not the pair: pairs would make
    one machine of the two, whose next state follows from the last one. Here both have to be kept.
    The machines share no token, so that whose turn it is can be read and need not be counted.
    """

    first: str
    second: str

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            if not isinstance(value := getattr(self, name), str):
                raise KbenchError(f"composition: {name} must be the name of a group, got {value!r}")
            group(value)

    @property
    def vocab_size(self) -> int:
        """The elements of the first group, then those of the second."""
        return sum(self._sizes())

    def _sizes(self) -> tuple[int, int]:
        return len(group(self.first).elements), len(group(self.second).elements)

    def radices(self, n: int) -> tuple[int, ...]:
        """n free elements, of one group and the other in turns."""
        return tuple(self._sizes()[k % 2] for k in range(n))

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Each digit is an element."""
        offsets = np.arange(n) % 2 * self._sizes()[0]
        states = np.empty((len(digits), n), dtype=np.int64)
        for turn, name in enumerate((self.first, self.second)):
            state = np.zeros(len(digits), dtype=np.int64)
            for k in range(turn, n, 2):
                states[:, k] = state = group(name).table[digits[:, k], state]
        return digits + offsets, states + offsets

    def token_name(self, token: int) -> str:
        """The machine and the number of the element, as in a2 or b0."""
        size = self._sizes()[0]
        return f"a{token}" if token < size else f"b{token - size}"
