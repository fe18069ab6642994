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

    low = None: no N is known to fail. high = None: unbounded. `censored` is `right` where the
    largest size fails (high is then the universe, if it is the universe that ran out), `left`
    where the smallest one passes, None for a bracket between two sizes tried.
    """

    low: int | None
    high: int | None
    censored: str | None = None

    @property
    def floor(self) -> int:
        """The smallest value that N* may have."""
        return (self.low or 0) + 1

    @property
    def middle(self) -> float | None:
        """Geometric middle of the values that N* may have; None where unbounded."""
        return None if self.high is None else math.sqrt(self.floor * self.high)


def blur(bracket: Bracket) -> float:
    """Standard deviation of log N*, uniform over its bracket."""
    assert bracket.high is not None
    return math.log(bracket.high / bracket.floor) / math.sqrt(12)


def best_of_grid(per_seed: Sequence[Bracket]) -> Bracket:
    """N* of the whole grid, the smallest N at which any run passes, from every seed's bracket.

    No seed passes at or below the smallest `low`; the smallest `high` passes for its seed.
    """
    highs = [b.high for b in per_seed if b.high is not None]
    states = [b.censored for b in per_seed]
    censored = "left" if "left" in states else None if None in states else "right"
    return Bracket(
        low=None if any(b.low is None for b in per_seed) else min(b.floor for b in per_seed) - 1,
        high=min(highs, default=None),
        censored=censored,
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


def bracket_path(
    grid: Sequence[int], guess: float | None = None, broken: Collection[int] = ()
) -> Path:
    """Two neighbours on the grid, the smaller failing, the larger passing, looked for from a guess.

    It starts at the smallest size above the guess (without one, at the largest size of all),
    moves away in doubling strides until the verdict changes, and closes in from the passing side,
    since a pass costs a few hundred steps and a failure the whole budget. A bracket found from
    below is audited by one size two further up; a failure there is a monotonicity violation and
    does not move the bracket.
    """
    sizes = [size for size in grid if size not in broken]
    low, high = -1, len(sizes)
    tried = set()
    probe = len(sizes) - 1
    if guess is not None:
        probe = next((i for i, size in enumerate(sizes) if size > guess), probe)
    stride = 1
    while high - low > 1:
        tried.add(probe)
        if (yield sizes[probe]):
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
    audit = min(high + 2, len(sizes) - 1)
    if high < audit and not tried & set(range(high + 1, len(sizes))):
        yield sizes[audit]
    return _bracket(sizes[low] if low >= 0 else None, sizes[high] if high < len(sizes) else None)


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
    return partial(bracket_path, size_grid(rule.resolution, largest), guess)


def _bracket(low: int | None, high: int | None) -> Bracket:
    censored = "right" if high is None else "left" if low is None else None
    return Bracket(low=low, high=high, censored=censored)
