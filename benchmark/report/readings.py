"""What is found out about a cell: its readings, as plain values."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.scaling import slope_bounds, slope_per_seed
from kbench.statistics.search import Probe
from kbench.statistics.sharing import (
    Interval,
    PerSeed,
    sharing_bounds,
    sharing_by_seed,
    sharing_per_seed,
    verdict,
)
from kbench.study.cell import Lengths
from kbench.study.driver import Progress, Results
from kbench.study.searches import CellRun
from kbench.trial import Trial, TrialResult, digest


def result(progress: Progress) -> dict[str, Any]:
    """One cell, complete or not, as plain JSON values."""
    run = progress.run
    cell = run.cell
    return {
        "model": cell.model,
        "model_version": cell.model_version,
        "size": dict(cell.size),
        "backend": cell.backend,
        "task": cell.task,
        "task_version": cell.task_version,
        "task_params": dict(cell.task_params),
        "supervision": cell.supervision,
        "protocol": cell.protocol.id,
        "lengths": list(cell.lengths),
        "distribution": cell.distribution,
        "seeds": list(cell.seeds),
        "extrapolate": list(cell.extrapolate),
        "complete": run.complete,
        "n_star": {
            **{str(n): _n_star(run, (n,)) for (n,) in cell.alone},
            "joint": _n_star(run, cell.joint),
        },
        "kappa": _kappa(run) if cell.distribution is None else None,
        "extrapolation": extrapolation(run),
        "monotonicity_violations": sum(s.search.violations() for s in run.searches.values()),
        "errors": errors(run),
        "trials": {
            "run": progress.trials_run,
            "reused": progress.trials_reused,
            "steps": sum(r.steps for of in (run.results, run.tests) for r in of.values()),
            "digest": digest(sorted(r.digest for r in run.results.values())),
        },
        "wall_s": progress.wall_s,
        "environment": _environment({r.environment for r in run.results.values()}),
    }


def trial_rows(run: CellRun, store: Results) -> list[dict[str, Any]]:
    """Every trial that the cell's searches have asked for, then those that were tested."""
    searched = [
        run.cell.trial(lengths, variant.seed, Probe(variant.n_samples, variant.learning_rate))
        for lengths, variant in sorted(run.results)
    ]
    tested = {t.key(): t for seed in run.cell.seeds for t in run.tested(seed).values()}
    rows = []
    for trial in (*searched, *tested.values()):
        key = trial.key()
        if trained := store.get(key):  # one that broke down is not stored, and is among the errors
            rows.append(
                {
                    "lengths": list(trial.lengths),
                    **trial.variant._asdict(),
                    "tested": list(trial.tested),
                    "outcome": trained.outcome,
                    "reason": trained.reason,
                    "steps": trained.steps,
                    "best_loss": trained.best_loss,
                    "best_step": trained.best_step,
                    "wall_s": trained.wall_s,
                    "data_sha256": dict(trained.data_sha256),
                    "key": key,
                    "curve": [list(point) for point in trained.curve],
                    "digest": trained.digest(""),  # without the key, which holds the version
                }
            )
    return rows


def _kappa(run: CellRun) -> dict[str, Any]:
    best, per_seed = sharing(run)
    return {
        "best_of_grid": {"low": rounded(best.low), "high": rounded(best.high)},
        "per_seed": _per_seed(per_seed),
        "verdict": verdict(best, per_seed),
    }


def _per_seed(per_seed: PerSeed) -> dict[str, Any]:
    return {
        "estimate": rounded(per_seed.estimate),
        "low": rounded(per_seed.low),
        "high": rounded(per_seed.high),
        "seeds": per_seed.seeds,
    }


def extrapolation(run: CellRun) -> list[dict[str, Any]]:
    """Every model tested, one entry per seed and per reason to test it."""
    return [
        {
            "seed": seed,
            "model_of": name,
            "n_samples": trial.n_samples,
            "learning_rate": trial.learning_rate,
            "outcome": result.outcome,
            "reproduced": _is_reproduced(run, trial, result),
            "accuracy": {
                n: {
                    "accuracy": rounded(found["accuracy"]),
                    "chance": rounded(found["chance"]),
                    "normalised": rounded(normalised(found["accuracy"], found["chance"])),
                }
                for n, found in result.accuracy.items()
            },
        }
        for seed in run.cell.seeds
        for name, trial in run.tested(seed).items()
        if (result := run.tests.get(trial.key()))
    ]


def answer_beyond(run: CellRun) -> list[float]:
    """Chance-normalised accuracy at twice the longest length, of each seed's tested model.

    Of the one at the smallest N to pass, or where none passes at the largest N tried. Empty
    unless this is a complete κ, tested there.
    """
    twice = str(2 * run.cell.lengths[-1])
    if run.cell.distribution is not None or not run.complete:
        return []
    found = {
        row["seed"]: row["accuracy"][twice]["normalised"]
        for row in reversed(extrapolation(run))  # the smallest to pass comes first, and stays
        if twice in row["accuracy"]
    }
    return list(found.values())


def normalised(right: float, by_chance: float) -> float:
    """1 for always right, 0 for as good as the best constant answer."""
    return (right - by_chance) / (1 - by_chance)


def _is_reproduced(run: CellRun, trial: Trial, result: TrialResult) -> bool | None:
    """Did the run for the test end as the search's own did? None where the search had none."""
    searched = dataclasses.replace(trial, tested=())
    first, plain = run.ending(searched), dataclasses.replace(result, accuracy={})
    return None if first is None else plain.digest(searched.key()) == first.digest


def sharing(run: CellRun) -> tuple[Interval, PerSeed]:
    """Both readings of κ. Bounds from an unfinished search are wider, not wrong."""
    lengths = [run.brackets(n) for n in run.cell.alone]
    joint = run.brackets(run.cell.joint)
    best = sharing_bounds([best_of_grid(row) for row in lengths], best_of_grid(joint))
    if not run.searched:
        return best, PerSeed(estimate=None, low=None, high=None, seeds=len(run.cell.seeds))
    return best, sharing_per_seed(lengths, joint)


def each_seed(run: CellRun) -> list[Interval]:
    """Bounds on κ of each seed by itself."""
    return sharing_by_seed([run.brackets(n) for n in run.cell.alone], run.brackets(run.cell.joint))


def errors(run: CellRun) -> list[str]:
    """One line for every trial that failed twice."""
    searches = [line for search in run.searches.values() for line in search.errors]
    return sorted(searches) + sorted(run.test_errors)


def _n_star(run: CellRun, lengths: Lengths) -> dict[str, Any]:
    brackets = run.brackets(lengths)
    best = best_of_grid(brackets)
    return {
        **_bracket(best),
        "per_seed": [
            {"seed": seed, **_bracket(b)} for seed, b in zip(run.cell.seeds, brackets, strict=True)
        ],
    }


def _bracket(bracket: Bracket) -> dict[str, Any]:
    return {"low": bracket.low, "high": bracket.high, "censored": bracket.censored}


def _environment(environments: Iterable[str]) -> dict[str, Any]:
    """What the trials ran under; a list where they differ."""
    values: dict[str, set[Any]] = {}
    for environment in environments:
        for name, value in json.loads(environment).items():
            values.setdefault(name, set()).add(value)
    return {n: v.copy().pop() if len(v) == 1 else sorted(v, key=str) for n, v in values.items()}


def rounded(x: float | None) -> float | None:
    """To four figures, as every document has it."""
    return None if x is None else float(f"{x:.4g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """One model on one task under one supervision, at several sizes of the task."""

    over: str
    """What grows: `L`, or a parameter of the task."""
    values: Sequence[str]
    sizes: Sequence[int]
    runs: Sequence[CellRun]

    def brackets(self) -> list[list[Bracket]]:
        """N* of all lengths together, by size and seed."""
        return [run.brackets(run.cell.joint) for run in self.runs]

    def slope(self) -> tuple[Interval, PerSeed]:
        """Of log N* against log size: from the best of the grid, and over seeds."""
        brackets = self.brackets()
        best = slope_bounds(self.sizes, [best_of_grid(row) for row in brackets])
        return best, slope_per_seed(self.sizes, brackets)

    @property
    def complete(self) -> bool:
        """Has every search reached its conclusion?"""
        return all(run.complete for run in self.runs)


def scaling_document(rows: Sequence[Scaling], progress: Sequence[Progress]) -> dict[str, Any]:
    """The whole `--json` document of `kbench scale`."""
    results = []
    for row in rows:
        best, per_seed = row.slope()
        cell = row.runs[0].cell
        results.append(
            {
                "model": cell.model,
                "task": cell.task,
                "supervision": cell.supervision,
                "distribution": cell.distribution,
                "over": row.over,
                "values": list(row.values),
                "sizes": list(row.sizes),
                "complete": row.complete,
                "slope": {
                    "best_of_grid": {"low": rounded(best.low), "high": rounded(best.high)},
                    "per_seed": _per_seed(per_seed),
                },
                "cells": [result(p) for p in progress if p.run in row.runs],
            }
        )
    return {"schema_version": 1, "results": results}
