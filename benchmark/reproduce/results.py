"""What came of an experiment: runs, as a store and committed files have them, and its figures."""

import dataclasses
import functools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kbench.reproduce.experiment import FOLDER, OVER, Experiment, Figure, lengths_read
from kbench.training.extrapolation import SAMPLES
from kbench.trial import Trial, TrialResult

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One trained model of an experiment."""

    key: str
    """Of the trial: what it was, to the last number."""
    model: str
    seed: int
    reason: str
    """Why it ended: `success` where the validation loss fell below eps, `budget`, `diverged`."""
    steps: int
    best_loss: float | None
    accuracy: Mapping[str, tuple[float, float]]
    """By length: the share of right answers, and what a constant answer gets."""
    wall_s: float
    data_sha256: Mapping[str, str]
    digest: str
    """Of all that must be equal when it is run again."""
    environment: Mapping[str, Any]

    @staticmethod
    def of(trial: Trial, result: TrialResult) -> "Run":
        """From what a store has."""
        key = trial.key()
        return Run(
            key=key,
            model=trial.model,
            seed=trial.seed,
            reason=result.reason,
            steps=result.steps,
            best_loss=result.best_loss,
            accuracy={
                n: (of["accuracy"], round(of["chance"], 6)) for n, of in result.accuracy.items()
            },
            wall_s=result.wall_s,
            data_sha256=result.data_sha256,
            digest=result.digest(key),
            environment=result.environment,
        )

    def score(self, of: Experiment, lengths: Sequence[int]) -> float:
        """Mean over the lengths of the accuracy, scaled where the experiment says so."""
        pairs = [self.accuracy[str(n)] for n in lengths]
        return statistics.fmean(
            (right - chance) / (1 - chance) if of.scaled else right for right, chance in pairs
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A published figure, and what was measured here."""

    figure: Figure
    each: tuple[float, ...]
    """By run; empty where there are none yet."""
    learned: tuple[float, ...]
    """By run: the score at the longest length that it was trained at."""
    wanted: int
    test_error: float
    """Two standard errors of the test of one run, were the published value the true one."""

    @property
    def here(self) -> float | None:
        """Over the runs as the figure is; None where there are none."""
        return OVER[self.figure.over](self.each) if self.each else None

    @property
    def complete(self) -> bool:
        """Is every run there?"""
        return len(self.each) >= self.wanted

    @property
    def within(self) -> bool | None:
        """Is it within what was published? None until every run is there."""
        if not self.complete or self.here is None:
            return None
        return self.figure.holds(self.here, self.test_error)


def read(of: Experiment, runs: Mapping[str, Run], seeds: int | None = None) -> list[Reading]:
    """Each figure of the experiment, from the runs that are asked for now."""
    mine = [runs[t.key()] for t in of.trials(seeds) if t.key() in runs]
    found = []
    for figure in of.figures:
        its = [run for run in mine if run.model == figure.model]
        found.append(
            Reading(
                figure=figure,
                each=tuple(run.score(of, lengths_read(of, figure)) for run in its),
                learned=tuple(run.score(of, [of.longest_trained]) for run in its),
                wanted=seeds or of.seeds,
                test_error=_test_error(of, figure, its[0]) if its else 0.0,
            )
        )
    return found


def _test_error(of: Experiment, figure: Figure, run: Run) -> float:
    lengths = lengths_read(of, figure)
    chance = statistics.fmean(run.accuracy[str(n)][1] for n in lengths) if of.scaled else 0.0
    right = min(1.0, max(0.0, figure.published * (1 - chance) + chance))
    return 2 * math.sqrt(right * (1 - right) / (SAMPLES * len(lengths))) / (1 - chance)


def document(
    of: Experiment, runs: Mapping[str, Run], command: str, seeds: int | None = None
) -> dict[str, Any]:
    """All that is known of an experiment, as plain JSON values."""
    readings = read(of, runs, seeds)
    keys = {trial.key() for trial in of.trials(seeds)}
    return {
        "schema_version": SCHEMA_VERSION,
        "experiment": of.id,
        "command": command,
        "complete": all(reading.complete for reading in readings),
        "figures": [
            dataclasses.asdict(r.figure)
            | {"here": r.here, "within": r.within, "runs": len(r.each), "wanted": r.wanted}
            for r in readings
        ],
        "runs": [dataclasses.asdict(run) for key, run in runs.items() if key in keys],
    }


@functools.cache
def committed(name: str) -> dict[str, Run]:
    """The runs that came with the package, by key; none where the experiment was not run yet."""
    file = FOLDER / "results" / f"{name}.json"
    if not file.is_file():
        return {}
    runs = json.loads(file.read_text("utf-8"))["runs"]
    return {
        run["key"]: Run(**run | {"accuracy": {n: tuple(a) for n, a in run["accuracy"].items()}})
        for run in runs
    }
