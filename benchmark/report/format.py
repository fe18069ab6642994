"""How names and numbers are written: in the terminal, on boards, pages and plots alike."""

from collections.abc import Mapping
from typing import Any

from kbench.statistics.brackets import Bracket
from kbench.statistics.sharing import Interval, PerSeed
from kbench.study.cell import Cell


def model_name(cell: Cell) -> str:
    """The model, with its backend where that is not plain torch."""
    return cell.model if cell.backend == "torch" else f"{cell.model} ({cell.backend})"


def task_name(cell: Cell) -> str:
    """Task and parameters, as in `modadd m=3`."""
    return f"{cell.task} {parameters_text(cell.task_params)}".rstrip()


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """As in `w=3 h=3`."""
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def bracket_text(bracket: Bracket) -> str:
    """`49–66`, with `> 49` where nothing passes and `≤ 1` where everything does; `…` if unknown."""
    if bracket.high is None:
        return f"> {bracket.low}" if bracket.low else "…"
    return f"{bracket.low}–{bracket.high}" if bracket.low else f"≤ {bracket.high}"


def interval_text(interval: Interval) -> str:
    """`1.9 – 2.3`, `< 0.55` or `> 2.1` where one bound is missing."""
    low, high = interval.low, interval.high
    if low is None:
        return "not identified" if high is None else f"< {figures(high)}"
    return f"> {figures(low)}" if high is None else f"{figures(low)} – {figures(high)}"


def per_seed_text(per_seed: PerSeed) -> str:
    """`2.1 [1.6, 2.8]`, or a dash where some seed has no bounded N*."""
    if per_seed.estimate is None:
        return "–"
    if per_seed.low is None or per_seed.high is None:
        return f"{figures(per_seed.estimate)} (one seed)"
    low, high = figures(per_seed.low), figures(per_seed.high)
    return f"{figures(per_seed.estimate)} [{low}, {high}]"


def figures(x: float) -> str:
    """Three of them, as in `0.287`."""
    return f"{x:#.3g}".rstrip(".")


def slope_text(best: Interval, per_seed: PerSeed) -> str:
    """`1.20 [0.90, 1.50]`, else the bounds: `1.10 – 1.40`, `> 1.10` or `< 1.40`."""
    if per_seed.estimate is not None and per_seed.low is not None and per_seed.high is not None:
        return f"{per_seed.estimate:.2f} [{per_seed.low:.2f}, {per_seed.high:.2f}]"
    if best.low is None:
        return "not identified" if best.high is None else f"< {best.high:.2f}"
    return f"> {best.low:.2f}" if best.high is None else f"{best.low:.2f} – {best.high:.2f}"
