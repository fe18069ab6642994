"""Plots, drawn by matplotlib without a display: the same bytes for the same numbers."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from kbench.errors import KbenchError
from kbench.report.figures.palette import MARKERS, colour
from kbench.report.format import decimals, interval_text, model_name, task_name
from kbench.report.readings import Scaling, answer_beyond
from kbench.statistics.likelihood import Interval
from kbench.study.cell import Cell
from kbench.study.searches import CellRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = ("-", "--", ":", "-.")
STYLE: Any = {
    "svg.hashsalt": "kbench",  # the same ids every time
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "font.size": 10,
}


class Picture(Figure):
    """A figure that a notebook shows by itself, without pyplot."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.savefig(out, format="png", dpi=100)
        return out.getvalue()


def scaling_figure(rows: Sequence[Scaling]) -> Figure:
    """N* against size on log axes: medians over seeds with their intervals.

    An arrow begins at the end of an interval that has only one.
    """
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for i, row in enumerate(rows):
            _scaling_series(axes, row, i, len(rows))
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = sorted({size for row in rows for size in row.sizes})
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        first = rows[0]
        axes.set_xlabel(
            "longest length L"
            if first.over == "L"
            else first.over
            if all(value.isdecimal() for value in first.values)
            else f"different answers, {first.over} = {', '.join(first.values)}"
        )
        axes.set_ylabel("N*, samples for all lengths together")
        axes.set_title(f"{first.runs[0].cell.task}, protocol {first.runs[0].cell.protocol.id}")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _scaling_series(axes: "Axes", row: Scaling, i: int, n: int) -> None:
    cell = row.runs[0].cell
    look = _look(cell)
    shift = 1 + 0.02 * (i - (n - 1) / 2)  # so that series do not hide each other
    line = []
    for size, run in zip(row.sizes, row.runs, strict=True):
        n_star, x = run.n_star(run.cell.joint), size * shift
        if n_star.estimate is not None:
            line.append((x, n_star.estimate))
        _interval_mark(axes, "y", n_star, x, look)
    if line:
        axes.plot(*zip(*line, strict=True), color=look["color"], linewidth=1)
    names = f"{model_name(cell)} {cell.supervision} {cell.distribution}"
    label = f"{names}\nslope {interval_text(row.slope(), decimals)}"
    axes.errorbar([], [], label=label, **look)


def kappa_figure(runs: Sequence[CellRun]) -> Figure:
    """κ of each cell as a forest plot: the median over seeds with its interval.

    A hollow mark with an arrow is the end of an interval that has only one.
    """
    shown = [run for run in runs if run.cell.distribution is None and run.searched]
    if not shown:
        raise KbenchError("nothing to plot: no cell's searches for κ have all ended")
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=(8, 1.2 + 0.32 * len(shown)), layout="constrained")
        axes = figure.subplots()
        for y, run in enumerate(shown):
            _interval_mark(axes, "x", run.kappa, y, _look(run.cell))
        axes.set_yticks(
            range(len(shown)),
            [f"{model_name(r.cell)}, {task_name(r.cell)}, {r.cell.supervision}" for r in shown],
        )
        axes.invert_yaxis()
        _kappa_axis(axes)
    return figure


def by_length_figure(runs: Sequence[CellRun]) -> Figure:
    """κ(L), of the lengths up to L, against L: medians over seeds with their intervals.

    A hollow mark with an arrow is the end of an interval that has only one; where a model did not
    learn the lengths together, or nothing is known, there is no mark.
    """
    shown = [run for run in runs if run.searched and len(run.cell.together) > 1]
    if not shown:
        raise KbenchError(
            "nothing to plot: no cell whose searches have all ended has κ by length "
            "(protocols with `by_length: true` measure it)"
        )
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        tasks = list(dict.fromkeys(task_name(run.cell) for run in shown))
        for i, run in enumerate(shown):
            look, line = _look(run.cell), []
            for together in run.cell.together:
                if run.verdict_of(together) == "not-learned":
                    continue
                kappa = run.kappa_of(together)
                x = together[-1] + 0.06 * (i - (len(shown) - 1) / 2)
                if kappa.estimate is not None:
                    line.append((x, kappa.estimate))
                _interval_mark(axes, "y", kappa, x, look)
            if line:
                task = tasks.index(task_name(run.cell)) % len(LINES)
                axes.plot(*zip(*line, strict=True), color=look["color"], lw=1, ls=LINES[task])
            names = f"{model_name(run.cell)}, {task_name(run.cell)}, {run.cell.supervision}"
            axes.errorbar([], [], label=names, **look)
        _kappa_axis(axes, "y")
        axes.xaxis.set_major_locator(
            FixedLocator(sorted({n[-1] for r in shown for n in r.cell.together}))
        )
        axes.set_xlabel("longest length L")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def sharing_figure(runs: Sequence[CellRun]) -> Figure:
    """κ against the accuracy at twice the training length, one mark for each row of a κ table.

    κ is the median over seeds with its interval, an arrow where that has only one end. The accuracy
    is chance-normalised, its bar from the least to the most of the seeds.
    """
    points = [(run, beyond) for run in runs if (beyond := answer_beyond(run))]
    if not points:
        raise KbenchError(
            "nothing to plot: no complete κ with accuracies at twice the training length "
            "(`kbench run --extrapolate 2x` measures them)"
        )
    tasks = {(task_name(run.cell), run.cell.lengths, run.cell.protocol.id) for run, _ in points}
    if len(tasks) > 1:
        named = "; ".join(f"{name} to {n[-1]}, {protocol}" for name, n, protocol in sorted(tasks))
        raise KbenchError(f"one plot is of one task, lengths and protocol, here are {named}")
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        names = {model_name(run.cell): colour(run.cell.model) for run, _ in points}
        ways = list(dict.fromkeys(run.cell.supervision for run, _ in points))
        for run, accuracies in points:
            y = sum(accuracies) / len(accuracies)
            spread = [[y - min(accuracies)], [max(accuracies) - y]]
            _interval_mark(axes, "x", run.kappa, y, _look(run.cell) | {"yerr": spread})
        axes.axhline(0, color="#888888", linewidth=1)
        _kappa_axis(axes)
        axes.set_ylabel("accuracy at twice the training length\n(0 chance, 1 perfect)")
        cell = points[0][0].cell
        axes.set_title(
            f"{task_name(cell)}, lengths to {cell.lengths[-1]}, protocol {cell.protocol.id}"
        )
        key = [
            Line2D([], [], color="#444444", marker=MARKERS[way], ls="none", label=way)
            for way in ways
        ] + [Line2D([], [], color=of, linewidth=4, label=name) for name, of in names.items()]
        axes.legend(handles=key, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _look(cell: Cell) -> dict[str, Any]:
    """The model's colour and the supervision's shape."""
    return {"color": colour(cell.model), "marker": MARKERS[cell.supervision], "capsize": 2,
            "linestyle": "none"}  # fmt: skip


def _kappa_axis(axes: "Axes", along: str = "x") -> None:
    """κ along `x` or `y`, in powers of two, with a line at 1."""
    axes.set(**{f"{along}scale": "log", f"{along}label": "sharing factor κ"})
    line, axis = (axes.axvline, axes.xaxis) if along == "x" else (axes.axhline, axes.yaxis)
    line(1, color="#888888", linewidth=1)
    axis.set_major_locator(LogLocator(base=2))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _interval_mark(
    axes: "Axes", along: str, interval: Interval, at: float, look: Mapping[str, Any]
) -> None:
    """An estimate with its interval along `x` or `y`; an arrow from the end of one with one end."""
    low, high, estimate = interval.low, interval.high, interval.estimate
    more: dict[str, Any] = dict(look)
    if estimate is not None:
        value = estimate
        if low is not None and high is not None:
            more[f"{along}err"] = [[max(value - low, 0)], [max(high - value, 0)]]
    elif high is not None:
        value = high
        more |= {f"{along}err": high / 4, "mfc": "white"}
        more["xuplims" if along == "x" else "uplims"] = True
    elif low is not None:
        value = low
        more |= {f"{along}err": low / 2, "mfc": "white"}
        more["xlolims" if along == "x" else "lolims"] = True
    else:
        return
    axes.errorbar(*((value, at) if along == "x" else (at, value)), **more)


def save(figure: Figure, path: Path) -> None:
    """Write a figure, the same bytes for the same numbers; raises KbenchError."""
    undated = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    try:
        with matplotlib.rc_context(STYLE):
            figure.savefig(path, metadata=undated, dpi=150)
    except OSError as error:
        raise KbenchError(f"the plot {path} cannot be written: {error.strerror}") from None
