"""What is told of a cell: the JSON document and the tables in the terminal."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from kbench.extrapolation import normalised
from kbench.scaling import slope_bounds, slope_per_seed
from kbench.search import Bracket
from kbench.sharing import (
    Interval,
    PerSeed,
    best_of_grid,
    n_star_per_seed,
    sharing_bounds,
    sharing_per_seed,
    verdict,
)
from kbench.study import Cell, CellRun, Lengths, Progress
from kbench.trial import Trial, TrialResult, digest

SCHEMA_VERSION = 1
_DIGITS = 3


def document(progress: Sequence[Progress]) -> dict[str, Any]:
    """The whole `--json` document: floats to four figures, bounds null where there are none."""
    return {"schema_version": SCHEMA_VERSION, "results": [result(p) for p in progress]}


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
        "task_params": dict(cell.task_params),
        "supervision": cell.supervision,
        "protocol": cell.protocol.id,
        "lengths": list(cell.lengths),
        "distribution": cell.distribution,
        "seeds": list(cell.seeds),
        "complete": run.complete,
        "n_star": {
            **{str(n): _n_star(run, (n,)) for (n,) in cell.alone},
            "joint": _n_star(run, cell.joint),
        },
        "kappa": _kappa(run) if cell.distribution is None else None,
        "extrapolation": _extrapolation(run),
        "monotonicity_violations": sum(s.search.violations() for s in run.searches.values()),
        "errors": errors(run),
        "trials": {
            "run": progress.trials_run,
            "reused": progress.trials_reused,
            "steps": sum(r.steps for of in (run.results, run.tests) for r in of.values()),
            "digest": digest(sorted(r.digest(key) for key, r in run.results.items())),
        },
        "wall_s": progress.wall_s,
        "environment": _environment(r.environment for r in run.results.values()),
    }


def _kappa(run: CellRun) -> dict[str, Any]:
    best, per_seed = sharing(run)
    return {
        "best_of_grid": {"low": _round(best.low), "high": _round(best.high)},
        "per_seed": _per_seed(per_seed),
        "verdict": verdict(best, per_seed),
    }


def _per_seed(per_seed: PerSeed) -> dict[str, Any]:
    return {
        "estimate": _round(per_seed.estimate),
        "low": _round(per_seed.low),
        "high": _round(per_seed.high),
        "seeds": per_seed.seeds,
    }


def _extrapolation(run: CellRun) -> list[dict[str, Any]]:
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
                    "accuracy": _round(found["accuracy"]),
                    "chance": _round(found["chance"]),
                    "normalised": _round(normalised(found["accuracy"], found["chance"])),
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
        for row in reversed(_extrapolation(run))  # the smallest to pass comes first, and stays
        if twice in row["accuracy"]
    }
    return list(found.values())


def _is_reproduced(run: CellRun, trial: Trial, result: TrialResult) -> bool | None:
    """Did the run for the test end as the search's own did? None where the search had none."""
    first = run.results.get(dataclasses.replace(trial, tested=()).key())
    plain = dataclasses.replace(result, accuracy={})
    return None if first is None else plain.digest("") == first.digest("")


def sharing(run: CellRun) -> tuple[Interval, PerSeed]:
    """Both readings of κ. Bounds from an unfinished search are wider, not wrong."""
    lengths = [run.brackets(n) for n in run.cell.alone]
    joint = run.brackets(run.cell.joint)
    best = sharing_bounds([best_of_grid(row) for row in lengths], best_of_grid(joint))
    if not run.complete:
        return best, PerSeed(estimate=None, low=None, high=None, seeds=len(run.cell.seeds))
    return best, sharing_per_seed(lengths, joint)


def errors(run: CellRun) -> list[str]:
    """One line for every trial that failed twice."""
    searches = [line for search in run.searches.values() for line in search.errors]
    return searches + run.test_errors


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


def _environment(environments: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the trials ran under; a list where they differ."""
    values: dict[str, set[Any]] = {}
    for environment in environments:
        for name, value in environment.items():
            values.setdefault(name, set()).add(value)
    return {n: v.copy().pop() if len(v) == 1 else sorted(v, key=str) for n, v in values.items()}


def _round(x: float | None) -> float | None:
    return None if x is None else float(f"{x:.4g}")


# Scaling


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
                    "best_of_grid": {"low": _round(best.low), "high": _round(best.high)},
                    "per_seed": _per_seed(per_seed),
                },
                "cells": [result(p) for p in progress if p.run in row.runs],
            }
        )
    return {"schema_version": SCHEMA_VERSION, "results": results}


def scaling_table(rows: Sequence[Scaling]) -> Table:
    """N* at each size, and the slope."""
    table = _table(
        f"N* against {rows[0].over}, protocol {rows[0].runs[0].cell.protocol.id}: "
        "N* ∝ size^slope, best of grid and per seed (95 %)",
        "model", "task", "supervision",
        *(_size_name(rows[0], i) for i in range(len(rows[0].sizes))),
        "slope, best", "slope per seed",
    )  # fmt: skip
    for row in rows:
        cell, (best, per_seed) = row.runs[0].cell, row.slope()
        table.add_row(
            model_name(cell),
            cell.task,
            f"{cell.supervision} {cell.distribution}",
            *(bracket_text(best_of_grid(brackets)) for brackets in row.brackets()),
            interval_text(best) if row.complete else "unfinished",
            per_seed_text(per_seed) if row.complete else "unfinished",
        )
    return table


def _size_name(row: Scaling, i: int) -> str:
    name = f"{row.over} = {row.values[i]}"
    return name if row.values[i].isdecimal() else f"{name} ({row.sizes[i]})"


# Tables


def tables(runs: Sequence[CellRun]) -> RenderableType:
    """κ and N* of every cell, per protocol and set of lengths; then what was tested."""
    groups: dict[tuple[str, Lengths], list[CellRun]] = {}
    for run in runs:
        groups.setdefault((run.cell.protocol.id, run.cell.lengths), []).append(run)
    parts: list[RenderableType] = []
    for (protocol, lengths), group in groups.items():
        span = f"lengths {lengths[0]} to {lengths[-1]}, protocol {protocol}"
        if shared := _untested(run for run in group if run.cell.distribution is None):
            parts += [_kappa_table(shared, f"Sharing factor κ: {span}"), _n_star_table(shared)]
        if drawn := _untested(run for run in group if run.cell.distribution is not None):
            parts.append(_distribution_table(drawn, f"N* by length distribution: {span}"))
        if tested := [run for run in group if run.cell.extrapolate]:
            parts.append(_extrapolation_table(tested))
    return Group(*parts)


def _untested(runs: Iterable[CellRun]) -> list[CellRun]:
    """Each once, of cells that differ only in what was tested of them."""
    cells = {repr(dataclasses.replace(run.cell, extrapolate=())): run for run in runs}
    return list(cells.values())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _kappa_table(runs: Sequence[CellRun], title: str) -> Table:
    table = _table(
        title,
        "model",
        "task",
        "supervision",
        "seeds",
        "κ best of grid",
        "κ per seed (95 %)",
        "verdict",
    )
    for name, run in zip(_row_names(runs), runs, strict=True):
        best, per_seed = sharing(run)
        table.add_row(
            name,
            task_name(run.cell),
            run.cell.supervision,
            str(len(run.cell.seeds)),
            interval_text(best),
            per_seed_text(per_seed),
            verdict(best, per_seed) if run.complete else "unfinished",
        )
    return table


def _n_star_table(runs: Sequence[CellRun]) -> Table:
    table = _table(
        "N*, best of grid: samples needed, as the bracket (largest N to fail, smallest to pass]",
        "model", "task", "supervision", *(f"n = {n}" for n in runs[0].cell.lengths), "joint",
    )  # fmt: skip
    for name, run in zip(_row_names(runs), runs, strict=True):
        brackets = [best_of_grid(run.brackets(n)) for n in (*run.cell.alone, run.cell.joint)]
        cell = run.cell
        table.add_row(name, task_name(cell), cell.supervision, *map(bracket_text, brackets))
    return table


def _distribution_table(runs: Sequence[CellRun], title: str) -> Table:
    table = _table(
        title, "model", "task", "supervision", "distribution", "seeds",
        "N* best of grid", "N* per seed (95 %)",
    )  # fmt: skip
    for name, run in zip(_row_names(runs), runs, strict=True):
        cell, brackets = run.cell, run.brackets(run.cell.joint)
        table.add_row(
            name,
            task_name(cell),
            cell.supervision,
            cell.distribution,
            str(len(cell.seeds)),
            bracket_text(best_of_grid(brackets)),
            per_seed_text(n_star_per_seed(brackets)) if run.complete else "unfinished",
        )
    return table


def _extrapolation_table(runs: Sequence[CellRun]) -> Table:
    lengths = sorted({n for run in runs for n in run.cell.extrapolate})
    table = _table(
        "Accuracy beyond, (accuracy − chance) / (1 − chance): mean over seeds [least, most]",
        "model", "task", "supervision", "trained with", *(f"n = {n}" for n in lengths),
    )  # fmt: skip
    for name, run in zip(_row_names(runs), runs, strict=True):
        cell, rows = run.cell, _extrapolation(run)
        for of in dict.fromkeys(row["model_of"] for row in rows):
            chosen = [row for row in rows if row["model_of"] == of]
            sizes = sorted(row["n_samples"] for row in chosen)
            span = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
            failed = sum(row["outcome"] != "passed" for row in chosen)
            note = f", {failed} of {len(chosen)} fail" if failed else ""
            table.add_row(
                name,
                task_name(cell),
                " ".join(filter(None, (cell.supervision, cell.distribution))),
                f"N = {span} ({of}{note})",
                *(_accuracy_text(chosen, str(n)) for n in lengths),
            )
    return table


def _accuracy_text(rows: Sequence[Mapping[str, Any]], n: str) -> str:
    values = [row["accuracy"][n]["normalised"] for row in rows if n in row["accuracy"]]
    if not values:
        return ""
    return f"{sum(values) / len(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def headline(run: CellRun) -> str:
    """What is found of a complete cell, on one line."""
    if run.cell.distribution is not None:
        brackets = run.brackets(run.cell.joint)
        per_seed = per_seed_text(n_star_per_seed(brackets))
        return f"N* {bracket_text(best_of_grid(brackets))}, per seed {per_seed}"
    best, kappa = sharing(run)
    return f"κ {interval_text(best)}, per seed {per_seed_text(kappa)}, {verdict(best, kappa)}"


def model_name(cell: Cell) -> str:
    """The model, with its backend where that is not plain torch."""
    return cell.model if cell.backend == "torch" else f"{cell.model} ({cell.backend})"


def _row_names(runs: Sequence[CellRun]) -> list[str]:
    """Model names; where rows would look the same, with what else tells them apart."""

    def short(cell: Cell) -> tuple[str, ...]:
        return model_name(cell), task_name(cell), cell.supervision, cell.distribution or ""

    def full(cell: Cell) -> str:
        size = " ".join(f"{k}={v}" for k, v in cell.size.items())
        version = f"version {str(cell.model_version).rpartition(':')[2][:8]}"
        return " ".join([model_name(cell), size, version])

    seen = collections.Counter(short(run.cell) for run in runs)
    return [full(run.cell) if seen[short(run.cell)] > 1 else model_name(run.cell) for run in runs]


def task_name(cell: Cell) -> str:
    """Task and parameters, as in `modadd m=3`."""
    return with_parameters(cell.task, cell.task_params)


def with_parameters(name: str, parameters: Mapping[str, Any]) -> str:
    """A name and what it is called with."""
    return " ".join([name, *(f"{k}={v}" for k, v in parameters.items())])


def bracket_text(bracket: Bracket) -> str:
    """`49–66`, with `> 49` where nothing passes and `≤ 1` where everything does; `…` if unknown."""
    if bracket.high is None:
        return f"> {bracket.low}" if bracket.low else "…"
    return f"{bracket.low}–{bracket.high}" if bracket.low else f"≤ {bracket.high}"


def interval_text(interval: Interval) -> str:
    """`1.9 – 2.3`, `< 0.55` or `> 2.1` where one bound is missing."""
    low, high = interval.low, interval.high
    if low is None:
        return "not identified" if high is None else f"< {_figures(high)}"
    return f"> {_figures(low)}" if high is None else f"{_figures(low)} – {_figures(high)}"


def per_seed_text(per_seed: PerSeed) -> str:
    """`2.1 [1.6, 2.8]`, or a dash where some seed has no bounded N*."""
    if per_seed.estimate is None:
        return "–"
    if per_seed.low is None or per_seed.high is None:
        return f"{_figures(per_seed.estimate)} (one seed)"
    low, high = _figures(per_seed.low), _figures(per_seed.high)
    return f"{_figures(per_seed.estimate)} [{low}, {high}]"


def _figures(x: float) -> str:
    return f"{x:#.{_DIGITS}g}".rstrip(".")
