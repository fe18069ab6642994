"""Program execution: run a straight-line program over a few registers."""

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Task

LARGEST = 4096
"""States of the largest register file: every one is a token."""


def _instructions(r: int) -> list[tuple[str, int, int]]:
    """The kinds of instructions on registers i and j, in the order of their tokens."""
    pairs = list(itertools.permutations(range(r), 2))
    add = [("add", i, j) for i, j in pairs]
    copy = [("copy", i, j) for i, j in pairs]
    return [*add, *copy, *(("increment", i, i) for i in range(r))]


@functools.cache
def _effects(r: int, m: int) -> np.ndarray:
    """What each instruction makes of each register file [instructions, m^r]."""
    files = list(itertools.product(range(m), repeat=r))
    index = {file: i for i, file in enumerate(files)}
    effects = []
    for kind, i, j in _instructions(r):
        after = []
        for file in files:
            value = {"add": file[i] + file[j], "copy": file[j], "increment": file[i] + 1}[kind]
            after.append(index[(*file[:i], value % m, *file[i + 1 :])])
        effects.append(after)
    return np.array(effects)


@tasks.register(
    "registers",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "r": 2, "m": 3},
        "cpu": {"lengths": (2, 6), "r": 2, "m": 3},
        "paper": {"lengths": (2, 10), "r": 3, "m": 5},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterProgram(Task):
    """n − 1 instructions over r registers modulo m, then the query of one of them.

    Instructions: ri += rj and ri := rj with i ≠ j, ri += 1. Register ri starts at i mod m.
    s_1 … s_{n-1} are the whole register file; the query is the last update, and s_n, the answer,
    is the register's value. With r=2, m=3 the program r0 += r1, r1 := r0, r1 += 1, ?r1 has the
    files 11 11 12 and the answer 2.
    """

    r: int
    m: int

    def __post_init__(self) -> None:
        for name, value in (("r", self.r), ("m", self.m)):
            if not isinstance(value, int) or value < 2:
                raise KbenchError(
                    f"registers: {name} must be an integer of at least 2, got {value!r}"
                )
        if self.r > 12 or self.m**self.r > LARGEST:
            raise KbenchError(
                f"registers: m^r must be at most {LARGEST:,} states, got {self.m}^{self.r}"
            )

    @property
    def vocab_size(self) -> int:
        """Register files, then values, then instructions, then queries."""
        return self.m**self.r + self.m + len(_instructions(self.r)) + self.r

    def radices(self, n: int) -> tuple[int, ...]:
        """n − 1 free instructions and the register queried."""
        return (len(_instructions(self.r)),) * (n - 1) + (self.r,)

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The digits are the program."""
        n_files, effects = self.m**self.r, _effects(self.r, self.m)
        first = n_files + self.m
        inputs = digits + first
        inputs[:, -1] += len(effects)
        places = self.m ** np.arange(self.r)[::-1]  # register 0 is the leading figure
        states = np.empty((len(digits), n), dtype=np.int64)
        state = np.full(len(digits), int(np.arange(self.r) % self.m @ places))
        for k in range(n - 1):
            states[:, k] = state = effects[digits[:, k], state]
        states[:, -1] = n_files + state // places[digits[:, -1]] % self.m
        return inputs, states

    def token_name(self, token: int) -> str:
        """A register file as its figures, an instruction as in r0+=r1, a query as in ?r0."""
        if token < self.m**self.r:
            figures = np.unravel_index(token, (self.m,) * self.r)
            return ("" if self.m <= 10 else ".").join(str(figure) for figure in figures)
        token -= self.m**self.r
        if token < self.m:
            return f"={token}"
        token -= self.m
        if token >= len(_instructions(self.r)):
            return f"?r{token - len(_instructions(self.r))}"
        kind, i, j = _instructions(self.r)[token]
        return {"add": f"r{i}+=r{j}", "copy": f"r{i}:=r{j}", "increment": f"r{i}+=1"}[kind]
