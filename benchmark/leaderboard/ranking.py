"""Ranking models over several cells: pure, no files.

A model's score is the geometric mean, over the cells that the reference model has, of its κ
relative to the reference's on the same cell. What a censored search leaves open is carried along
as bounds: all lengths together never need more than all samples there are, for whoever has seen
them all knows them. So every score is a range, and its interval adds what other seeds might have
given.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kbench.search import Bracket
from kbench.sharing import blur

RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """log κ of one seed: equal ends where no search was censored."""

    low: float
    high: float
    blur: float = 0.0
    """Standard deviation that brackets leave to either end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One line of a ranking."""

    model: str
    rank: int | None
    """One more than the models that are better beyond doubt, so that ties share it; None for a
    model that lacks cells."""
    low: float
    high: float
    """Geometric mean of κ relative to the reference: as far as the searches tell."""
    interval: tuple[float, float]
    """95 %, from seeds drawn again, around both ends."""
    cells: int


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
    """Scores from kappas[model][cell][seed], best first; those that lack a cell last.

    The cells are those of the reference.

    The interval is a bootstrap: seeds are drawn with replacement within each cell, the same ones
    for a model and its reference, whose data they share; cells are not drawn, the board is about
    these. Few seeds lie closer to their own mean than seeds do to the truth, by √((n − 1)/n); what
    is drawn is spread by as much. It is never narrower than what the brackets leave open.
    """
    cells = sorted(kappas[reference])
    rng = random.Random(0)
    # A board's seeds are its protocol's; where somebody measured more, the first of them count.
    seeds = {
        cell: range(min(len(of[cell]) for of in kappas.values() if cell in of)) for cell in cells
    }
    draws = {
        cell: [rng.choices(seeds[cell], k=len(seeds[cell])) for _ in range(resamples)]
        for cell in cells
    }
    complete = {model: of for model, of in kappas.items() if set(cells) <= set(of)}
    scores = {
        model: _score(model, of, kappas[reference], draws, model == reference)
        for model, of in complete.items()
    }
    ranked = [
        Score(
            model=s.model,
            rank=1 + sum(other.interval[0] > s.interval[1] for other in scores.values()),
            low=s.low, high=s.high, interval=s.interval, cells=s.cells,
        )
        for s in scores.values()
    ]  # fmt: skip
    lacking = [
        Score(
            model=m,
            rank=None,
            low=0.0,
            high=math.inf,
            interval=(0.0, math.inf),
            cells=len(set(cells) & set(of)),
        )
        for m, of in sorted(kappas.items())
        if m not in complete
    ]
    return sorted(ranked, key=lambda s: (s.rank, -s.low * s.high, s.model)) + lacking


def _score(
    model: str,
    own: Mapping[str, Sequence[Shared]],
    reference: Mapping[str, Sequence[Shared]],
    draws: Mapping[str, Sequence[Sequence[int]]],
    is_reference: bool,
) -> Score:
    # Relative to itself a model is at 1, however little its searches tell.
    differences = {
        cell: [
            Shared(low=0.0, high=0.0)
            if is_reference
            else Shared(
                low=mine.low - theirs.high,
                high=mine.high - theirs.low,
                blur=math.hypot(mine.blur, theirs.blur),
            )
            for mine, theirs, _ in zip(own[cell], reference[cell], drawn_seeds[0], strict=False)
        ]
        for cell, drawn_seeds in draws.items()
    }
    lows_of = {cell: _spread([d.low for d in of]) for cell, of in differences.items()}
    highs_of = {cell: _spread([d.high for d in of]) for cell, of in differences.items()}
    low = _mean([_mean(values) for values in lows_of.values()])
    high = _mean([_mean(values) for values in highs_of.values()])

    def drawn(values_of: Mapping[str, Sequence[float]], i: int) -> float:
        return _mean([_mean([of[s] for s in draws[cell][i]]) for cell, of in values_of.items()])

    count = len(next(iter(draws.values())))
    lows = [drawn(lows_of, i) for i in range(count)]
    highs = [drawn(highs_of, i) for i in range(count)]
    lows.sort()
    highs.sort()
    cut = int(0.025 * len(lows))
    # Seeds that fall into the same brackets agree, and leave κ open all the same; cells do not
    # share their brackets.
    blurs = [_mean([d.blur for d in of]) for of in differences.values()]
    reach = 1.96 * math.hypot(*blurs) / len(blurs)
    return Score(
        model=model,
        rank=None,
        low=math.exp(low),
        high=math.exp(high),
        interval=(
            math.exp(min(lows[cut], low - reach)),
            math.exp(max(highs[-1 - cut], high + reach)),
        ),
        cells=len(draws),
    )


def _spread(values: Sequence[float]) -> list[float]:
    """The same mean, and a spread that is right for as few as there are."""
    mean, n = _mean(values), len(values)
    factor = math.sqrt(n / (n - 1)) if n > 1 else 1.0
    return [mean + factor * (x - mean) for x in values]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
