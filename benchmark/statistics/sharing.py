"""κ, the sharing factor, from brackets of N*: pure, no torch and no files.

κ = (Σ_n N*_n) / N*_joint (arXiv 2602.18333, section 4). Above 1, lengths share a mechanism; about
1, each is learned on its own; below 1, they interfere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kbench.statistics.brackets import Bracket, blur

ISOLATED = (0.8, 1.25)
"""An interval inside these bounds says that every length is learned on its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Bounds on κ; None where there is none."""

    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PerSeed:
    """κ over seeds: geometric mean and t-interval on log κ_s, None where not identified."""

    estimate: float | None
    low: float | None
    high: float | None
    seeds: int


def sharing_bounds(lengths: Sequence[Bracket], joint: Bracket) -> Interval:
    """κ from brackets: [Σ(low_n + 1) / high_joint, Σ high_n / (low_joint + 1)].

    A joint search without an upper end leaves only an upper bound on κ; a length without one
    leaves only a lower bound; both leave nothing.
    """
    highs = [b.high for b in lengths if b.high is not None]
    return Interval(
        low=None if joint.high is None else sum(b.floor for b in lengths) / joint.high,
        high=sum(highs) / joint.floor if len(highs) == len(lengths) else None,
    )


def sharing_by_seed(
    lengths: Sequence[Sequence[Bracket]], joint: Sequence[Bracket]
) -> list[Interval]:
    """Bounds on κ of each seed by itself: lengths[n][seed] and joint[seed].

    They are there where some seed is unbounded too, and show when the best of the grid is one
    seed's luck.
    """
    return [sharing_bounds([row[s] for row in lengths], of) for s, of in enumerate(joint)]


def sharing_per_seed(
    lengths: Sequence[Sequence[Bracket]], joint: Sequence[Bracket], confidence: float = 0.95
) -> PerSeed:
    """κ from each seed's own brackets: lengths[n][seed] and joint[seed].

    N* is taken at the geometric middle of its bracket. The interval is Student's t on log κ_s, but
    never narrower than the brackets leave κ open for a single seed: seeds that all fall into the
    same brackets share their rounding, and do not make κ exact. With any seed unbounded there is
    no estimate, with a single seed no interval. Coverage: `studies/coverage_per_seed.py`.
    """
    logs, blurs = [], []
    for s, whole in enumerate(joint):
        found = log_sharing([row[s] for row in lengths], whole)
        if found is None:
            return PerSeed(estimate=None, low=None, high=None, seeds=len(joint))
        logs.append(found[0])
        blurs.append(found[1])
    return from_logs(logs, blurs, confidence)


def log_sharing(lengths: Sequence[Bracket], joint: Bracket) -> tuple[float, float] | None:
    """log κ_s of one seed, and the standard deviation that its brackets leave to it.

    None with any of them unbounded.
    """
    middles = [b.middle for b in lengths]
    if joint.middle is None or None in middles:
        return None
    total = sum(m for m in middles if m is not None)
    parts = [(m or 0) / total * blur(b) for m, b in zip(middles, lengths, strict=True)]
    return math.log(total / joint.middle), math.hypot(blur(joint), *parts)


def n_star_per_seed(brackets: Sequence[Bracket], confidence: float = 0.95) -> PerSeed:
    """N* over seeds, as sharing_per_seed() gives κ."""
    middles = [b.middle for b in brackets if b.middle is not None]
    if len(middles) < len(brackets):
        return PerSeed(estimate=None, low=None, high=None, seeds=len(brackets))
    return from_logs([math.log(m) for m in middles], [blur(b) for b in brackets], confidence)


def from_logs(logs: Sequence[float], blurs: Sequence[float], confidence: float = 0.95) -> PerSeed:
    """exp of mean_interval()."""
    mean, reach = mean_interval(logs, blurs, confidence)
    return PerSeed(
        estimate=math.exp(mean),
        low=None if reach is None else math.exp(mean - reach),
        high=None if reach is None else math.exp(mean + reach),
        seeds=len(logs),
    )


def mean_interval(
    values: Sequence[float], blurs: Sequence[float], confidence: float = 0.95
) -> tuple[float, float | None]:
    """Mean over seeds, and half the width of its interval; None with a single seed.

    `blurs` are the standard deviations that brackets leave to each value.
    """
    seeds = len(values)
    mean = math.fsum(values) / seeds
    if seeds == 1:
        return mean, None
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (seeds - 1))
    from scipy.special import stdtrit  # a tenth of a second that `kbench --help` need not wait

    return mean, max(
        float(stdtrit(seeds - 1, 0.5 + confidence / 2)) * spread / math.sqrt(seeds),
        confidence * math.sqrt(3) * math.fsum(blurs) / seeds,  # of a uniform error
    )


def verdict(best: Interval, per_seed: PerSeed) -> str:
    """`sharing`, `interference`, `isolated` or `not-identified`; by an interval, never a point."""
    interval = best
    if per_seed.low is not None:
        interval = Interval(low=per_seed.low, high=per_seed.high)
    low = -math.inf if interval.low is None else interval.low
    high = math.inf if interval.high is None else interval.high
    if low > 1:
        return "sharing"
    if high < 1:
        return "interference"
    if ISOLATED[0] <= low and high <= ISOLATED[1]:
        return "isolated"
    return "not-identified"
