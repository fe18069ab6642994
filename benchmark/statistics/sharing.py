"""κ, the sharing factor, from brackets of N*: pure, no torch and no files.

κ = (Σ_n N*_n) / N*_joint (arXiv 2602.18333, section 4). Above 1, lengths share a mechanism; about
1, each is learned on its own; below 1, they interfere. Intervals are those of the median over
seeds, by the one estimator in `kbench.statistics.likelihood`.
"""

import math
from collections.abc import Sequence
from typing import Literal

from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval, median_interval

Verdict = Literal["sharing", "interference", "isolated", "not-learned", "not-identified"]

MARGIN = 1.5
"""An interval inside 1/MARGIN and MARGIN says that every length is learned on its own.

A cell of κ = 1 whose seeds spread by 0.25 in log N*, in brackets of 1.35, gets an interval of
about 0.7 to 1.4 from six seeds: no smaller margin can be resolved (`studies/looks.py`).
"""


def sharing_bounds(lengths: Sequence[Bracket], joint: Bracket) -> Interval:
    """κ from brackets: [Σ(low_n + 1) / high_joint, Σ high_n / (low_joint + 1)].

    A joint search without an upper end leaves only an upper bound on κ; a length without one
    leaves only a lower bound; both leave nothing. Nor is there anything to say of a model that
    learned nothing, alone or together: Σ high_n is then the size of the universes.
    """
    if joint.high is None and all(b.high is None or b.ran_out for b in lengths):
        return Interval(low=None, high=None)
    highs = [b.high for b in lengths if b.high is not None]
    bounded = len(highs) == len(lengths) and joint.least is not None
    return Interval(
        low=None if joint.high is None else sum(b.floor for b in lengths) / joint.high,
        high=sum(highs) / joint.floor if bounded else None,
    )


def sharing_by_seed(
    lengths: Sequence[Sequence[Bracket]], joint: Sequence[Bracket]
) -> list[Interval]:
    """Bounds on κ of each seed by itself: lengths[n][seed] and joint[seed]."""
    return [sharing_bounds([row[s] for row in lengths], of) for s, of in enumerate(joint)]


def over_seeds(each: Sequence[Interval], confidence: float) -> Interval:
    """The median over seeds of a value with these bounds."""
    return median_interval([i.low for i in each], [i.high for i in each], confidence)


def n_star_over_seeds(brackets: Sequence[Bracket], confidence: float) -> Interval:
    """The median of N* over seeds."""
    return median_interval([b.least for b in brackets], [b.most for b in brackets], confidence)


def ratio_by_seed(a: Sequence[Bracket], b: Sequence[Bracket]) -> list[Interval]:
    """Bounds on N*_a / N*_b of each seed that both have: seeds are in the protocol's order."""
    return [
        Interval(
            low=None if x.least is None or y.most is None else x.least / y.most,
            high=None if x.most is None or y.least is None else x.most / y.least,
        )
        for x, y in zip(a, b, strict=False)
    ]


def memorised_share(lengths: Sequence[Sequence[Bracket]]) -> float | None:
    """The part of Σ N*_n that is a universe run out, mean over seeds: lengths[n][seed].

    None where a seed has a length without any upper bound.
    """
    shares = []
    for of in zip(*lengths, strict=True):
        highs = [b.high for b in of]
        if None in highs:
            return None
        shares.append(
            math.fsum(b.high or 0 for b in of if b.ran_out) / math.fsum(x or 0 for x in highs)
        )
    return math.fsum(shares) / len(shares) if shares else None


def verdict(kappa: Interval, joint: Sequence[Bracket]) -> Verdict:
    """What κ's interval over seeds says, and if it says nothing, whether anything was learned.

    `not-learned`: no seed learned all lengths together from any number of samples tried.
    """
    low = -math.inf if kappa.low is None else kappa.low
    high = math.inf if kappa.high is None else kappa.high
    if low > 1:
        return "sharing"
    if high < 1:
        return "interference"
    if low >= 1 / MARGIN and high <= MARGIN:
        return "isolated"
    return "not-learned" if all(b.high is None for b in joint) else "not-identified"
