"""Which trials of an entry are run again: those that its claim hangs on, and some at random."""

import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kbench.recipe import Recipe
from kbench.statistics.search import Probe
from kbench.study.cell import Lengths
from kbench.study.searches import CellRun
from kbench.trial import Trial

ELSEWHERE = 0.2
"""Weight of tests, and of searches that the stated κ does not rest on."""
DRAWS = 400
"""For the probability of being drawn: to within 5 percentage points."""


@dataclass(frozen=True, eq=False, slots=True)
class End:
    """One end of a search's bracket, or the test of a trained model: what may be drawn."""

    lengths: Lengths
    seed: int
    kind: str
    """`passing`, `failing` or `test`."""
    trial: Trial
    influence: float
    """How much κ hangs on it; above 0, so that everything has its chance."""


def ends(run: CellRun) -> list[End]:
    """Everything of a complete cell that may be drawn.

    A search weighs as much as κ moves with it on the log scale: all lengths together 1, one length
    its share of Σ N*_n. It weighs more the further its N* lies from that of the other seeds, since
    that is what one made-up seed looks like. At a size that fails, the recipe is run that passes
    most often elsewhere in the entry: if any would pass there, that one.
    """
    likely = Counter[Recipe]()
    for own in run.searches.values():
        likely += own.passes
    middles = {key: _middle(run, *key) for key in run.searches}
    column = {
        lengths: statistics.median(m for (of, _), m in middles.items() if of == lengths)
        for lengths, _ in run.searches
    }
    found = []
    for (lengths, seed), own in run.searches.items():
        far = abs(math.log(middles[lengths, seed] / column[lengths]))
        influence = _weight(run, lengths, middles) * (1 + far)
        known = own.search.known()
        if known.high is not None:
            recipe = next(
                r
                for r in own.search.recipes
                if (ending := run.ending(run.cell.trial(lengths, seed, Probe(known.high, r))))
                and ending.outcome == "passed"
            )
            trial = run.cell.trial(lengths, seed, Probe(known.high, recipe))
            found.append(End(lengths, seed, "passing", trial, influence))
        if known.low is not None:
            recipe = max(own.search.recipes, key=lambda r: likely[r])
            trial = run.cell.trial(lengths, seed, Probe(known.low, recipe))
            found.append(End(lengths, seed, "failing", trial, influence))
    found += [
        End(run.cell.joint, seed, "test", test, ELSEWHERE)
        for seed in run.seeds
        for test in run.tested(seed).values()
    ]
    return found


def _weight(run: CellRun, lengths: Lengths, middles: dict[tuple[Lengths, int], float]) -> float:
    """How far log κ moves with log N* of these lengths."""
    together = run.up_to
    if lengths == together:
        return 1.0
    if len(lengths) > 1 or lengths[0] not in together:
        return ELSEWHERE
    shares = [
        middles[lengths, seed] / math.fsum(middles[(n,), seed] for n in together)
        for seed in run.seeds
    ]
    return math.fsum(shares) / len(shares)


def _middle(run: CellRun, lengths: Lengths, seed: int) -> float:
    """The middle of a bracket; up to the universe where nothing passes."""
    bracket = run.searches[lengths, seed].bracket()
    high = bracket.high or max(bracket.floor, sum(run.cell.universes[n] for n in lengths))
    return math.sqrt(bracket.floor * high)


def draw(of: Sequence[End], count: int, rng: random.Random) -> list[End]:
    """Up to `count` of these, in turns: what κ hangs on most, and by chance, weighted by that.

    The same end of other seeds weighs half as much each time one of them was taken, so that every
    set of lengths is looked at before one is looked at twice.
    """
    shuffled = rng.sample(of, len(of))
    turns = zip(_most_first(shuffled), _by_chance(shuffled, rng), strict=True)
    drawn = dict.fromkeys(end for turn in turns for end in turn)
    return list(drawn)[:count]


def _most_first(of: Sequence[End]) -> Iterator[End]:
    left, taken = list(of), Counter[tuple[Lengths, str]]()
    while left:
        most = max(left, key=lambda end: end.influence / 2 ** taken[end.lengths, end.kind])
        taken[most.lengths, most.kind] += 1
        left.remove(most)
        yield most


def _by_chance(of: Sequence[End], rng: random.Random) -> list[End]:
    """Weighted, without replacement (Efraimidis and Spirakis 2006, algorithm A)."""
    return sorted(of, key=lambda end: rng.random() ** (1 / end.influence), reverse=True)


def chances(of: Sequence[End], count: int) -> dict[tuple[Lengths, int], float]:
    """Of each search, the probability that an end of it that was made up is among `count` drawn.

    That of the end that is drawn less often: a made-up bracket has one false end, or two.
    """
    rng, drawn = random.Random(0), Counter[End]()
    for _ in range(DRAWS):
        drawn.update(draw(of, count, rng))
    found: dict[tuple[Lengths, int], float] = {}
    for end in of:
        if end.kind != "test":
            key = end.lengths, end.seed
            found[key] = min(found.get(key, 1.0), drawn[end] / DRAWS)
    return found
