"""What single runs did: learning curves, and how often they pass at each N."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from kbench.errors import KbenchError
from kbench.report.document import Result, TrialRow
from kbench.report.figures.palette import colour
from kbench.report.figures.plots import (
    STYLE,
    Picture,
    by_length_figure,
    kappa_figure,
    sharing_figure,
)
from kbench.report.format import lengths_words, task_name
from kbench.study.searches import CellRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = "#444444"
MAX_PANELS = 60
"""More make a picture that nobody reads and that takes minutes to draw."""


def curves_figure(results: Sequence[Result]) -> Figure:
    """Validation loss against step, a panel for each cell and set of lengths.

    Runs that pass are drawn solid, others thin; the colour says N, light for small.
    """
    panels = {
        name: shown
        for name, trials in _panels(results).items()
        if (shown := [trial for trial in trials if trial.curve])
    }
    if not panels:
        raise KbenchError(
            "nothing to plot: no learning curve is stored (runs of kbench before 0.2 kept none)"
        )
    with matplotlib.rc_context(STYLE):
        figure, grid = _grid(len(panels))
        for axes, (name, trials) in zip(grid, panels.items(), strict=False):
            sizes = sorted({trial.n_samples for trial in trials})
            for trial in sorted(trials, key=lambda t: t.n_samples):
                passed = trial.outcome == "passed"
                shade = 0.25 + 0.75 * (sizes.index(trial.n_samples) + 1) / len(sizes)
                axes.plot(
                    *zip(*trial.curve, strict=True),
                    color=matplotlib.colormaps["viridis_r"](shade),
                    linewidth=1.4 if passed else 0.6,
                    alpha=1.0 if passed else 0.6,
                    marker="." if len(trial.curve) == 1 else None,
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            _plain_ticks(axes)
            axes.set_title(f"{name}\nN = {sizes[0]} to {sizes[-1]}", fontsize=8)
            axes.set_xlabel("step", fontsize=8)
        grid[0].set_ylabel("validation loss, nats", fontsize=8)
    return figure


def success_figure(results: Sequence[Result]) -> Figure:
    """Share of seeds that pass at each N tried, a panel for each cell and set of lengths.

    The band is the interval of N* over seeds and the line its estimate. Not every seed tries every
    N: a larger mark stands for more seeds.
    """
    panels = _panels(results)
    if not panels:
        raise KbenchError("nothing to plot: these results hold no trials")
    medians = {
        name: n_star.over_seeds
        for result in results
        for lengths, n_star in result.searches.items()
        for name in [_name(result, lengths)]
    }
    with matplotlib.rc_context(STYLE):
        figure, grid = _grid(len(panels))
        for axes, (name, trials) in zip(grid, panels.items(), strict=False):
            by_size: dict[int, dict[int, bool]] = {}
            for trial in trials:
                seeds = by_size.setdefault(trial.n_samples, {})
                passed = trial.outcome == "passed"
                seeds[trial.seed] = seeds.get(trial.seed, False) or passed
            sizes = sorted(by_size)
            shares = [sum(by_size[n].values()) / len(by_size[n]) for n in sizes]
            own = colour(name.partition(",")[0])
            axes.plot(sizes, shares, color=own, linewidth=1)
            marks = [12 * len(by_size[n]) for n in sizes]
            axes.scatter(sizes, shares, marks, color=own, zorder=3)
            n_star = medians[name]
            if n_star.estimate is not None:
                axes.axvline(n_star.estimate, color=BAND, linewidth=1)
            if n_star.low is not None and n_star.high is not None:
                axes.axvspan(n_star.low, n_star.high, color=BAND, alpha=0.2, linewidth=0)
            axes.set_xscale("log")
            axes.set_ylim(-0.05, 1.05)
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.set_title(name, fontsize=8)
            axes.set_xlabel("N, training samples", fontsize=8)
        grid[0].set_ylabel("share of seeds that pass", fontsize=8)
    return figure


def _panels(results: Iterable[Result]) -> dict[str, list[TrialRow]]:
    """The searches' runs, by what stands above their panel."""
    panels: dict[str, list[TrialRow]] = {}
    for result in results:
        for trial in result.trials:
            if not trial.tested:
                panels.setdefault(_name(result, trial.lengths), []).append(trial)
    if len(panels) > MAX_PANELS:
        raise KbenchError(
            f"{len(panels)} panels are too many for one picture, at most {MAX_PANELS}: "
            "choose by --model, --task or --supervision"
        )
    return panels


def _name(result: Result, lengths: Sequence[int]) -> str:
    span = f"n = {lengths_words(lengths)}"
    over = f" {result.distribution}" if result.distribution else ""
    return f"{result.model}, {task_name(result)}\n{result.supervision}{over}, {span}"


def _grid(count: int) -> tuple[Figure, list["Axes"]]:
    """At most four panels a row; those left over are not shown."""
    columns = min(count, 4)
    lines = math.ceil(count / columns)
    figure = Picture(figsize=(2.6 * columns + 0.6, 2.4 * lines + 0.3), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten().tolist()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid


def _plain_ticks(axes: Any) -> None:
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


PLOTS: Mapping[str, Callable[[Sequence[CellRun], Sequence[Result]], Figure]] = {
    "kappa-by-length": lambda runs, results: by_length_figure(runs),
    "kappa": lambda runs, results: kappa_figure(runs),
    "extrapolation": lambda runs, results: sharing_figure(runs),
    "curves": lambda runs, results: curves_figure(results),
    "success": lambda runs, results: success_figure(results),
}
"""What can be drawn of results, by name."""


def named(path: Path) -> Callable[[Sequence[CellRun], Sequence[Result]], Figure]:
    """What a file's name begins with: `curves.svg`, `curves-lstm.svg`; else `extrapolation`."""
    name = next((name for name in PLOTS if path.stem.startswith(name)), "extrapolation")
    return PLOTS[name]
