"""How N* grows with the size of a task: log-log slopes, pure, no torch and no files.

N* ∝ size^slope. A least-squares slope is linear in log N*, so that what brackets leave open of
each N* is carried over exactly; the slope over seeds is the median of these bounds.
"""

import math
from collections.abc import Sequence

from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval, real_interval


def _weights(sizes: Sequence[int]) -> list[float]:
    """Of each log N* in the least-squares slope against log size."""
    logs = [math.log(size) for size in sizes]
    mean = math.fsum(logs) / len(logs)
    square = math.fsum((x - mean) ** 2 for x in logs)
    return [(x - mean) / square for x in logs]


def slope_bounds(sizes: Sequence[int], brackets: Sequence[Bracket]) -> Interval:
    """The slopes that the brackets of N*, one for each size, leave possible.

    An N* without an end leaves the slope without the bound that it would set.
    """
    low, high = 0.0, 0.0
    for weight, bracket in zip(_weights(sizes), brackets, strict=True):
        least = -math.inf if bracket.least is None else math.log(bracket.least)
        most = math.inf if bracket.most is None else math.log(bracket.most)
        if abs(weight) > 1e-12:  # a middle size has none but for rounding
            low += weight * (least if weight > 0 else most)
            high += weight * (most if weight > 0 else least)
    return Interval(
        low=low if math.isfinite(low) else None, high=high if math.isfinite(high) else None
    )


def slope_over_seeds(
    sizes: Sequence[int], brackets: Sequence[Sequence[Bracket]], confidence: float
) -> Interval:
    """The median slope over seeds: brackets[size][seed]."""
    each = [slope_bounds(sizes, of) for of in zip(*brackets, strict=True)]
    return real_interval([i.low for i in each], [i.high for i in each], confidence)
