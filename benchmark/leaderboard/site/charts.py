"""The geometry of the site's pictures of single runs: how often they pass, and how they learn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kbench.leaderboard.board import Row
from kbench.leaderboard.site.figures import Axis, shortened
from kbench.report.figures.palette import colour
from kbench.report.format import lengths_words
from kbench.study.cell import Lengths

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 250, 168, 42, 36, 24
DASHES = {"outcome": "1 3", "cot": "5 3", "aligned": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One run, or one share of seeds against N."""

    points: str
    says: str
    faint: bool = False
    dash: str = ""
    marks: Sequence[tuple[float, float, float]] = ()
    """x, y and radius."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Lines over a log axis."""

    title: str
    colour: str
    lines: Sequence[Line]
    x_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    band: tuple[float, float] | None = None
    """The interval of N* over seeds: where it begins, and how wide it is."""
    middle: float | None = None
    width: int = WIDTH
    height: int = HEIGHT


def success(row: Row) -> list[Chart]:
    """The share of seeds that pass at each N tried, one chart for each search of an entry."""
    charts = []
    for lengths, sizes in _by_size(row).items():
        axis = _sizes_axis([*sizes])
        n_star = row.run.n_star(lengths)
        band = None
        if n_star.low is not None and n_star.high is not None:
            start = axis.at(n_star.low)
            band = (start, round(axis.at(n_star.high) - start, 1))
        charts.append(
            _shares(
                f"n = {lengths_words(lengths)}", row, axis, [_success_line(row, axis, sizes)], band,
                axis.at(n_star.estimate) if n_star.estimate is not None else None,
            )
        )  # fmt: skip
    return charts


def success_together(rows: Sequence[Row]) -> Chart:
    """The same over all lengths together, of one model under several supervisions."""
    sizes = {row.supervision: _by_size(row).get(row.run.cell.joint, {}) for row in rows}
    axis = _sizes_axis([n for of in sizes.values() for n in of])
    lines = [_success_line(row, axis, sizes[row.supervision]) for row in rows]
    return _shares("seeds that pass, all lengths", rows[0], axis, lines)


def _by_size(row: Row) -> Mapping[Lengths, Mapping[int, Mapping[int, bool]]]:
    """Lengths, N and seed: did any recipe pass?"""
    found: dict[Lengths, dict[int, dict[int, bool]]] = {}
    for trial in row.entry.trials:
        if not trial.tested:
            seeds = found.setdefault(tuple(trial.lengths), {}).setdefault(trial.n_samples, {})
            passed = trial.outcome == "passed"
            seeds[trial.seed] = seeds.get(trial.seed, False) or passed
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


def _success_line(row: Row, axis: Axis, sizes: Mapping[int, Mapping[int, bool]]) -> Line:
    """Marks: of the seeds that tried this N. The line: seeds that passed there or below."""
    marks, says = [], []
    line: list[tuple[float, float]] = []
    known: set[int] = set()
    for n, seeds in sorted(sizes.items()):
        passed = sum(seeds.values())
        known |= {seed for seed, has_passed in seeds.items() if has_passed}
        marks.append((axis.at(n), _share_y(passed / len(seeds)), round(1.2 + len(seeds) ** 0.5, 1)))
        before = line[-1][1] if line else _share_y(0)
        line += [(axis.at(n), before), (axis.at(n), _share_y(len(known) / len(row.run.seeds)))]
        says.append(f"{n}: {passed} of {len(seeds)}")
    return Line(
        points=_points(line), marks=marks, dash=DASHES[row.supervision],
        says=f"{row.supervision}, seeds that pass by N: " + ", ".join(says),
    )  # fmt: skip


def _shares(
    title: str, row: Row, axis: Axis, lines: Sequence[Line],
    band: tuple[float, float] | None = None, middle: float | None = None,
) -> Chart:  # fmt: skip
    return Chart(
        title=shortened(title, 38), colour=colour(row.architecture), lines=lines,
        x_label="N, training samples", x_ticks=axis.readable(4),
        y_ticks=[(_share_y(v), f"{v:.0%}".replace("%", " %")) for v in (0.0, 0.5, 1.0)],
        band=band, middle=middle,
    )  # fmt: skip


def _share_y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _sizes_axis(sizes: Sequence[int]) -> Axis:
    low, high = min(sizes, default=1), max(sizes, default=10)
    return Axis(low=low / 1.25, high=max(high * 1.25, low * 4), start=LEFT, end=WIDTH - 18)


def learning(row: Row) -> dict[Lengths, Chart]:
    """Validation loss by step of the runs whose curves a store has, by lengths trained on."""
    runs: dict[Lengths, list[tuple[int, str, Sequence[Sequence[float]]]]] = {}
    for trial in row.entry.trials:
        if not trial.tested and (curve := row.curves.get(trial.digest)):
            of = runs.setdefault(tuple(trial.lengths), [])
            of.append((trial.n_samples, trial.outcome, curve))
    ordered = sorted(runs.items(), key=lambda item: (len(item[0]), item[0]))
    eps = row.run.cell.protocol.training.eps
    return {lengths: _learning_chart(row, lengths, of, eps) for lengths, of in ordered}


def _learning_chart(
    row: Row,
    lengths: Lengths,
    runs: Sequence[tuple[int, str, Sequence[Sequence[float]]]],
    eps: float,
) -> Chart:
    points = [point for _, _, curve in runs for point in curve if point[1] > 0]
    steps, losses = [p[0] for p in points], [p[1] for p in points]
    x = Axis(low=max(min(steps, default=1), 1), high=max([*steps, 10]) * 1.1, start=LEFT,
             end=WIDTH - 18)  # fmt: skip
    y = Axis(low=min([*losses, eps]) / 1.2, high=max([*losses, 1.0]) * 1.2, start=HEIGHT - BOTTOM,
             end=TOP)  # fmt: skip
    lines = [
        Line(
            points=_points([(x.at(step), y.at(max(loss, y.low))) for step, loss in curve]),
            faint=outcome != "passed",
            says=f"N = {n}: {outcome}",
        )
        for n, outcome, curve in sorted(runs, key=lambda run: run[1])
    ]
    return Chart(
        title=f"n = {lengths_words(lengths)}", colour=colour(row.architecture), lines=lines,
        x_label="step", x_ticks=x.readable(4),
        y_ticks=[(y.at(10.0**i), f"{10.0**i:g}") for i in _powers(y)],
    )  # fmt: skip


def _powers(axis: Axis) -> range:
    first, last = math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high))
    return range(first, last + 1, 1 + (last - first) // 4)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
