"""How names and numbers are written: in the terminal, on boards, pages and plots alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.study.cell import Cell
from kbench.study.parameters import lengths_text

if TYPE_CHECKING:
    from kbench.report.document import Result


def model_name(cell: Cell) -> str:
    """The model, with its backend where that is not plain torch."""
    return cell.model if cell.backend == "torch" else f"{cell.model} ({cell.backend})"


def task_name(of: "Cell | Result") -> str:
    """Task and parameters, as in `modadd m=3`, or `modadd m=3, 10 % of pairs held out`."""
    name = f"{of.task} {parameters_text(of.task_params)}".rstrip()
    share = of.hold_out_pairs
    return name if share is None else f"{name}, {percent(share)} of pairs held out"


def lengths_words(lengths: Sequence[int]) -> str:
    """`2 to 7`, or `4, 6, 10` where some are left out."""
    return lengths_text(lengths, dash=" to ", comma=", ")


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """As in `w=3 h=3`."""
    return " ".join(f"{name}={value}" for name, value in parameters.items())


def bracket_text(bracket: Bracket) -> str:
    """`49–66`, between the largest N to fail and the smallest to pass.

    `> 49` where nothing passes, with `(all)` where those were all samples there are to train on;
    `≤ 1` where nothing is known to fail, `unfit` where runs did not even fit their training set,
    `?` where nothing is known yet.
    """
    if bracket.censored == "unfit":
        return "unfit"
    if bracket.ran_out:
        return f"> {bracket.low or 0} (all)"
    if bracket.high is None:
        return f"> {bracket.low}" if bracket.low else "?"
    return f"{bracket.low}–{bracket.high}" if bracket.low else f"≤ {bracket.high}"


def figures(x: float) -> str:
    """Three of them, as in `0.287`."""
    return f"{x:#.3g}".rstrip(".")


def decimals(x: float) -> str:
    """Two of them, as in `-0.29`: for slopes, which may be about 0."""
    return f"{x:.2f}"


def interval_text(interval: Interval, number: Callable[[float], str] = figures) -> str:
    """`2.1 [1.6, 2.8]`; `1.9 – 2.3` without an estimate; `< 0.55` or `> 2.1` for a single end.

    `2.1 (no interval)` where seeds are one, or too few for either end.
    """
    low, high, estimate = (
        None if x is None else number(x) for x in (interval.low, interval.high, interval.estimate)
    )
    if low is None and high is None:
        return "not identified" if estimate is None else f"{estimate} (no interval)"
    if low is None:
        return f"< {high}"
    if high is None:
        return f"> {low}"
    return f"{low} – {high}" if estimate is None else f"{estimate} [{low}, {high}]"


def kappa_text(kappa: Interval, memorised: float | None) -> str:
    """κ, marked where more than half of Σ N*_n is universes run out: `2.1 [1.6, 2.8] ‡ 62 %`."""
    text = interval_text(kappa)
    is_marked = (memorised or 0) > 0.5 and not kappa.is_open
    return f"{text} ‡ {memorised:.0%}".replace("%", " %") if is_marked else text


def percent(confidence: float) -> str:
    """`96 %`."""
    return f"{100 * confidence:.3g} %"
