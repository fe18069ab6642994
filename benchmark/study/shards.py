"""Shares of a study: machines that know nothing of each other divide its cells among themselves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kbench.errors import KbenchError
from kbench.study.cell import Cell
from kbench.trial import digest


@dataclass(frozen=True, slots=True)
class Shard:
    """The k-th of n shares, counted from 1."""

    k: int
    n: int

    @staticmethod
    def of(text: str) -> "Shard":
        """From `3/10`; raises KbenchError for what is no share."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise KbenchError(
                f"--shard wants one share out of several, from 1/10 to 10/10 for ten, got {text!r}"
            )
        return Shard(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"

    def share(self, cells: Sequence[Cell]) -> list[Cell]:
        """This share's cells, in the order given.

        The cells are dealt out in the order of their keys, so shares differ by at most one cell,
        and which cells are in a share depends on which cells there are, not on their order.
        """
        # A cell stays whole: each of its trials is chosen by what came of the ones before.
        keys = [digest(cell.spec()) for cell in cells]
        own = set(sorted(keys)[self.k - 1 :: self.n])
        return [cell for cell, key in zip(cells, keys, strict=True) if key in own]


def shares(cells: Sequence[Cell], n: int) -> list[list[Cell]]:
    """All n shares that have any cells: the first ones, where there are fewer cells than shares."""
    return [Shard(k, n).share(cells) for k in range(1, min(n, len(cells)) + 1)]
