"""Any finite automaton: which state is it in after each symbol?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError, unknown
from kbench.registry import tasks
from kbench.tasks import Task
from kbench.tasks._regex import LARGEST, Table, minimal
from kbench.tasks.permutation import group


def _words_in(name: str) -> Table:
    """The word problem of a group: the symbols are its generators, the states its elements."""
    whole = group(name)
    return tuple(map(tuple, whole.table[list(whole.generators)].T.tolist()))


LANGUAGES: dict[str, tuple[str, str | Table]] = {
    "even-pairs": ("star-free", "(0(0|1)*0|1(0|1)*1|0|1)?"),
    "01-star": ("star-free", "(01)*"),
    "dyck-2": ("star-free", "(0(01)*1)*"),
    "tomita-1": ("star-free", "1*"),
    "tomita-2": ("star-free", "(10)*"),
    "tomita-3": ("solvable", ((0, 1), (2, 0), (3, 4), (2, 1), (4, 4))),
    "tomita-4": ("star-free", "((0|00)?1)*(0|00)?"),
    "tomita-5": ("solvable", ((2, 1), (3, 0), (0, 3), (1, 2))),
    "tomita-6": ("solvable", ((1, 2), (2, 0), (0, 1))),
    "tomita-7": ("star-free", "0*1*0*1*"),
    "00-star": ("solvable", "(00)*"),
    "parity": ("solvable", "(0|10*1)*"),
    "cycle": ("solvable", tuple((s, (s + 1) % 5, (s - 1) % 5) for s in range(5))),
    "S3": ("solvable", _words_in("S3")),
    "A5": ("not solvable", _words_in("A5")),
}
"""Of each language what the theory says of it, and a regular expression or a table.

`star-free`: no group in its transition monoid (AC0, first-order logic). `solvable`: groups, but
only solvable ones (ACC0). `not solvable`: NC1-complete (Barrington 1989).
"""


@tasks.register(
    "automaton",
    version=1,
    presets={
        "quick": {"lengths": (3, 8)},
        "cpu": {"lengths": (3, 10)},
        "paper": {"lengths": (3, 40)},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class Automaton(Task):
    """x_k is a symbol, s_k the state it leads to: s_k = table[s_{k-1}][x_k], s_0 = q0.

    The automaton is a regular language by `name` (arXiv 2207.02098 and 2210.10749), or the smallest
    one of a `regex`, as in (01)*, or a `table` with a row for each state, as in [[0,1],[1,0]]; with
    one of the last two, no name counts. In even-pairs (as many 01 as 10, that is, the first symbol
    is the last one), the inputs 0 1 1 0 have the states q1 q3 q3 q1.

    The answer is the state and not whether it accepts: then all s_k are of one kind, and where most
    words are rejected, a constant answer would be nearly always right. Where a word can be lost for
    good, as in (01)*, most long ones are; `kbench sample` says how much a constant answer gets.
    """

    name: str = "even-pairs"
    regex: str = ""
    table: Sequence[Sequence[int]] = ()

    def __post_init__(self) -> None:
        if self.name not in LANGUAGES:
            raise unknown("automaton: name", str(self.name), LANGUAGES)
        if not isinstance(self.regex, str):
            raise KbenchError(f"automaton: regex must be a text, got {self.regex!r}")
        if self.regex and self.table:
            raise KbenchError("automaton: give a regex or a table, not both")
        if self.table:
            _look_over(self.table)
        if len(self._table()) < 2:
            raise KbenchError(f"automaton: regex {self.regex!r} has one state: nothing to track")

    def _table(self) -> Table:
        if self.table:
            return tuple(map(tuple, self.table))
        definition = self.regex or LANGUAGES[self.name][1]
        return minimal(definition) if isinstance(definition, str) else definition

    @property
    def vocab_size(self) -> int:
        """The states, then the symbols."""
        table = self._table()
        return len(table) + len(table[0])

    def radices(self, n: int) -> tuple[int, ...]:
        """n free symbols."""
        return (len(self._table()[0]),) * n

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Each digit is a symbol."""
        table = np.array(self._table())
        states = np.empty((len(digits), n), dtype=np.int64)
        state = np.zeros(len(digits), dtype=np.int64)
        for k in range(n):
            states[:, k] = state = table[state, digits[:, k]]
        return digits + len(table), states

    def token_name(self, token: int) -> str:
        """A state as in q0, a symbol as its figure."""
        n_states = len(self._table())
        return f"q{token}" if token < n_states else str(token - n_states)


def _look_over(table: Sequence[Sequence[int]]) -> None:
    """Raise KbenchError unless each row names a state for each symbol."""
    if not isinstance(table, list | tuple) or not 2 <= len(table) <= LARGEST:
        raise KbenchError(f"automaton: table must have 2 to {LARGEST:,} rows, one for each state")
    for s, row in enumerate(table):
        if not isinstance(row, list | tuple) or not 2 <= len(row) == len(table[0]):
            raise KbenchError(
                f"automaton: every row of table must have as many symbols, at least 2; "
                f"row {s} is {row!r}"
            )
        for to in row:
            if type(to) is not int or not 0 <= to < len(table):
                raise KbenchError(
                    f"automaton: row {s} of table leads to {to!r}; states are 0 … {len(table) - 1}"
                )
