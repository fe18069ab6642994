"""Does it come out again? Some trials of an entry are trained anew.

Nothing from an entry is executed: models and tasks are those of this installation.
"""

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kbench.leaderboard.checking.validation import describe
from kbench.leaderboard.entry import Entry, Row, Trials
from kbench.leaderboard.place import is_own
from kbench.ops.backends import missing
from kbench.registry import models
from kbench.statistics.search import Probe
from kbench.study.executors import Executor
from kbench.study.searches import CellRun
from kbench.trial import Trial, TrialResult

ACCURACY_TOLERANCE = 0.1
"""Beyond the training lengths a model of another machine's rounding may err a little otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpotCheck:
    """Trials of one entry to run again, with what it says of them."""

    trials: tuple[Trial, ...]
    rows: dict[str, Row]
    """By the trial's key."""

    def problems(self, found: dict[str, TrialResult | str]) -> list[str]:
        """What came out otherwise, given by key what came out, or why nothing did."""
        broken = [r for t in self.trials if isinstance(r := found[t.key()], str)]
        if broken:
            return [f"a trial cannot be run again: {broken[0]}"]
        unlike = [
            problem
            for t in self.trials
            if isinstance(r := found[t.key()], TrialResult)
            and (problem := difference(t, self.rows[t.key()], r))
        ]
        # Near N* a run may go either way by the rounding of another machine.
        return unlike if len(unlike) > len(self.trials) // 8 else []


def why_not(entry: Entry, device: str) -> str | None:
    """Why an entry cannot be spot-checked on this device; None where it can."""
    settings = entry.settings
    if is_own(entry.cell()):
        return f"that would execute {settings.model}"
    if (here := models[settings.model].version) != settings.model_version:
        return f"{settings.model}: version {settings.model_version} is here no more, {here} is"
    reason = missing(settings.backend, device)
    return f"{settings.backend}: {reason}" if reason else None


def spot_check(entry: Entry, count: int, rng: random.Random) -> SpotCheck:
    """Some of an entry's trials, chosen at random."""
    run = entry.run()
    rows = Trials(entry, run.cell).by_key
    trials = tuple(near_n_star(run, count, rng))
    return SpotCheck(trials=trials, rows={t.key(): rows[t.key()] for t in trials})


def near_n_star(run: CellRun, count: int, rng: random.Random) -> list[Trial]:
    """Trials of three kinds in turn, chosen at random within each.

    At the sizes on either side of N* of all lengths together, where a made-up κ would be made up;
    tests, which extrapolation rests on; and on either side of N* at a single length.
    """
    near: dict[bool, list[Trial]] = {True: [], False: []}
    for lengths, variant in run.results:
        ends = run.searches[lengths, variant.seed].search.known()
        if variant.n_samples in (ends.low, ends.high):
            trial = run.cell.trial(lengths, variant.seed, Probe(*variant[1:]))
            near[lengths == run.cell.joint].append(trial)
    tests = [t for seed in run.seeds for t in run.tested(seed).values()]
    kinds = [near[True], tests, near[False]]
    shuffled = [rng.sample(kind, len(kind)) for kind in kinds]
    turns = [t for turn in itertools.zip_longest(*shuffled) for t in turn if t is not None]
    return turns[:count]


def run_again(
    trials: Iterable[Trial], executor: Executor
) -> Iterator[tuple[Trial, TrialResult | str]]:
    """Train them, as many at once as the executor has room for; each as it ends.

    A string is why there is no result.
    """
    waiting, under_way = list(reversed(list(trials))), 0
    while waiting or under_way:
        while waiting and executor.idle:
            executor.submit([waiting.pop()])
            under_way += 1
        for finished in executor.finished():
            under_way -= 1
            yield finished.trial, finished.result or finished.error


def difference(trial: Trial, row: Row, found: TrialResult) -> str | None:
    """What came out otherwise than the entry says; None where nothing did."""
    which = f"the trial at {describe(trial)}"
    if found.data_sha256 != row.data_sha256:
        return f"{which} has other data when run again"
    if found.outcome != row.outcome:
        return (
            f"{which} {found.outcome} in {found.steps} steps when run again, the entry says "
            f"{row.outcome} in {row.steps}"
        )
    if row.failure and found.failure != row.failure:
        return f"{which} is {found.failure} when run again, the entry says {row.failure}"
    for n, stated in row.accuracy.items():
        if abs(found.accuracy[n]["accuracy"] - stated.accuracy) > ACCURACY_TOLERANCE:
            return (
                f"{which} has an accuracy of {found.accuracy[n]['accuracy']} at length {n} when "
                f"run again, the entry says {stated.accuracy}"
            )
    return None
