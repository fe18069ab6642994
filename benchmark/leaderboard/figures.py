"""The geometry of the site's pictures: from rows to pixels. Templates write the SVG.

A picture is never the only place of a figure: each stands beside a table with the same numbers.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kbench.leaderboard.board import Row
from kbench.search import Bracket
from kbench.sharing import Interval, best_of_grid
from kbench.tables import bracket_text, interval_text

SUPERVISIONS = ("outcome", "cot", "aligned")
SHAPES = {"outcome": "circle", "cot": "square", "aligned": "triangle"}
"""Beside the colour, so that it is not all that tells them apart."""
STEPS = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)
"""Where the colours of κ change; `isolated` is the middle one."""
WIDEST = 2.0**10
"""κ beyond this, or below its inverse, is drawn at the edge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """Values on a log scale, as pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies; at the edge if it is beyond."""
        share = math.log(min(max(value, self.low), self.high) / self.low)
        share /= math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, base: int, room: int = 6) -> list[tuple[float, str]]:
        """Where powers of a base lie, 1 among them, and how they are written: `1/4`, `1,000`."""
        first = math.ceil(math.log(self.low, base) - 1e-9)
        last = math.floor(math.log(self.high, base) + 1e-9)
        step = 1 + (last - first) // room
        return [
            (self.at(float(base) ** i), f"{base**i:,}" if i >= 0 else f"1/{base**-i:,}")
            for i in range(first, last + 1)
            if i % step == 0
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """An interval along one direction, in pixels."""

    start: float
    end: float
    mark: float | None
    """Of the best guess; at the bound where there is only one."""
    hollow: bool = False
    """The mark is the middle of bounds, and no estimate."""
    arrow: str = ""
    """`start` or `end`: which of the two is open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a forest plot."""

    row: Row
    name: str
    y: float
    span: Span | None
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Forest:
    """κ of every model under one supervision."""

    title: str
    shape: str
    lines: list[Line]
    axis: Axis
    width: int
    height: int
    x: int = 0
    """Where it stands in a picture of several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """N* of one supervision, or of one seed, over lengths."""

    name: str
    kind: str
    shape: str
    marks: list[tuple[float, Span, str]]
    """x, the bracket along y, and what it says."""
    line: str
    """Points of the line through those with a middle, without that of all lengths together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthPanel:
    """N* against the length; all lengths together on the right."""

    title: str
    series: list[Series]
    axis: Axis
    slots: list[tuple[float, str]]
    universes: str
    """Points of the line of all the samples there are."""
    separator: float
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """κ and the accuracy at twice the longest length."""

    row: Row
    number: int
    shape: str
    span: Span
    y: float
    label: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """κ against extrapolation, on one task."""

    title: str
    points: list[Point]
    names: dict[str, int]
    axis: Axis
    rows: list[tuple[float, str]]
    """Ticks of the accuracy."""
    width: int
    height: int


def kappa_axis(rows: Iterable[Row], start: float, end: float) -> Axis:
    """For κ of all of these, and at least from 1/4 to 4."""
    ends = [e for row in rows for e in (row.kappa.low, row.kappa.high) if e]
    # With room for an arrow beyond the outermost bound.
    low = 2.0 ** math.floor(math.log2(max(0.7 * min([*ends, 0.36]), 1 / WIDEST)))
    high = 2.0 ** math.ceil(math.log2(min(1.4 * max([*ends, 2.8]), WIDEST)))
    return Axis(low=low, high=high, start=start, end=end)


def kappa_span(row: Row, axis: Axis) -> Span | None:
    """The interval that the verdict goes by; None where κ is not bounded at all."""
    low, high, per_seed = row.kappa.low, row.kappa.high, row.sharing[1]
    if low is None and high is None:
        return None
    middle = value(row.kappa)
    exact = per_seed.low is not None and per_seed.estimate is not None
    assert middle is not None
    return Span(
        start=axis.start if low is None else axis.at(low),
        end=axis.end if high is None else axis.at(high),
        mark=axis.at(per_seed.estimate if exact and per_seed.estimate else middle),
        hollow=not exact,
        arrow="start" if low is None else "end" if high is None else "",
    )


def value(interval: Interval) -> float | None:
    """What an interval is sorted and coloured by: its geometric middle, else its only bound."""
    if interval.low is None or interval.high is None:
        return interval.high if interval.low is None else interval.low
    return math.sqrt(interval.low * interval.high)


def tone(interval: Interval) -> str:
    """`k-3` … `k3`, the colour of κ, or `none`.

    A single bound only gets the colour of the side that it decides: `< 1.24` may be anything.
    """
    middle = value(interval)
    if middle is None:
        return "none"
    if (interval.low is None and middle > 1) or (interval.high is None and middle < 1):
        return "none"
    return f"k{sum(middle > step for step in STEPS) - 3}"


def forests(rows: Sequence[Row], models: Sequence[str]) -> list[Forest]:
    """One for each supervision of one task's rows."""
    width, label, text, top, pitch = 340, 122, 88, 26, 20
    axis = kappa_axis(rows, label, width - text)
    found = []
    for supervision in SUPERVISIONS:
        of = {row.model: row for row in rows if row.supervision == supervision}
        if not of:
            continue
        lines = [
            Line(
                row=of[model],
                name=shortened(model, 18),
                y=top + pitch * (i + 0.5),
                span=kappa_span(of[model], axis),
                text=interval_text(of[model].kappa),
            )
            for i, model in enumerate(models)
            if model in of
        ]
        found.append(
            Forest(
                title=supervision, shape=SHAPES[supervision], lines=lines, axis=axis,
                width=width, height=top + pitch * len(models) + 22, x=len(found) * (width + 16),
            )
        )  # fmt: skip
    return found


def shortened(name: str, width: int) -> str:
    """The name, or as much of it as there is room for."""
    return name if len(name) <= width else name[: width - 1] + "…"


@dataclass(kw_only=True, slots=True)
class _Plan:
    """Where lengths lie in a panel."""

    lengths: Sequence[int]
    width: int = 340
    height: int = 210
    left: int = 46
    slots: dict[int | str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        step = (self.width - self.left - 10) / (len(self.lengths) + 1.4)
        for i, n in enumerate(self.lengths):
            self.slots[n] = round(self.left + step * (i + 0.5), 1)
        self.slots["all"] = round(self.width - 10 - step * 0.5, 1)


def length_panels(rows: Sequence[Row], models: Sequence[str]) -> list[LengthPanel]:
    """One for each model, with its supervisions in it; the rows are of one task."""
    reach = _reach(rows)
    panels = []
    for model in models:
        of = {row.supervision: row for row in rows if row.model == model}
        brackets = {
            (way, way, SHAPES[way]): {
                slot: best_of_grid(per_seed) for slot, per_seed in _n_star(of[way]).items()
            }
            for way in SUPERVISIONS
            if way in of
        }
        if brackets:
            first = next(iter(of.values()))
            panels.append(_length_panel(model, first, brackets, reach))
    return panels


def seed_panel(row: Row) -> LengthPanel:
    """N* of one entry: the best of the grid, and every seed."""
    found = _n_star(row)
    brackets = {
        (f"seed {seed}", "seed", "circle"): {slot: of[i] for slot, of in found.items()}
        for i, seed in enumerate(row.run.cell.seeds)
    }
    best = {slot: best_of_grid(of) for slot, of in found.items()}
    brackets = {("best of grid", row.supervision, SHAPES[row.supervision]): best, **brackets}
    width = 60 + 46 * (len(row.run.cell.lengths) + 1)
    return _length_panel("", row, brackets, _reach([row]), width=max(width, 340), height=260)


def _n_star(row: Row) -> dict[int | str, list[Bracket]]:
    """Brackets per seed, by length and for `all` of them together."""
    run, cell = row.run, row.run.cell
    found: dict[int | str, list[Bracket]] = {n: run.brackets((n,)) for (n,) in cell.alone}
    found["all"] = run.brackets(cell.joint)
    return found


def _reach(rows: Iterable[Row]) -> tuple[float, float]:
    """From below the smallest N* to above the largest bound, with room for arrows."""
    brackets = [b for row in rows for per_seed in _n_star(row).values() for b in per_seed]
    highest = max([10, *(end for b in brackets for end in (b.low, b.high) if end)])
    return 0.7 * min(b.floor for b in brackets), 2.2 * highest


def _length_panel(
    title: str,
    row: Row,
    brackets: dict[tuple[str, str, str], dict[int | str, Bracket]],
    reach: tuple[float, float],
    width: int = 340,
    height: int = 210,
) -> LengthPanel:
    cell = row.run.cell
    plan = _Plan(lengths=cell.lengths, width=width, height=height)
    axis = Axis(low=reach[0], high=reach[1], start=height - 38, end=12)
    series = []
    step = plan.slots[cell.lengths[1]] - plan.slots[cell.lengths[0]]
    for i, ((name, kind, shape), of) in enumerate(brackets.items()):
        # Beside each other, so that none hides another.
        shift = (i - (len(brackets) - 1) / 2) * min(step / (len(brackets) + 1), 12)
        marks, points = [], []
        for slot, bracket in of.items():
            x, span = round(plan.slots[slot] + shift, 1), _bracket_span(bracket, axis)
            if span is None:
                continue
            marks.append((x, span, _bracket_says(name, slot, bracket)))
            if slot != "all" and bracket.middle is not None:
                points.append(f"{x},{span.mark}")
        series.append(
            Series(name=name, kind=kind, shape=shape, marks=marks, line=" ".join(points))
        )
    every = 1 + len(cell.lengths) // 12
    shown = [(plan.slots[n], str(n)) for n in cell.lengths[::every]]
    return LengthPanel(
        title=title, series=series, axis=axis, slots=[*shown, (plan.slots["all"], "all")],
        universes=" ".join(
            f"{plan.slots[n]},{axis.at(size)}"
            for n, size in cell.universes.items()
            if size <= reach[1]
        ),
        separator=round((plan.slots[cell.lengths[-1]] + plan.slots["all"]) / 2, 1),
        width=width, height=height,
    )  # fmt: skip


def _bracket_span(bracket: Bracket, axis: Axis) -> Span | None:
    """From above down, as y goes: an open end is an arrow, a bound by the universe hollow."""
    if bracket.middle is not None:
        return Span(
            start=axis.at(bracket.high or 0),
            end=axis.at(bracket.floor),
            mark=axis.at(bracket.middle),
            hollow=bracket.censored is not None,
            arrow="end" if bracket.low is None else "",
        )
    if bracket.low is None:
        return None
    low = axis.at(bracket.low)
    return Span(start=max(low - 26, 4), end=low, mark=low, hollow=True, arrow="start")


def _bracket_says(name: str, slot: int | str, bracket: Bracket) -> str:
    where = "all lengths together" if slot == "all" else f"n = {slot}"
    note = ", all training samples fail" if bracket.censored == "right" else ""
    return f"{name}, {where}: N* {bracket_text(bracket)}{note}"


def scatter(rows: Sequence[Row], models: Sequence[str]) -> Scatter | None:
    """κ against the accuracy at twice the longest length, of one task; None if nothing is known."""
    tested = [row for row in rows if row.beyond is not None and value(row.kappa) is not None]
    if not tested:
        return None
    width, height, top, bottom = 340, 320, 14, 278
    names = {model: i + 1 for i, model in enumerate(m for m in models if m in _models(tested))}
    axis = kappa_axis(tested, 56, width - 10)
    lowest = min(-0.2, *(row.beyond or 0 for row in tested)) if tested else -0.2

    def height_of(accuracy: float) -> float:
        return round(bottom - (accuracy - lowest) / (1.05 - lowest) * (bottom - top), 1)

    taken: list[tuple[float, float]] = []
    spans = [(row, kappa_span(row, axis), height_of(row.beyond or 0)) for row in tested]
    taken = [(span.mark or 0, y) for _, span, y in spans if span]
    points = []
    for row, span, y in spans:
        assert span is not None and span.mark is not None
        label = _free_place(span.mark, y, taken)
        points.append(
            Point(
                row=row, number=names[row.model], shape=SHAPES[row.supervision],
                span=span, y=y, label=label,
            )
        )  # fmt: skip
    rows_at = [(height_of(v), f"{v:g}") for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return Scatter(
        title="", points=points, names=names, axis=axis, rows=rows_at, width=width, height=height
    )


def _models(rows: Iterable[Row]) -> set[str]:
    return {row.model for row in rows}


def _free_place(x: float, y: float, taken: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Near a mark, where no other mark or label is; None where all is full."""
    for dx, dy in ((9, -7), (9, 9), (-9, -7), (-9, 9), (0, -12), (0, 15), (17, 0), (-17, 0)):
        place = (round(x + dx, 1), round(y + dy, 1))
        if all(abs(place[0] - a) > 11 or abs(place[1] - b) > 9 for a, b in taken):
            taken.append(place)
            return place
    return None
