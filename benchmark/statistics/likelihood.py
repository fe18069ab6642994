"""The median over seeds of a value that is known as an interval: the one estimator of kbench.

log N* of a seed lies in its bracket, and log κ of a seed between the bounds that its brackets
leave, one-sided where a search is censored. Seeds are taken as draws from one normal distribution
of these logs, and the interval of their median is cut from the likelihood of all bounds, profiled
over the spread: all m for which

    max l − max_s l(m, s) ≤ n/2 · log(1 + t² / (n − 1)),   t: Student's t, n − 1 degrees of freedom,

which is the t-interval itself where every value is known (Cox and Hinkley, *Theoretical
Statistics*, 1974, section 5.2), and wider than the usual cut by χ² where seeds are few. Where every
seed is bounded on the same side only, no distribution is assumed: a sign test gives the one end.
How often the interval holds the true median: `studies/interval_coverage.py`.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from kbench.errors import KbenchError

ENDLESS = math.log(1000)
"""An end further than this factor from the estimate says nothing, and is none."""
LARGEST = 1e300
"""Beyond it logs and their sums would overflow."""
EXACT = 1e-9
"""Half the width that a value known exactly is taken to have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Ends between which a value lies, and an estimate of it; None for what is not known."""

    low: float | None
    high: float | None
    estimate: float | None = None

    @property
    def is_open(self) -> bool:
        """Has it neither end?"""
        return self.low is None and self.high is None


def median_interval(
    low: Sequence[float | None], high: Sequence[float | None], confidence: float = 0.95
) -> Interval:
    """The median of positive values, each known between low[i] and high[i].

    None stands for no bound. A seed without any bound says nothing and is left out; a single one
    has an estimate but no interval. With n seeds bounded on the same side only, the median lies
    beyond the last of them with confidence 1 − 2^−n (five seeds: 97 %, four: 94 %): that end is
    there where this is enough, and there is no estimate. An end a thousand times away from the
    estimate is none. Raises KbenchError for bounds that are not positive, or out of order.

    >>> found = median_interval([1.2, 1.5, 1.9, None], [1.6, 2.0, 2.6, 2.4])
    >>> f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"
    '1.74 [1.09, 2.48]'
    """
    _check(low, high, confidence)
    lows = [None if x is None else math.log(x) for x in low]
    highs = [None if x is None else math.log(x) for x in high]
    found = real_interval(lows, highs, confidence)
    if found.estimate is None:
        return Interval(low=_exp(found.low), high=_exp(found.high))
    nearest, furthest = found.estimate - ENDLESS, found.estimate + ENDLESS
    return Interval(
        low=None if found.low is None or found.low < nearest else _exp(found.low),
        high=None if found.high is None or found.high > furthest else _exp(found.high),
        estimate=_exp(found.estimate),
    )


def real_interval(
    low: Sequence[float | None], high: Sequence[float | None], confidence: float = 0.95
) -> Interval:
    """As median_interval(), of values that are normal as they are: logs, and slopes of logs."""
    return _real_interval(tuple(low), tuple(high), confidence)


@functools.lru_cache(maxsize=10_000)
def _real_interval(
    low: tuple[float | None, ...], high: tuple[float | None, ...], confidence: float
) -> Interval:
    """Kept, since tables, verdicts and documents ask for the same interval again and again."""
    import numpy as np  # a tenth of a second that `kbench --help` need not wait

    from kbench.statistics.profile import intervals

    if not low:
        return Interval(low=None, high=None)
    lows = np.array([[-math.inf if x is None else x for x in low]])
    highs = np.array([[math.inf if x is None else x for x in high]])
    exact = np.where(highs - lows < EXACT, EXACT, 0.0)
    ends = [float(end[0]) for end in intervals(lows - exact, highs + exact, confidence)]
    first, estimate, last = (end if math.isfinite(end) else None for end in ends)
    return Interval(low=first, high=last, estimate=estimate)


def _exp(x: float | None) -> float | None:
    return None if x is None else math.exp(x)


def _check(low: Sequence[float | None], high: Sequence[float | None], confidence: float) -> None:
    if len(low) != len(high):
        raise KbenchError(f"low has {len(low)} bounds and high has {len(high)}: one of each a seed")
    if not 0.5 < confidence < 1:
        raise KbenchError(f"confidence must lie between 0.5 and 1, got {confidence!r}")
    for name, bounds in (("low", low), ("high", high)):
        for x in bounds:
            if x is not None and not 0 < x < LARGEST:
                raise KbenchError(f"{name} must be positive numbers or None, got {x!r}")
    for a, b in zip(low, high, strict=True):
        if a is not None and b is not None and a > b:
            raise KbenchError(f"a lower bound, {a!r}, lies above its upper bound, {b!r}")
