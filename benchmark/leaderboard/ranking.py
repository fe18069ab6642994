"""Ranking models over several cells: pure, no files.

A model's score is the geometric mean, over the cells that the reference model has, of its κ
relative to the reference's on the same cell: one value for each seed, and of these the median with
its interval. What a censored search leaves open is carried along as bounds: all lengths together
never need more than all samples there are, for whoever has seen them all knows them. Ranks compare
every pair of models, and take from the reference only its cells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval, real_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """Bounds on log κ of one seed."""

    low: float
    high: float
    learned: bool = True
    """Were all lengths together learned?"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One line of a ranking."""

    model: str
    rank: int | None
    """One more than the ranked models whose κ relative to this one's has an interval above 1, so
    that ties share it; None for a model that lacks cells, or learned in none of them."""
    score: Interval
    """κ relative to the reference: the median over seeds, with its interval."""
    cells: int
    learned: int
    """Cells in which some seed learned all lengths together. In the others κ lies where the
    universe bounds it, which says little of the model."""


def shared(lengths: Sequence[Bracket], joint: Bracket, universes: Sequence[int]) -> Shared:
    """Bounds on log κ of one seed from its brackets; a missing end is that of the universe."""
    highs = [size if b.high is None else b.high for b, size in zip(lengths, universes, strict=True)]
    together = max(joint.floor, sum(universes)) if joint.high is None else joint.high
    return Shared(
        low=math.log(sum(b.floor for b in lengths) / together),
        high=math.log(sum(highs) / joint.floor),
        learned=joint.high is not None,
    )


def rank(
    kappas: Mapping[str, Mapping[str, Sequence[Shared]]], reference: str, confidence: float
) -> list[Score]:
    """Scores from kappas[model][cell][seed], best first; those without a rank last.

    The cells are those of the reference. Seeds are paired, since all models share their data: the
    first seed of one with the first of another, as many as every model has.
    """
    cells = sorted(kappas[reference])
    complete = {model: of for model, of in kappas.items() if set(cells) <= set(of)}
    seeds = min(len(of[cell]) for of in complete.values() for cell in cells)
    learned = {
        model: sum(any(seed.learned for seed in of[cell]) for cell in cells if cell in of)
        for model, of in kappas.items()
    }
    ranked = [model for model in complete if learned[model]]

    def relative(model: str, other: str) -> Interval:
        if model == other:  # however little its searches tell
            return Interval(low=0.0, high=0.0, estimate=0.0)
        pairs = [
            [(complete[model][cell][s], complete[other][cell][s]) for cell in cells]
            for s in range(seeds)
        ]
        lows = [math.fsum(a.low - b.high for a, b in of) / len(of) for of in pairs]
        highs = [math.fsum(a.high - b.low for a, b in of) / len(of) for of in pairs]
        return real_interval(lows, highs, confidence)

    scores = []
    for model, of in kappas.items():
        place, score = None, Interval(low=None, high=None)
        if model in complete:
            score = _exp(relative(model, reference))
        if model in ranked:
            place = 1 + sum((relative(other, model).low or 0.0) > 0 for other in ranked)
        had = sum(cell in of for cell in cells)
        scores.append(
            Score(model=model, rank=place, score=score, cells=had, learned=learned[model])
        )
    return sorted(scores, key=lambda s: (s.rank or math.inf, -(s.score.estimate or 0.0), s.model))


def _exp(interval: Interval) -> Interval:
    low, high, estimate = (
        None if x is None else math.exp(x) for x in (interval.low, interval.high, interval.estimate)
    )
    return Interval(low=low, high=high, estimate=estimate)
