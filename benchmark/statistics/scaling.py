"""How N* grows with the size of a task: log-log slopes, pure, no torch and no files.

N* ∝ size^slope. A least-squares slope is linear in log N*, so that what brackets leave open of
each N* is carried over exactly.
"""

import math
from collections.abc import Sequence

from kbench.statistics.brackets import Bracket, blur
from kbench.statistics.sharing import Interval, PerSeed, mean_interval


def _weights(sizes: Sequence[int]) -> list[float]:
    """Of each log N* in the least-squares slope against log size."""
    logs = [math.log(size) for size in sizes]
    mean = math.fsum(logs) / len(logs)
    square = math.fsum((x - mean) ** 2 for x in logs)
    return [(x - mean) / square for x in logs]


def slope_bounds(sizes: Sequence[int], brackets: Sequence[Bracket]) -> Interval:
    """The slopes that the brackets of N*, one for each size, leave possible.

    An N* without an upper end leaves the slope without the bound that it would set.
    """
    low, high = 0.0, 0.0
    for weight, bracket in zip(_weights(sizes), brackets, strict=True):
        least = math.log(bracket.floor)
        most = math.inf if bracket.high is None else math.log(bracket.high)
        if abs(weight) > 1e-12:  # a middle size has none but for rounding
            low += weight * (least if weight > 0 else most)
            high += weight * (most if weight > 0 else least)
    return Interval(
        low=low if math.isfinite(low) else None, high=high if math.isfinite(high) else None
    )


def slope_per_seed(sizes: Sequence[int], brackets: Sequence[Sequence[Bracket]]) -> PerSeed:
    """Mean slope over seeds with its 95 % t-interval: brackets[size][seed].

    Taken at the geometric middles, and never narrower than the brackets leave it open for a
    single seed (see kbench.statistics.sharing). Without an estimate where any N* is unbounded.
    """
    weights, seeds = _weights(sizes), len(brackets[0])
    slopes, blurs = [], []
    for column in zip(*brackets, strict=True):
        middles = [b.middle for b in column if b.middle is not None]
        if len(middles) < len(column):
            return PerSeed(estimate=None, low=None, high=None, seeds=seeds)
        slopes.append(math.fsum(w * math.log(m) for w, m in zip(weights, middles, strict=True)))
        blurs.append(math.hypot(*(w * blur(b) for w, b in zip(weights, column, strict=True))))
    mean, reach = mean_interval(slopes, blurs)
    if reach is None:
        return PerSeed(estimate=mean, low=None, high=None, seeds=seeds)
    return PerSeed(estimate=mean, low=mean - reach, high=mean + reach, seeds=seeds)
