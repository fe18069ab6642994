"""Published figures beside those measured here: in the terminal, and as a page of the docs."""

from collections.abc import Sequence

from kbench.report.grid import Grid
from kbench.reproduce.experiment import Experiment, Figure
from kbench.reproduce.results import Reading

SENSES = {"is": "", "at_least": "≥ ", "at_most": "≤ "}


def what(of: Experiment, figure: Figure) -> str:
    """As in `Vanilla RNN, 64 positions` or `Mamba [0, 1], best`."""
    extent = f", {figure.at[0]} positions" if of.score == "positions" else ""
    over = "" if figure.over == "mean" else f", {figure.over}"
    return f"{figure.label}{extent}{over}"


def published(figure: Figure) -> str:
    """`0.661 ± 0.035`; without a spread `0.727 (± 0.05)`, which was fixed here; or a bound."""
    number = f"{SENSES[figure.sense]}{figure.published:.3f}"
    if figure.spread is not None:
        return f"{number} ± {figure.spread:.3f}"
    return number if figure.tolerance is None else f"{number} (± {figure.tolerance:g})"


def here(reading: Reading) -> str:
    """`0.655 [0.610, 0.702]`, the least and the most of the runs in brackets."""
    if reading.here is None:
        return "not run"
    text = f"{reading.here:.3f} [{min(reading.each):.3f}, {max(reading.each):.3f}]"
    return text if reading.complete else f"{text}, {len(reading.each)} of {reading.wanted} runs"


def within(reading: Reading) -> str:
    """`yes`, `no`, or nothing while runs are missing."""
    return {True: "yes", False: "no", None: ""}[reading.within]


def learned(reading: Reading) -> str:
    """The score at the longest length that was trained, the mean of the runs."""
    return f"{sum(reading.learned) / len(reading.learned):.2f}" if reading.learned else ""


def verdict(readings: Sequence[Reading]) -> str:
    """`7 of 10 within`, with what is missing; `not run`."""
    judged = [r for r in readings if r.within is not None]
    missing = len(readings) - len(judged)
    if not any(r.each for r in readings):
        return "not run"
    text = f"{sum(map(bool, (r.within for r in judged)))} of {len(judged)} within"
    return f"{text}, {missing} incomplete" if missing else text


def listing(found: Sequence[tuple[Experiment, Sequence[Reading]]]) -> Grid:
    """Every experiment, and what came of it."""
    table = Grid(
        "Published experiments: kbench reproduce NAME runs one",
        names=["name"], figures=["published figures", "as run for this version"], prose=["what"],
    )  # fmt: skip
    for of, readings in found:
        table.add_row(of.name, str(len(of.figures)), verdict(readings), of.title)
    return table


def comparison(of: Experiment, readings: Sequence[Reading]) -> Grid:
    """Published beside here, of one experiment."""
    table = Grid(
        f"{of.name}: {of.title}",
        names=["figure", "model"],
        figures=["published", "here", "within", f"n = {of.longest_trained}"],
    )
    table.notes += [of.source, f"Scaled down: {of.scaled_down}"]
    for r in readings:
        table.add_row(
            what(of, r.figure), r.figure.model, published(r.figure), here(r), within(r), learned(r)
        )
    return table
