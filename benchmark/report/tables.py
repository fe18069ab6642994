"""What is told of a cell in the terminal: tables, and how their figures are written."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from kbench.report.format import (
    bracket_text,
    decimals,
    interval_text,
    kappa_text,
    lengths_words,
    model_name,
    parameters_text,
    percent,
    task_name,
)
from kbench.report.grid import Grid
from kbench.report.readings import Scaling, best_kappa, extrapolation, memorised
from kbench.statistics.brackets import best_of_grid
from kbench.statistics.sharing import memorised_share
from kbench.study.cell import Cell, Lengths
from kbench.study.searches import CellRun


def tables(runs: Sequence[CellRun]) -> RenderableType:
    """κ and N* of every cell, per protocol, set of lengths and split; then what was tested."""
    groups: dict[tuple[str, Lengths, float | None], list[CellRun]] = {}
    for run in runs:
        split = run.cell.protocol.id, run.cell.lengths, run.cell.hold_out_pairs
        groups.setdefault(split, []).append(run)
    parts: list[RenderableType] = []
    for (protocol, lengths, _), group in groups.items():
        span = f"lengths {lengths_words(lengths)}, protocol {protocol}"
        if shared := _untested(run for run in group if run.cell.distribution is None):
            parts.append(_kappa_table(shared, f"Sharing factor κ: {span}"))
            if shared[0].cell.protocol.by_length:
                parts.append(_by_length_table(shared))
            parts.append(_n_star_table(shared))
        if drawn := _untested(run for run in group if run.cell.distribution is not None):
            parts.append(_distribution_table(drawn, f"N* by length distribution: {span}"))
        if tested := [run for run in group if run.cell.extrapolate]:
            parts.append(_extrapolation_table(tested))
    return Group(*(part for i, part in enumerate(parts) for part in ([""] if i else []) + [part]))


def _untested(runs: Iterable[CellRun]) -> list[CellRun]:
    """Each once, of cells that differ only in what was tested of them."""
    cells = {repr(dataclasses.replace(run.cell, extrapolate=())): run for run in runs}
    return list(cells.values())


NOTES = {
    "‡": "‡: so much of Σ N*_n is lengths whose samples ran out before they were learned",
    "(all)": "(all): all training samples there are do not suffice",
    "unfit": "unfit: runs did not even fit their training set, so samples are not what they lack",
    "°": "°: with runs from before kbench recorded why they failed; they count as too few samples",
}
"""What the marks in tables mean."""


def _notes(table: Grid, *more: str) -> Grid:
    """With a line below for each mark that is used."""
    cells = [cell for row, _ in table.rows for cell in row]
    used = [note for mark, note in NOTES.items() if any(mark in cell for cell in cells)]
    table.notes += [*used, *more]
    return table


def _kappa_table(runs: Sequence[CellRun], title: str) -> Grid:
    protocol = runs[0].cell.protocol
    table = Grid(
        title,
        names=["model", "task", "supervision"],
        figures=[
            "seeds",
            *(["reach", "κ to n ="] if protocol.by_length else []),
            f"κ over seeds ({percent(protocol.confidence)})",
            "verdict",
            "κ best of grid",
        ],
    )
    for names, run in zip(_row_names(runs), runs, strict=True):
        table.add_row(
            *names,
            run.cell.supervision,
            str(len(run.seeds)),
            *(_reach_and_length(run) if protocol.by_length else ()),
            kappa_text(run.kappa, memorised(run)) if run.searched else "",
            (run.verdict if run.searched else "unfinished") + ("" if run.explained else " °"),
            kappa_text(best_kappa(run), memorised(run)),
        )
    return _notes(table, *_diverged_note(runs), *_seen_note(runs))


def _diverged_note(runs: Sequence[CellRun]) -> Iterator[str]:
    """How many runs ended because a weight was no longer a number."""
    endings = [ending for run in runs for ending in run.results.values()]
    if count := sum(ending.failure == "diverged" for ending in endings):
        yield (
            f"{count} of {len(endings)} runs diverged: a weight or a loss was no longer a number, "
            "which says nothing of samples"
        )


def _seen_note(runs: Sequence[CellRun]) -> Iterator[str]:
    """How much of the validation set a model may know by heart."""
    shares = [share for run in runs if (share := run.seen_prefixes)]
    if shares:
        ends = dict.fromkeys(f"{100 * s:.0f} %" for s in (min(shares), max(shares)))
        span = " to ".join(ends)
        are_judged = not runs[0].cell.protocol.training.only_new_positions
        yield (
            f"aligned: at N* of the lengths together the training set holds {span} of the "
            "validation positions, with all that comes before them"
            + ("" if are_judged else "; the others are judged")
        )


def _reach_and_length(run: CellRun) -> tuple[str, str]:
    return (reach_text(run), str(run.up_to[-1])) if run.searched else ("", "")


def _by_length_table(runs: Sequence[CellRun]) -> Grid:
    columns = [f"to n = {together[-1]}" for together in runs[0].cell.together]
    return _cell_table(
        "κ of the lengths up to n, over seeds", runs, columns,
        lambda run: [_kappa_to(run, together) for together in run.cell.together],
    )  # fmt: skip


def _cell_table(
    title: str,
    runs: Sequence[CellRun],
    columns: Sequence[str],
    texts: Callable[[CellRun], Iterable[str]],
) -> Grid:
    """A row for each cell, below the table of κ, which says the rest."""
    several = len({task_name(run.cell) for run in runs}) > 1
    names = ["model", *(["task"] if several else []), "supervision"]
    table = Grid(title, names=names, figures=columns)
    for (model, task), run in zip(_row_names(runs), runs, strict=True):
        named = (model, task) if several else (model,)
        table.add_row(*named, run.cell.supervision, *texts(run))
    return _notes(table)


def _kappa_to(run: CellRun, together: Lengths) -> str:
    """κ up to a length, or why there is none."""
    if not run.searched:
        return ""
    kappa, verdict = run.kappa_of(together), run.verdict_of(together)
    share = memorised_share(run.alone_up_to(together))
    return verdict if kappa.is_open or verdict == "not-learned" else kappa_text(kappa, share)


def reach_text(run: CellRun) -> str:
    """`6 of 7`, the median over seeds, with `[5 – 7]` where seeds differ; `none` for no length."""
    lengths = run.reach_by_seed
    names = ["none" if n is None else str(n) for n in (run.reach, *_ends(lengths))]
    middle = names[0] if run.reach is None else f"{names[0]} of {run.cell.lengths[-1]}"
    return middle if names[1] == names[2] else f"{middle} [{names[1]} – {names[2]}]"


def _ends(lengths: Sequence[int | None]) -> tuple[int | None, int | None]:
    ordered = sorted(lengths, key=lambda n: n or 0)
    return ordered[0], ordered[-1]


def _n_star_table(runs: Sequence[CellRun]) -> Grid:
    return _cell_table(
        "N*, best of grid: samples needed, between the largest N to fail and the smallest to pass",
        runs, [*(f"n = {n}" for n in runs[0].cell.lengths), "joint"],
        lambda run: [
            bracket_text(best_of_grid(run.brackets(n))) for n in (*run.cell.alone, run.cell.joint)
        ],
    )  # fmt: skip


def _distribution_table(runs: Sequence[CellRun], title: str) -> Grid:
    level = percent(runs[0].cell.protocol.confidence)
    table = Grid(
        title,
        names=["model", "task", "supervision", "distribution"],
        figures=["seeds", f"N* over seeds ({level})", "N* best of grid"],
    )
    for names, run in zip(_row_names(runs), runs, strict=True):
        cell, brackets = run.cell, run.brackets(run.cell.joint)
        table.add_row(
            *names,
            cell.supervision,
            cell.distribution or "",
            str(len(run.seeds)),
            interval_text(run.n_star(cell.joint)) if run.searched else "unfinished",
            bracket_text(best_of_grid(brackets)),
        )
    return _notes(table)


def _extrapolation_table(runs: Sequence[CellRun]) -> Grid:
    lengths = sorted({n for run in runs for n in run.cell.extrapolate})
    table = Grid(
        "Accuracy beyond, (accuracy − chance) / (1 − chance): mean over seeds [least, most]",
        names=["model", "task", "supervision", "trained with"],
        figures=[f"n = {n}" for n in lengths],
    )
    for names, run in zip(_row_names(runs), runs, strict=True):
        cell, rows = run.cell, extrapolation(run)
        for of in dict.fromkeys(row["model_of"] for row in rows):
            chosen = [row for row in rows if row["model_of"] == of]
            sizes = sorted(row["n_samples"] for row in chosen)
            span = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
            failed = sum(row["outcome"] == "failed" for row in chosen)
            note = f", {failed} of {len(chosen)} fail" if failed else ""
            table.add_row(
                *names,
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
        n_star = interval_text(run.n_star(run.cell.joint))
        return f"N* {n_star}, best of grid {bracket_text(best_of_grid(brackets))}"
    text = f"κ {kappa_text(run.kappa, memorised(run))}, {run.verdict}"
    if not run.cell.protocol.by_length:
        return text
    return f"{text} (lengths to {run.up_to[-1]}); reach {reach_text(run)}"


def _row_names(runs: Sequence[CellRun]) -> list[tuple[str, str]]:
    """Model and task; where rows would look the same, with what else tells them apart."""

    def short(cell: Cell) -> tuple[str, ...]:
        return model_name(cell), task_name(cell), cell.supervision, cell.distribution or ""

    def full(cell: Cell) -> tuple[str, str]:
        size = parameters_text(cell.size)
        return (
            f"{model_name(cell)} {size} {_version(cell.model_version)}",
            f"{task_name(cell)} {_version(cell.task_version)}",
        )

    seen = collections.Counter(short(run.cell) for run in runs)
    names = [(model_name(run.cell), task_name(run.cell)) for run in runs]
    return [
        full(run.cell) if seen[short(run.cell)] > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def _version(version: int | str) -> str:
    return f"version {str(version).rpartition(':')[2][:8]}"


def scaling_table(rows: Sequence[Scaling]) -> Grid:
    """N* at each size, and the slope."""
    table = Grid(
        f"N* against {rows[0].over}, protocol {rows[0].runs[0].cell.protocol.id}: "
        f"N* ∝ size^slope, over seeds ({percent(rows[0].runs[0].cell.protocol.confidence)})",
        names=["model", "task", "supervision"],
        figures=[*(_size_name(rows[0], i) for i in range(len(rows[0].sizes))), "slope"],
    )
    for row in rows:
        cell = row.runs[0].cell
        table.add_row(
            model_name(cell),
            cell.task,
            f"{cell.supervision} {cell.distribution}",
            *(bracket_text(best_of_grid(brackets)) for brackets in row.brackets()),
            interval_text(row.slope(), decimals) if row.complete else "unfinished",
        )
    return _notes(table)


def _size_name(row: Scaling, i: int) -> str:
    name = f"{row.over} = {row.values[i]}"
    return name if row.values[i].isdecimal() else f"{name} ({row.sizes[i]})"
