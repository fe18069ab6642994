"""Does it come out again? Some trials of an entry are trained anew.

What came out here takes the place of what the entry says, and N* and κ are made anew from it.
Nothing from an entry is executed: models and tasks are those of this installation.
"""

import dataclasses
import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scipy.stats import binom

from kbench.leaderboard.checking.drawing import End, chances, draw, ends
from kbench.leaderboard.checking.validation import describe
from kbench.leaderboard.entry import Entry, Row, Trials
from kbench.leaderboard.place import is_own
from kbench.ops.backends import missing
from kbench.registry import models
from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.statistics.search import Probe
from kbench.study.cell import Lengths
from kbench.study.conclusions import Conclusions
from kbench.study.executors import Executor
from kbench.study.searches import CellRun, SeedSearch
from kbench.trial import Ending, Trial, TrialResult

ACCURACY_TOLERANCE = 0.1
"""Beyond the training lengths a model of another machine's rounding may err a little otherwise."""
FAR = 50.0
"""A run that ends otherwise is far from the threshold if its loss is above so many times ε.

Of eleven honest runs that did, the farthest had 26 ε (docs/trust.md)."""
FAR_N = 3
"""A search is far off if a run ends otherwise at its N*, and still at so many times fewer, or more,
samples."""
RATE = 0.1
"""Of trials near N* that end otherwise on another kind of machine (docs/trust.md)."""
DOUBT = 0.005
"""Of honest entries, so many may have more trials that end otherwise than are forgiven."""
KIND = ("torch", "numpy", "machine", "cpu", "cpu_capability", "device", "threads", "numba",
        "mamba-ssm")  # fmt: skip
"""What two machines must share for a run to end alike on both, to the last digit."""


@dataclass(frozen=True, kw_only=True)
class SpotCheck:
    """Trials of one entry to run again, with what it says of them."""

    entry: Entry
    trials: Mapping[str, Trial]
    """To be run, by the key that the entry's trial has: of a model from a file of somebody's own,
    they are of that file as it lies here."""
    rows: Mapping[str, Row]
    """By the same key."""
    drawn_from: Sequence[End]

    @cached_property
    def chances(self) -> list[float]:
        """That a made-up bracket is found, of each search, taken to be the only one."""
        return [*chances(self.drawn_from, len(self.trials)).values()]

    @property
    def chance(self) -> float:
        """The mean over searches."""
        return math.fsum(self.chances) / len(self.chances)

    def wanted(self, found: Mapping[str, TrialResult | str]) -> list[Trial]:
        """What is to be run, given what came out so far; empty when all is known."""
        wanted = [*self.trials.values()]
        for key, trial in self.trials.items():
            if isinstance(result := found.get(trial.key()), TrialResult):
                wanted += self._further(key, result)
        return [trial for trial in wanted if trial.key() not in found]

    def _further(self, key: str, result: TrialResult) -> list[Trial]:
        """Trials to be run when this one of the entry's ended like this: is N* far off?

        Where it passes though it should not, with fewer samples; where it fails, every recipe with
        more. None where it ended as stated, or where there are no such sizes.
        """
        trial, stated = self.trials[key], self.rows[key].outcome
        if trial.tested or result.outcome == stated:
            return []
        cell, fewer, more = self.entry.cell(), trial.n_samples // FAR_N, trial.n_samples * FAR_N
        if stated == "failed":
            return [dataclasses.replace(trial, n_samples=fewer)] if fewer else []
        if more > SeedSearch(cell, trial.lengths).largest:
            return []
        return [
            dataclasses.replace(trial, n_samples=more, recipe=recipe)
            for recipe in cell.protocol.recipes
        ]

    def _is_far(self, key: str, found: Mapping[str, TrialResult | str]) -> bool:
        """Could no machine's rounding have made this difference?"""
        row, result = self.rows[key], found[self.trials[key].key()]
        assert isinstance(result, TrialResult)
        if result.data_sha256 != row.data_sha256:
            return True
        if result.outcome == row.outcome:
            return False
        losses = (math.inf if of.best_loss is None else of.best_loss for of in (row, result))
        if max(losses) > FAR * self.trials[key].training.eps:
            return True
        further = [found[trial.key()] for trial in self._further(key, result)]
        return bool(further) and not any(
            isinstance(of, str) or of.outcome == row.outcome for of in further
        )

    def problems(self, found: Mapping[str, TrialResult | str]) -> list[str]:
        """What came out otherwise, given of all that was wanted what came out, or why nothing."""
        again: dict[str, TrialResult] = {}
        for key, trial in self.trials.items():
            result = found[trial.key()]
            if isinstance(result, str):
                return [f"a trial cannot be run again: {result}"]
            again[key] = result
        unlike, beyond_doubt = [], []
        for key, trial in self.trials.items():
            row, result = self.rows[key], again[key]
            if problem := difference(trial, row, result):
                unlike.append(problem)
                stated = self.entry.environments[row.environment]
                if same_kind(stated, result.environment) or self._is_far(key, found):
                    beyond_doubt.append(problem)
        if beyond_doubt:
            return beyond_doubt
        if len(unlike) > forgiven(len(self.trials)):
            return [
                f"{len(unlike)} of {len(self.trials)} trials end otherwise when run again, "
                f"{forgiven(len(self.trials))} may on another kind of machine",
                *unlike,
            ]
        return [*consequences(self.entry, again)] if unlike else []

    def found(self) -> str:
        """What it says of an entry in which nothing was found, in a line."""
        return (
            f"{len(self.trials)} of {len(self.entry.trials)} trials run again; a single made-up "
            f"bracket is found so with a probability of {self.chance:.0%}, mean over searches, "
            f"and of {min(self.chances):.0%} where κ hangs on it least"
        )


def forgiven(count: int) -> int:
    """How many of so many trials may end otherwise on another kind of machine."""
    return int(binom.ppf(1 - DOUBT, count, RATE))


def same_kind(stated: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Must a run end alike under both environments? Not where one does not say its processor."""
    return stated.get("cpu") is not None and all(stated.get(k) == here.get(k) for k in KIND)


def why_not(entry: Entry, device: str, own: Path | None = None) -> str | None:
    """Why an entry cannot be spot-checked on this device; None where it can.

    `own` is a file that may be executed: the source of a model of somebody's own.
    """
    settings = entry.settings
    if is_own(entry.cell()):
        if own is None:
            return f"that would execute {settings.model}; --own FILE allows it"
        digest = f"sha256:{hashlib.sha256(own.read_bytes()).hexdigest()}"
        if digest != settings.model_version:
            return f"{own} is not the file that {settings.model} was measured from"
        return None
    if (here := models[settings.model].version) != settings.model_version:
        return f"{settings.model}: version {settings.model_version} is here no more, {here} is"
    reason = missing(settings.backend, device)
    return f"{settings.backend}: {reason}" if reason else None


def spot_check(entry: Entry, count: int, rng: random.Random, own: Path | None = None) -> SpotCheck:
    """Trials of an entry that its claim hangs on, and some by chance."""
    run = entry.run()
    rows, everything = Trials(entry, run.cell).by_key, ends(run)
    trials = {end.trial.key(): end.trial for end in draw(everything, count, rng)}
    if is_own(run.cell):
        model = f"{own}:{run.cell.model.rpartition(':')[2]}"
        trials = {key: dataclasses.replace(t, model=model) for key, t in trials.items()}
    return SpotCheck(
        entry=entry,
        trials=trials,
        rows={key: rows[key] for key in trials},
        drawn_from=everything,
    )


def run_again(
    checks: Sequence[SpotCheck], executor: Executor
) -> Iterator[tuple[Trial, TrialResult | str]]:
    """Train what they want, as many at once as the executor has room for; each as it ends.

    A string is why there is no result. What several want is run once.
    """
    found: dict[str, TrialResult | str] = {}
    begun: set[str] = set()
    while True:
        wanted = {trial.key(): trial for check in checks for trial in check.wanted(found)}
        for key in [key for key in wanted if key not in begun]:
            if not executor.idle:
                break
            executor.submit([wanted[key]])
            begun.add(key)
        if len(begun) == len(found):
            return
        for finished in executor.finished():
            found[finished.trial.key()] = finished.result or finished.error
            yield finished.trial, found[finished.trial.key()]


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


class Corrected(Conclusions):
    """What an entry's cell comes to with the endings that some of its trials had when run again."""

    searched = True

    def __init__(self, stated: CellRun, again: Mapping[str, TrialResult]) -> None:
        self.cell, self.seeds = stated.cell, stated.seeds
        self._stated = stated
        self._searches: dict[tuple[Lengths, int], SeedSearch] = {}
        endings: dict[tuple[Lengths, int], dict[Probe, Ending]] = {}
        touched = set()
        for (lengths, variant), ending in stated.results.items():
            key, probe = (lengths, variant.seed), Probe(*variant[1:])
            trial_key = self.cell.trial(lengths, variant.seed, probe).key()
            if result := again.get(trial_key):
                touched.add(key)
                ending = result.ending(trial_key)
            endings.setdefault(key, {})[probe] = ending
        for lengths, seed in touched:
            own = self._searches[lengths, seed] = SeedSearch(self.cell, lengths)
            for probe, ending in endings[lengths, seed].items():
                own.file(*probe, ending)
                own.search.tell(probe, ending.outcome)

    def brackets(self, lengths: Lengths) -> list[Bracket]:
        """Sizes that the search would have gone on to count as not known."""
        stated = zip(self.seeds, self._stated.brackets(lengths), strict=True)
        return [
            own.bracket() if (own := self._searches.get((lengths, seed))) else bracket
            for seed, bracket in stated
        ]


def consequences(entry: Entry, again: Mapping[str, TrialResult]) -> Iterator[str]:
    """What the entry claims that does not follow from what came out here."""
    stated = entry.run()
    now = Corrected(stated, again)
    for lengths in [*stated.cell.alone, *stated.cell.together]:
        of = f"N* at lengths {'+'.join(map(str, lengths))}"
        yield from _outside(of, now.n_star(lengths), stated.n_star(lengths))
    if stated.cell.alone:
        together = stated.up_to
        yield from _outside("κ", now.kappa_of(together), stated.kappa)
        found = now.verdict_of(together)
        if {found, stated.verdict} == {"sharing", "interference"}:
            yield f"the verdict is {found} by the trials run again, the entry says {stated.verdict}"


def _outside(what: str, now: Interval, said: Interval) -> Iterator[str]:
    """Does the new estimate leave the stated interval, as far as that has ends?"""
    if now.estimate is None:
        if said.estimate is not None:
            yield f"{what} is not known by the trials run again, the entry says {said.estimate:.4g}"
        return
    low = -math.inf if said.low is None else said.low
    high = math.inf if said.high is None else said.high
    if not low <= now.estimate <= high:
        yield (
            f"{what} is {now.estimate:.4g} by the trials run again, outside the interval from "
            f"{low:.4g} to {high:.4g} that the entry gives"
        )
