"""What a run will cost, before it is started. Nothing is trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kbench.statistics.search import Probe
from kbench.study.cell import Cell, Lengths
from kbench.study.executors.local import COHORT, one_thread
from kbench.study.searches import CellRun, SeedSearch

PASS_SHARE, FAIL_SHARE, FAIL_SHARE_FUTILITY = 0.2, 1.0, 0.4
"""Steps of a typical passing and failing run, as shares of the budget, for the estimate of time.

Means over the trials of 18 entries of `cpu-2` are 0.20 and 0.36, over those of 59 of `quick-1` on
`modadd` 0.20 and 0.37. On `lookup`, where most runs fail at the end of the budget, they are 0.73
and 0.85 (42 entries): its cost is underestimated.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Cost of what is left of a cell: bounds that hold, and an estimate of the time."""

    searches: int
    searches_done: int
    trials_stored: int
    trials: tuple[int, int]
    """At least and at most."""
    steps: tuple[int, int]
    seconds: float
    """On one worker, from steps timed on this machine and typical lengths of a run."""
    by_length_seconds: float
    """Of these, for the searches over fewer lengths together, which κ(L) and reach need."""


def plan(run: CellRun, device: str = "cpu", *, last_look: bool = False) -> Plan:
    """The cost of the rest of a cell, into which the store has been replayed.

    Of the seeds in use, or up to the last look with all that may still be added.
    """
    cell = run.cell
    training, recipes = cell.protocol.training, len(cell.protocol.recipes)
    shortest = min(10, training.steps)  # a success, or a divergence, at the first validation
    fail_share = FAIL_SHARE_FUTILITY if training.futility else FAIL_SHARE
    trials, steps, seconds, by_length_seconds = [0, 0], [0, 0], 0.0, 0.0
    timings: dict[Lengths, float] = {}
    more = len(cell.seeds) - len(run.seeds) if last_look and len(cell.looks) > 1 else 0
    for lengths, ways in _futures(run, more):
        if max(map(sum, ways)) == 0:
            continue
        if lengths not in timings:
            timings[lengths] = _seconds_per_step(cell, lengths, device)
        fewest = min(passes + fails * recipes for passes, fails in ways)
        most = max((passes + fails) * recipes for passes, fails in ways)
        trials = [trials[0] + fewest, trials[1] + most]
        steps = [steps[0] + fewest * shortest, steps[1] + most * training.steps]
        typical = sum(p * PASS_SHARE + f * recipes * fail_share for p, f in ways) / len(ways)
        seconds += typical * training.steps * timings[lengths]
        if lengths in cell.together[:-1]:
            by_length_seconds += typical * training.steps * timings[lengths]
    untested = [run.untested(seed) for seed in run.seeds]
    if any(untested):
        if cell.joint not in timings:
            timings[cell.joint] = _seconds_per_step(cell, cell.joint, device)
        # One model where the largest size tried is also the smallest to pass, or none passes.
        trials = [trials[0] + sum(map(bool, untested)), trials[1] + sum(untested)]
        steps = [
            steps[0] + shortest * sum(map(bool, untested)),
            steps[1] + training.steps * sum(untested),
        ]
        seconds += sum(untested) * PASS_SHARE * training.steps * timings[cell.joint]
    return Plan(
        searches=run.n_searches + more * (len(cell.alone) + len(cell.together)),
        searches_done=run.n_done,
        trials_stored=len(run.results) + len(run.tests),
        trials=(trials[0], trials[1]),
        steps=(steps[0], steps[1]),
        seconds=seconds,
        by_length_seconds=by_length_seconds,
    )


def _futures(run: CellRun, more: int) -> list[tuple[Lengths, list[tuple[int, int]]]]:
    """Every unfinished search's possible futures; from any start where that is not known yet.

    With those of so many seeds more.
    """
    futures = [
        (lengths, search.search.futures(search.largest))
        for (lengths, _), search in run.searches.items()
        if search.search.bracket is None
    ]
    unopened: dict[Lengths, list[tuple[int, int]]] = {}
    for lengths in [*run.unopened(), *more * [*run.cell.alone, *run.cell.together]]:
        if lengths not in unopened:
            unopened[lengths] = _from_any_start(run.cell, lengths)
        futures.append((lengths, unopened[lengths]))
    return futures


def _from_any_start(cell: Cell, lengths: Lengths) -> list[tuple[int, int]]:
    top = SeedSearch(cell, lengths, None)
    starts = (1.3**i for i in range(math.ceil(math.log(max(top.largest, 1), 1.3))))
    searches = [top, *(SeedSearch(cell, lengths, start) for start in starts)]
    return [way for s in searches for way in s.search.futures(s.largest)]


def _seconds_per_step(cell: Cell, lengths: Lengths, device: str) -> float:
    from kbench.training.loop import seconds_per_step

    recipe = cell.protocol.recipes[0]
    probe = Probe(min(recipe.batch_size, cell.shares(lengths).n_training), recipe)
    try:
        with one_thread():
            # As many at once as the run trains together.
            seeds = range(COHORT[device])
            return seconds_per_step([cell.trial(lengths, s, probe) for s in seeds], device)
    except Exception:  # whatever a model of one's own raises; its trials will say it in one line
        return 0.0


def total(plans: Sequence[Plan]) -> Plan:
    """Several cells together."""
    return Plan(
        searches=sum(p.searches for p in plans),
        searches_done=sum(p.searches_done for p in plans),
        trials_stored=sum(p.trials_stored for p in plans),
        trials=(sum(p.trials[0] for p in plans), sum(p.trials[1] for p in plans)),
        steps=(sum(p.steps[0] for p in plans), sum(p.steps[1] for p in plans)),
        seconds=sum(p.seconds for p in plans),
        by_length_seconds=sum(p.by_length_seconds for p in plans),
    )
