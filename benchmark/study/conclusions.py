"""What a cell's brackets come to: N*, κ up to each length, reach, and the verdict."""

from abc import ABC, abstractmethod

from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.statistics.sharing import (
    Verdict,
    n_star_over_seeds,
    over_seeds,
    sharing_by_seed,
    verdict,
)
from kbench.study.cell import Cell, Lengths


class Conclusions(ABC):
    """Of a cell under way or done. Nothing is concluded before all searches have ended."""

    cell: Cell
    seeds: tuple[int, ...]
    """Those in use so far."""

    @abstractmethod
    def brackets(self, lengths: Lengths) -> list[Bracket]:
        """N* at one set of lengths, of each seed."""

    @property
    @abstractmethod
    def searched(self) -> bool:
        """Is everything known that N* and κ need?"""

    def n_star(self, lengths: Lengths) -> Interval:
        """The median of N* over seeds, at one set of lengths."""
        return n_star_over_seeds(self.brackets(lengths), self.cell.protocol.confidence)

    def alone_up_to(self, together: Lengths) -> list[list[Bracket]]:
        """N* of each of these lengths by itself, of each seed."""
        return [self.brackets(n) for n in self.cell.alone if n[0] in together]

    def kappa_by_seed(self, together: Lengths | None = None) -> list[Interval]:
        """Bounds on κ of each seed by itself, up to the last of these lengths."""
        together = self.up_to if together is None else together
        return sharing_by_seed(self.alone_up_to(together), self.brackets(together))

    def kappa_of(self, together: Lengths) -> Interval:
        """κ up to a length: the median over seeds, by the protocol's confidence."""
        if not self.searched:
            return Interval(low=None, high=None)
        return over_seeds(self.kappa_by_seed(together), self.cell.protocol.confidence)

    def verdict_of(self, together: Lengths) -> Verdict:
        """Of κ up to a length, by its interval over seeds alone."""
        if not self.searched:
            return "not-identified"
        return verdict(self.kappa_of(together), self.brackets(together))

    @property
    def up_to(self) -> Lengths:
        """The lengths that κ is stated for: the most, from the first on, for which it is known.

        That is, which some seed learned together, and whose interval has an end. All lengths where
        that holds of none, or where the protocol searches no fewer together. Whether the interval
        decides anything plays no part, or it would be chosen for that.
        """
        for together in reversed(self.cell.together) if self.cell.alone else ():
            known = not self.kappa_of(together).is_open
            if known and self.verdict_of(together) != "not-learned":
                return together
        return self.cell.joint

    @property
    def kappa(self) -> Interval:
        """The median over seeds, of the lengths that it is stated for (`up_to`)."""
        return self.kappa_of(self.up_to)

    @property
    def verdict(self) -> Verdict:
        """By that κ alone; nothing is identified until all searches have ended."""
        return self.verdict_of(self.up_to)

    @property
    def reach_by_seed(self) -> list[int | None]:
        """The largest L for which the first length to L are learned together; None for no L.

        From as many samples as there are, or as the protocol has. Empty where it only searches
        all lengths together.
        """
        if not self.cell.protocol.by_length:
            return []
        found: list[int | None] = [None] * len(self.seeds)
        for together in [*self.cell.alone[:1], *self.cell.together]:
            for s, bracket in enumerate(self.brackets(together)):
                if bracket.most is not None:
                    found[s] = together[-1]
        return found

    @property
    def reach(self) -> int | None:
        """The median over seeds, the lower one of two; None where that is no length."""
        found = sorted(self.reach_by_seed, key=lambda length: length or 0)
        return found[(len(found) - 1) // 2] if found else None

    @property
    def is_open(self) -> bool:
        """Could more seeds decide? Not where none of these learns, and none rules κ = 1 out."""
        found = self.verdict
        beyond = [
            (i.low is not None and i.low > 1) or (i.high is not None and i.high < 1)
            for i in self.kappa_by_seed()
        ]
        return found == "not-identified" or (found == "not-learned" and any(beyond))
