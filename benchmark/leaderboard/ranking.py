"""Ranking models over several cells: pure, no files.

A model's score is the geometric mean, over the cells that the reference model has, of its κ
relative to the reference's on the same cell. What a censored search leaves open is carried along
as bounds: all lengths together never need more than all samples there are, for whoever has seen
them all knows them. So every score is a range, and its interval adds what other seeds might have
given. Ranks compare every pair of models, and take from the reference only its cells.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kbench.statistics.brackets import Bracket, blur

RESAMPLES = 20_000
"""As many as the ends of an interval need to settle within 1 to 2 %."""

NORMAL = 1.96
"""95 % of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """log κ of one seed: equal ends where no search was censored."""

    low: float
    high: float
    blur: float = 0.0
    """Standard deviation that brackets leave to either end."""
    learned: bool = True
    """Were all lengths together learned?"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One line of a ranking."""

    model: str
    rank: int | None
    """One more than the ranked models whose κ relative to this one's has an interval above 1, so
    that ties share it; None for a model that lacks cells, or learned in none of them."""
    low: float
    high: float
    """Geometric mean of κ relative to the reference: as far as the searches tell."""
    interval: tuple[float, float]
    """95 %, from seeds drawn again, around both ends; (0, ∞) where a cell has a single seed."""
    cells: int
    learned: int
    """Cells in which some seed learned all lengths together. In the others κ lies where the
    universe bounds it, which says little of the model."""


def shared(lengths: Sequence[Bracket], joint: Bracket, universes: Sequence[int]) -> Shared:
    """log κ of one seed from its brackets; a missing end is that of the universe."""
    alone = [_ends(b, size) for b, size in zip(lengths, universes, strict=True)]
    together = _ends(joint, sum(universes))
    total = sum(high for _, high in alone)
    parts = [high / total * _blur(b) for b, (_, high) in zip(lengths, alone, strict=True)]
    return Shared(
        low=math.log(sum(low for low, _ in alone) / together[1]),
        high=math.log(total / together[0]),
        blur=math.hypot(_blur(joint), *parts),
        learned=joint.high is not None,
    )


def _blur(bracket: Bracket) -> float:
    """None of what is unbounded, which is carried along as a range."""
    return 0.0 if bracket.high is None else blur(bracket)


def _ends(bracket: Bracket, universe: int) -> tuple[float, float]:
    """N* as far as it is known: its geometric middle, or everything above the largest to fail."""
    if bracket.middle is not None:
        return bracket.middle, bracket.middle
    return bracket.floor, max(bracket.floor, universe)


def rank(
    kappas: Mapping[str, Mapping[str, Sequence[Shared]]], reference: str, resamples: int = RESAMPLES
) -> list[Score]:
    """Scores from kappas[model][cell][seed], best first; those without a rank last.

    The cells are those of the reference.

    The interval is a bootstrap: seeds are drawn with replacement within each cell, the same ones
    for every model, since they share their data; cells are drawn independently of each other, and
    are not drawn themselves, the board is about these. A bootstrap of few seeds is too narrow
    (Hesterberg, The American Statistician 69, 2015, 371): they lie closer to their own mean than
    to the truth, by √((n − 1)/n), and Student's t is wider than a normal distribution. What is
    drawn is spread by as much, with Welch's degrees of freedom, since a cell in which every seed
    is censored does not vary. The interval is never narrower than what the brackets leave open.
    """
    cells = sorted(kappas[reference])
    complete = {model: of for model, of in kappas.items() if set(cells) <= set(of)}
    # A board's seeds are its protocol's; where somebody measured more, the first of them count.
    seeds = {cell: min(len(of[cell]) for of in complete.values()) for cell in cells}
    rng = random.Random(0)
    draws = {
        cell: np.array([rng.choices(range(n), k=n) for _ in range(resamples)])
        for cell, n in seeds.items()
    }
    had = {
        model: {cell: of[cell][:n] for cell, n in seeds.items() if cell in of}
        for model, of in kappas.items()
    }
    learned = {m: sum(any(s.learned for s in of) for of in had[m].values()) for m in kappas}
    means = {model: _means(had[model], draws) for model in complete}
    ranked = [model for model in means if learned[model]]
    scores = []
    for model in kappas:
        place, low, high, interval = None, 0.0, math.inf, (0.0, math.inf)
        if model in means:
            low, high, interval = _relative(means[model], means[reference])
        if model in ranked:
            better = [_relative(means[other], means[model])[2][0] > 1 for other in ranked]
            place = 1 + sum(better)
        scores.append(
            Score(
                model=model, rank=place, low=low, high=high, interval=interval,
                cells=len(had[model]), learned=learned[model],
            )
        )  # fmt: skip
    return sorted(scores, key=lambda s: (s.rank or math.inf, -s.low, -s.high, s.model))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Means:
    """log κ of one model: by cell and seed, and means over cells of seeds drawn again [draws]."""

    lows: Sequence[np.ndarray]
    highs: Sequence[np.ndarray]
    blurs: Sequence[Sequence[float]]
    lows_again: np.ndarray
    highs_again: np.ndarray


def _means(of: Mapping[str, Sequence[Shared]], draws: Mapping[str, np.ndarray]) -> _Means:
    lows = {cell: np.array([seed.low for seed in of[cell]]) for cell in draws}
    highs = {cell: np.array([seed.high for seed in of[cell]]) for cell in draws}

    def again(values: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.mean(
            [_spread(values[cell])[drawn].mean(axis=1) for cell, drawn in draws.items()], axis=0
        )

    return _Means(
        lows=[*lows.values()],
        highs=[*highs.values()],
        blurs=[[seed.blur for seed in of[cell]] for cell in draws],
        lows_again=again(lows),
        highs_again=again(highs),
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """The same mean, and the spread that is expected of as many from where these come from."""
    n = len(values)
    factor = math.sqrt(n / (n - 1)) if n > 1 else 1.0
    return values.mean() + factor * (values - values.mean())


def _relative(own: _Means, other: _Means) -> tuple[float, float, tuple[float, float]]:
    """One model's κ divided by another's: both ends of the range, and the interval around it."""
    if own is other:  # however little its searches tell
        return 1.0, 1.0, (1.0, 1.0)
    lows = [mine - theirs for mine, theirs in zip(own.lows, other.highs, strict=True)]
    highs = [mine - theirs for mine, theirs in zip(own.highs, other.lows, strict=True)]
    low, high = (float(np.mean([of.mean() for of in ends])) for ends in (lows, highs))
    if any(len(seeds) == 1 for seeds in lows):
        return math.exp(low), math.exp(high), (0.0, math.inf)
    # Seeds that fall into the same brackets agree, and leave κ open all the same; cells do not
    # share their brackets.
    blurs = [
        np.mean([math.hypot(a, b) for a, b in zip(mine, theirs, strict=True)])
        for mine, theirs in zip(own.blurs, other.blurs, strict=True)
    ]
    reach = NORMAL * math.hypot(*blurs) / len(blurs)
    below = low - np.quantile(own.lows_again - other.highs_again, 0.025)
    above = np.quantile(own.highs_again - other.lows_again, 0.975) - high
    interval = low - max(_wider(lows) * below, reach), high + max(_wider(highs) * above, reach)
    return math.exp(low), math.exp(high), (math.exp(interval[0]), math.exp(interval[1]))


def _wider(cells: Sequence[np.ndarray]) -> float:
    """Student's t by the normal distribution, for a mean over cells that vary each in its way."""
    from scipy.special import stdtrit  # a tenth of a second that `kbench --help` need not wait

    variances = [of.var(ddof=1) / len(of) for of in cells]
    squares = sum(v**2 / (len(of) - 1) for v, of in zip(variances, cells, strict=True))
    return float(stdtrit(sum(variances) ** 2 / squares, 0.975)) / NORMAL if squares > 0 else 1.0
