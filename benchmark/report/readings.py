"""What is found out about a cell: its readings, as plain values."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kbench.errors import KbenchError
from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.likelihood import Interval
from kbench.statistics.scaling import slope_bounds, slope_over_seeds
from kbench.statistics.search import Probe
from kbench.statistics.sharing import (
    memorised_share,
    n_star_over_seeds,
    over_seeds,
    sharing_bounds,
    sharing_by_seed,
    verdict,
)
from kbench.study.cell import Lengths
from kbench.study.driver import Progress, Results
from kbench.study.searches import CellRun
from kbench.trial import Trial, TrialResult, digest


def settings(run: CellRun) -> dict[str, Any]:
    """What a cell measures, as plain JSON values."""
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
        "seeds": list(run.seeds),
        "extrapolate": list(cell.extrapolate),
    }


def result(progress: Progress) -> dict[str, Any]:
    """One cell, complete or not, as plain JSON values."""
    run = progress.run
    cell = run.cell
    return {
        **settings(run),
        "hold_out_pairs": cell.hold_out_pairs,
        "complete": run.complete,
        "n_star": {
            "joint" if lengths == cell.joint else str(lengths[0]): _n_star(run, lengths)
            for lengths in [*cell.alone, cell.joint]
        },
        "kappa": None if cell.distribution is not None else _kappa(run, run.up_to),
        "by_length": {
            str(together[-1]): {"n_star": _n_star(run, together), "kappa": _kappa(run, together)}
            for together in (cell.together if cell.protocol.by_length and cell.alone else ())
        },
        "reach": {
            "median": run.reach,
            "each_seed": [
                {"seed": seed, "length": length}
                for seed, length in zip(run.seeds, run.reach_by_seed, strict=True)
            ],
        }
        if run.reach_by_seed
        else None,
        "seen_prefixes": rounded(run.seen_prefixes),
        "extrapolation": extrapolation(run),
        "monotonicity_violations": run.violations,
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
        run.cell.trial(lengths, variant.seed, Probe(variant.n_samples, variant.recipe))
        for lengths, variant in sorted(run.results)
    ]
    tested = {t.key(): t for seed in run.seeds for t in run.tested(seed).values()}
    rows = []
    for trial in (*searched, *tested.values()):
        key = trial.key()
        # A model that is still to be tested has ended its search and has no such row yet.
        trained, known = store.get(key), None if trial.tested else run.ending(trial)
        if trained is None and known and known.outcome != "error":
            raise KbenchError(
                f"trial {key[:12]} is in the store, and cannot be found by its key: the store is "
                "damaged; `kbench repair` puts it in order"
            )
        if trained:  # one that broke down is not stored, and is among the errors
            rows.append(trial_row(trial, trained))
    return rows


def trial_row(trial: Trial, trained: TrialResult) -> dict[str, Any]:
    """One trial and how it ended, as plain JSON values."""
    return {
        "lengths": list(trial.lengths),
        **trial.variant.columns(),
        "tested": list(trial.tested),
        "outcome": trained.outcome,
        "reason": trained.reason,
        "failure": trained.failure,
        "training_loss": trained.training_loss,
        "steps": trained.steps,
        "best_loss": trained.best_loss,
        "best_step": trained.best_step,
        "seen_prefixes": trained.seen_prefixes,
        "wall_s": trained.wall_s,
        "data_sha256": dict(trained.data_sha256),
        "key": trial.key(),
        "curve": [list(point) for point in trained.curve],
        "digest": trained.digest(""),  # without the key, which holds the version
    }


def _n_star(run: CellRun, lengths: Lengths) -> dict[str, Any]:
    found = n_star_reading(
        run.seeds,
        run.brackets(lengths),
        run.cell.protocol.confidence,
        run.failures(lengths),
    )
    for of in found["per_seed"]:
        of["recipe"] = run.passed_by(lengths, of["seed"], of["high"])
    return found


def _kappa(run: CellRun, together: Lengths) -> dict[str, Any]:
    return kappa_reading(
        run.seeds,
        run.alone_up_to(together),
        run.brackets(together),
        run.cell.protocol.confidence,
        up_to=together[-1],
        searched=run.searched,
    )


def kappa_reading(
    seeds: Sequence[int],
    lengths: Sequence[Sequence[Bracket]],
    joint: Sequence[Bracket],
    confidence: float,
    *,
    up_to: int,
    searched: bool,
) -> dict[str, Any]:
    """κ from brackets, lengths[n][seed] and joint[seed], as documents have it."""
    each = sharing_by_seed(lengths, joint)
    found = over_seeds(each, confidence) if searched else Interval(low=None, high=None)
    return {
        "up_to": up_to,
        "over_seeds": {**_interval(found), "confidence": confidence, "seeds": len(seeds)},
        "each_seed": [
            {"seed": seed, "low": rounded(i.low), "high": rounded(i.high)}
            for seed, i in zip(seeds, each, strict=True)
        ],
        "memorised_share": rounded(memorised_share(lengths)),
        "verdict": verdict(found, joint) if searched else "not-identified",
        "best_of_grid": _ends(best_sharing(lengths, joint)),
    }


def best_sharing(lengths: Sequence[Sequence[Bracket]], joint: Sequence[Bracket]) -> Interval:
    """κ of the best of the grid, as the paper has it: for comparison."""
    return sharing_bounds([best_of_grid(row) for row in lengths], best_of_grid(joint))


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"low": rounded(interval.low), "high": rounded(interval.high)}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"estimate": rounded(interval.estimate), **_ends(interval)}


def n_star_reading(
    seeds: Sequence[int], brackets: Sequence[Bracket], confidence: float, failures: dict[str, int]
) -> dict[str, Any]:
    """N* at one set of lengths, as documents have it."""
    return {
        **_bracket(best_of_grid(brackets)),
        "over_seeds": _interval(n_star_over_seeds(brackets, confidence)),
        "per_seed": [
            {"seed": seed, **_bracket(b)} for seed, b in zip(seeds, brackets, strict=True)
        ],
        "failures": failures,
    }


def extrapolation(run: CellRun) -> list[dict[str, Any]]:
    """Every model tested, one entry per seed and per reason to test it."""
    return [
        {
            "model_of": name,
            **trial.variant.columns(),
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
        for seed in run.seeds
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


def best_kappa(run: CellRun) -> Interval:
    """κ of the best of the grid. Bounds from an unfinished search are wider, not wrong."""
    return best_sharing(run.alone_up_to(run.up_to), run.brackets(run.up_to))


def memorised(run: CellRun) -> float | None:
    """The part of Σ N*_n that is a universe run out, mean over seeds."""
    return memorised_share(run.alone_up_to(run.up_to))


def errors(run: CellRun) -> list[str]:
    """One line for every trial that failed twice."""
    searches = [line for search in run.searches.values() for line in search.errors]
    return sorted(searches) + sorted(run.test_errors)


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

    def slope(self) -> Interval:
        """Of log N* against log size, over seeds; nothing before all searches have ended."""
        if not self.complete:
            return Interval(low=None, high=None)
        confidence = self.runs[0].cell.protocol.confidence
        return slope_over_seeds(self.sizes, self.brackets(), confidence)

    def best_slope(self) -> Interval:
        """What the best of the grid leaves possible."""
        return slope_bounds(self.sizes, [best_of_grid(row) for row in self.brackets()])

    @property
    def complete(self) -> bool:
        """Has every search reached its conclusion?"""
        return all(run.complete for run in self.runs)


def scaling_document(rows: Sequence[Scaling], progress: Sequence[Progress]) -> dict[str, Any]:
    """The whole `--json` document of `kbench scale`."""
    results = []
    for row in rows:
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
                    "over_seeds": _interval(row.slope())
                    | {"confidence": cell.protocol.confidence, "seeds": len(cell.seeds)},
                    "best_of_grid": _ends(row.best_slope()),
                },
                "cells": [result(p) for p in progress if p.run in row.runs],
            }
        )
    return {"schema_version": 2, "results": results}
