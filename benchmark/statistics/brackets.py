"""Brackets of N*, and the paths over sizes that end in one: pure, no torch and no files.

A *path* is a generator that yields a size, is sent that size's verdict and returns a bracket.
"""

import math
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from kbench.protocol import BracketRule, PaperRule

Path = Generator[int, bool, "Bracket"]


class PathOver(Protocol):
    """Makes the path that avoids `broken`, the sizes whose runs broke down."""

    def __call__(self, *, broken: Collection[int]) -> Path:
        """A path not begun yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bracket:
    """N* lies in (low, high]: `low` is the largest N known to fail, `high` the smallest to pass.

    low = None: no N is known to fail. high = None: unbounded. `censored` is None for a bracket
    between two sizes tried; otherwise

    - `right`: the largest size fails, by runs that knew their training set by heart. `high` is
      then the universe, if it is the universe that ran out.
    - `left`: the smallest size passes, or none below it is known to be too small.
    - `unfit`: the largest size fails, by runs that did not even fit their training set, which
      says nothing of how many samples it takes.
    """

    low: int | None
    high: int | None
    censored: str | None = None

    @property
    def floor(self) -> int:
        """The smallest value that N* may have."""
        return (self.low or 0) + 1

    @property
    def least(self) -> int | None:
        """The same, where it is a finding: N* is at least 1 whatever the runs say."""
        return None if self.low is None and self.high != 1 else self.floor

    @property
    def middle(self) -> float | None:
        """Geometric middle of the values that N* may have; None where unbounded."""
        return None if self.high is None else math.sqrt(self.floor * self.high)

    @property
    def most(self) -> int | None:
        """`high`, where it is a finding: not where the universe ran out."""
        return None if self.ran_out else self.high

    @property
    def ran_out(self) -> bool:
        """Is `high` no size that passed, but all samples there are?"""
        return self.censored == "right" and self.high is not None


def best_of_grid(per_seed: Sequence[Bracket]) -> Bracket:
    """N* of the whole grid, the smallest N at which any run passes, from every seed's bracket.

    No seed passes at or below the smallest `low`; the smallest `high` passes for its seed. As the
    paper has it; it is there for comparison, and no verdict goes by it.
    """
    highs = [b.high for b in per_seed if b.high is not None]
    states = [b.censored for b in per_seed]
    order = ("left", None, "unfit", "right")
    return Bracket(
        low=None if any(b.low is None for b in per_seed) else min(b.floor for b in per_seed) - 1,
        high=min(highs, default=None),
        censored=min(states, key=order.index, default=None),
    )


def size_grid(resolution: float, largest: int) -> tuple[int, ...]:
    """1, …, largest in steps of about `resolution`, the same for every seed; () for largest = 0.

    A size too near to the largest to be told from it (within √resolution) is left out.
    """
    sizes = set()
    step = 0
    while (size := round(resolution**step)) * math.sqrt(resolution) < largest:
        sizes.add(size)
        step += 1
    return (*sorted(sizes), largest) if largest > 0 else ()


FAR = 3
"""A search that has tried so many sizes, or ends so many steps below its start, is audited."""


def bracket_path(
    grid: Sequence[int],
    guess: float | None = None,
    broken: Collection[int] = (),
    audit: bool = True,
) -> Path:
    """Two neighbours on the grid, the smaller failing, the larger passing, looked for from a guess.

    It starts at the smallest size above the guess (without one, at the largest size of all),
    moves away in doubling strides until the verdict changes, and closes in from the passing side,
    since a pass costs a few hundred steps and a failure the whole budget. A bracket found from
    below is audited by one size two further up; a failure there is a monotonicity violation and
    does not move the bracket.

    With `audit`, which the protocol decides, it does not take it for granted that success is
    monotone (docs/protocols.md). A failure at the largest size of all, tried first, is believed
    when the next smaller one fails too. A bracket that was not next to the start is checked: one
    size two further down is tried, and if that passes the search continues below it; then one in
    the middle between the bracket and a start far above it, whose failure is counted.
    """
    sizes = [size for size in grid if size not in broken]
    top = len(sizes) - 1
    start = top if guess is None else next((i for i, x in enumerate(sizes) if x > guess), top)
    tried: dict[int, bool] = {}
    low, high = yield from _narrowed(sizes, tried, start, high=len(sizes))
    if audit and len(tried) == 1 and high > top > 0:
        tried[top - 1] = yield sizes[top - 1]
        if tried[top - 1]:
            low, high = yield from _narrowed(sizes, tried, max(top - 2, 0), high=top - 1)
    while audit and low >= 2 and low - 2 not in tried and len(tried) >= FAR:
        doubted = low - 2
        tried[doubted] = yield sizes[doubted]
        if not tried[doubted]:
            break
        low, high = yield from _narrowed(sizes, tried, max(doubted - 1, 0), high=doubted)
    above = min(high + 2, top)
    if high < above and not any(i > high for i in tried):
        yield sizes[above]
    elif audit and start - high >= FAR and (high + start) // 2 not in tried:
        yield sizes[(high + start) // 2]
    return _bracket(sizes[low] if low >= 0 else None, sizes[high] if high < len(sizes) else None)


def _narrowed(
    sizes: Sequence[int], tried: dict[int, bool], probe: int, high: int
) -> Generator[int, bool, tuple[int, int]]:
    """Neighbours on the grid, one failing and one passing, below `high`, which passes or is none.

    -1 stands for nothing that fails. What is tried is added to `tried`.
    """
    low, stride = -1, 1
    while high - low > 1:
        if probe not in tried:
            tried[probe] = yield sizes[probe]
        if tried[probe]:
            high = probe
        else:
            low = probe
        if low == -1:
            probe = max(high - stride, 0)
            stride *= 2
        elif high == len(sizes):
            probe = min(low + stride, len(sizes) - 1)
            stride *= 2
        else:
            probe = low + math.ceil((high - low) * 2 / 3) if high - low > 2 else low + 1
    return low, high


def paper_path(n_max: int, multiplier: int, max_sizes: int, broken: Collection[int] = ()) -> Path:
    """The paper's search: n_max, n_max / multiplier, … to the first failure, then bisection."""
    low, high = 0, n_max + 1
    size = n_max
    for _ in range(max_sizes):
        while size in broken and size < high:
            size += 1
        if size >= high:
            break
        if (yield size):
            high = size
        else:
            low = size
        size = max(1, high // multiplier) if low == 0 else (low + high) // 2
        if high - low == 1:
            break
    return _bracket(low or None, high if high <= n_max else None)


def path_for(rule: BracketRule | PaperRule, largest: int, guess: float | None) -> PathOver:
    """The path that a protocol's rule asks for, over sizes up to `largest` (0: none at all)."""
    if isinstance(rule, PaperRule):
        return partial(paper_path, largest, rule.multiplier, rule.max_sizes)
    return partial(bracket_path, size_grid(rule.resolution, largest), guess, audit=rule.audit)


def _bracket(low: int | None, high: int | None) -> Bracket:
    censored = "right" if high is None else "left" if low is None else None
    return Bracket(low=low, high=high, censored=censored)
