"""What a run will cost, before it is started. Nothing is trained."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kbench.statistics.brackets import Bracket
from kbench.statistics.search import Probe
from kbench.study.cell import Cell, Lengths
from kbench.study.driver import Progress
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


def plan(
    run: CellRun,
    device: str = "cpu",
    *,
    last_look: bool = False,
    timings: dict[Lengths, float] | None = None,
) -> Plan:
    """The cost of the rest of a cell, into which the store has been replayed.

    Of the seeds in use, or up to the last look with all that may still be added. `timings`, seconds
    per step of some lengths, are used and added to.
    """
    cell = run.cell
    training, recipes = cell.protocol.training, len(cell.protocol.recipes)
    shortest = min(10, training.steps)  # a success, or a divergence, at the first validation
    fail_share = _fail_share(cell)
    trials, steps, seconds, by_length_seconds = [0, 0], [0, 0], 0.0, 0.0
    timings = {} if timings is None else timings
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


def _fail_share(cell: Cell) -> float:
    return FAIL_SHARE_FUTILITY if cell.protocol.training.futility else FAIL_SHARE


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


def _from_any_start(
    cell: Cell, lengths: Lengths, other: Bracket | None = None
) -> list[tuple[int, int]]:
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


Timings = Mapping[Lengths, float]
"""Seconds per step, by lengths."""
Shares = tuple[float, float]
"""Of the budget that runs take which pass, and which fail."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What is left of a run, as of what was known at one moment."""

    trials: float
    seconds: float
    """Of one worker, by the timings."""
    with_all_seeds: float | None
    """The same where all seeds are added that may be; None where none may."""
    done: float
    """Seconds that the steps taken so far should have cost."""

    PACE = 5.0
    """Seconds of work after which steps as timed beforehand and as they turn out weigh alike."""

    def clock(self, workers: int, elapsed: float, begun: float = 0.0) -> tuple[float, float | None]:
        """Seconds by the clock, and those with all seeds; `begun` is in trials under way.

        At the pace so far, which waiting and speculation are part of.
        """
        pace = (elapsed * workers + self.PACE) / (self.done + begun + self.PACE) / workers

        def at_this_pace(seconds: float) -> float:
            return max(seconds - begun / 2, 0.0) * pace

        more = self.with_all_seeds
        return at_this_pace(self.seconds), None if more is None else at_this_pace(more)


class Forecast:
    """What is left of some cells while they run.

    How long runs take is learned from those that have ended, of the same cell first of all; until
    there are some, typical shares of the budget stand for them.
    """

    PRIOR = 4
    """Runs that weigh as much as what is known beforehand."""

    def __init__(self, progress: Sequence[Progress], timings: Sequence[Timings]) -> None:
        self._cells = [*zip(progress, timings, strict=True)]
        self._timings = {id(p): of for p, of in self._cells}
        self._sizes: dict[Any, tuple[tuple[int, bool], tuple[float, float]]] = {}
        """By search: how many of its runs had ended, whether another seed's had, and sizes still to
        pass and to fail then."""

    def left(self) -> Left:
        """As of now."""
        trials, seconds = self._sum(last_look=False)
        more = any(_may_add_seeds(p.run) for p, _ in self._cells)
        return Left(
            trials=trials,
            seconds=seconds,
            with_all_seeds=self._sum(last_look=True)[1] if more else None,
            done=sum(
                self.cost(p, lengths, steps)
                for p, _ in self._cells
                for lengths, steps in p.steps_run.items()
            ),
        )

    def cost(self, progress: Progress, lengths: Lengths, steps: int) -> float:
        """Seconds that so many steps of a cell's trials take, by the timings."""
        return steps * self._timings[id(progress)].get(lengths, 0.0)

    def _sum(self, *, last_look: bool) -> tuple[float, float]:
        """Trials and seconds; with those of seeds that may be added."""
        runs = [p.run for p, _ in self._cells]
        pooled = _learned(runs, (PASS_SHARE, _fail_share(runs[0].cell)), self.PRIOR)
        trials = seconds = 0.0
        for run, timings in zip(runs, (of for _, of in self._cells), strict=True):
            passing, failing = _learned([run], pooled, self.PRIOR)
            cell = run.cell
            recipes, budget = len(cell.protocol.recipes), cell.protocol.training.steps
            for lengths, passes, fails in self._to_try(run, last_look):
                trials += passes + fails * recipes
                share = passes * passing + fails * recipes * failing
                seconds += share * budget * timings.get(lengths, 0.0)
            untested = sum(run.untested(seed) for seed in run.seeds)
            trials += untested
            seconds += untested * passing * budget * timings.get(cell.joint, 0.0)
        return trials, seconds

    def _to_try(self, run: CellRun, last_look: bool) -> Iterator[tuple[Lengths, float, float]]:
        """Of each search: the sizes that it may be expected still to pass, and to fail."""
        ended = Counter((lengths, variant.seed) for lengths, variant in run.results)
        near = {
            lengths: search.search.bracket
            for (lengths, _), search in reversed(run.searches.items())
            if search.search.bracket is not None
        }
        for key, search in run.searches.items():
            if search.search.bracket is not None:
                continue
            other = near.get(key[0])
            state = ended[key], other is not None
            known = self._sizes.get((id(run), key))
            if known is None or known[0] != state:
                known = state, _mean(search.search.futures(search.largest, other))
                self._sizes[id(run), key] = known
            yield key[0], *known[1]
        more = len(run.cell.seeds) - len(run.seeds) if last_look and _may_add_seeds(run) else 0
        for lengths in [*run.unopened(), *more * [*run.cell.alone, *run.cell.together]]:
            other = near.get(lengths)
            known = self._sizes.get((id(run), lengths))
            if known is None or known[0] != (0, other is not None):
                start = _after if other else _from_any_start
                ways = start(run.cell, lengths, other)
                known = (0, other is not None), _mean(ways)
                self._sizes[id(run), lengths] = known
            yield lengths, *known[1]


def _after(cell: Cell, lengths: Lengths, found: Bracket | None) -> list[tuple[int, int]]:
    """The futures of another seed's search, which starts from what one came to."""
    search = SeedSearch(cell, lengths, found.high if found else None)
    return search.search.futures(search.largest, found)


def _may_add_seeds(run: CellRun) -> bool:
    """Are there looks to come, unless the verdict is known by then?"""
    return run.cell.looks[-1] > len(run.seeds) and not (run.searched and not run.is_open)


def _mean(ways: Sequence[tuple[int, int]]) -> tuple[float, float]:
    return sum(p for p, _ in ways) / len(ways), sum(f for _, f in ways) / len(ways)


def _learned(runs: Sequence[CellRun], before: Shares, weight: float) -> Shares:
    """Shares of the budget, from what was thought before and the runs that have ended."""
    found = []
    for outcome, share in zip(("passed", "failed"), before, strict=True):
        took = [
            ending.steps / run.cell.protocol.training.steps
            for run in runs
            for ending in run.results.values()
            if ending.outcome == outcome
        ]
        found.append((weight * share + sum(took)) / (weight + len(took)))
    return found[0], found[1]
