"""The geometry of the site's pictures of κ: from rows to pixels. Templates write the SVG.

A picture is never the only place of a figure: each stands beside a table with the same numbers.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import Row
from kbench.leaderboard.text import kappa_cell
from kbench.report.figures.palette import colour
from kbench.statistics.likelihood import Interval

SHAPES = {"outcome": "circle", "cot": "square", "aligned": "triangle"}
"""Of supervisions; colours are of models (`kbench.report.figures.palette`)."""
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

    def readable(self, room: int = 6) -> list[tuple[float, str]]:
        """Powers of ten, or of two where that leaves fewer than two of them."""
        tens = self.ticks(10, room)
        return tens if len(tens) > 1 else self.ticks(2, 4)

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
    colour: str
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """κ and the accuracy at twice the longest length."""

    row: Row
    number: int
    colour: str
    shape: str
    span: Span
    y: float
    label: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """κ against extrapolation, on one task."""

    points: list[Point]
    names: dict[str, int]
    axis: Axis
    rows: list[tuple[float, str]]
    """Ticks of the accuracy."""
    width: int
    height: int


def kappa_axis(kappas: Iterable[Interval], start: float, end: float) -> Axis:
    """For all of these κ, and at least from 1/4 to 4."""
    ends = [e for kappa in kappas for e in (kappa.low, kappa.high) if e]
    # With room for an arrow beyond the outermost bound.
    low = 2.0 ** math.floor(math.log2(max(0.7 * min([*ends, 0.36]), 1 / WIDEST)))
    high = 2.0 ** math.ceil(math.log2(min(1.4 * max([*ends, 2.8]), WIDEST)))
    return Axis(low=low, high=high, start=start, end=end)


def kappa_span(kappa: Interval, axis: Axis) -> Span | None:
    """The interval that the verdict goes by; None where κ is not bounded at all."""
    low, high, estimate = kappa.low, kappa.high, kappa.estimate
    middle = value(kappa)
    if middle is None:
        return None
    return Span(
        start=axis.start if low is None else axis.at(low),
        end=axis.end if high is None else axis.at(high),
        mark=axis.at(middle if estimate is None else estimate),
        hollow=estimate is None,
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
    width, label, text, top, pitch = 410, 122, 164, 26, 20
    axis = kappa_axis([row.kappa for row in rows], label, width - text)
    found: list[Forest] = []
    for supervision in SUPERVISIONS:
        of = {row.model: row for row in rows if row.supervision == supervision}
        if not of:
            continue
        lines = [
            Line(
                row=of[model],
                name=shortened(model, 18),
                colour=colour(of[model].architecture),
                y=top + pitch * (i + 0.5),
                span=kappa_span(of[model].kappa, axis),
                text=kappa_cell(of[model]),
            )
            for i, model in enumerate(models)
            if model in of
        ]
        found.append(
            Forest(
                title=supervision, shape=SHAPES[supervision], lines=lines, axis=axis,
                width=width, height=top + pitch * len(models) + 22,
            )
        )  # fmt: skip
    return found


def shortened(name: str, width: int) -> str:
    """The name, or as much of it as there is room for."""
    return name if len(name) <= width else name[: width - 1] + "…"


def scatter(rows: Sequence[Row], models: Sequence[str]) -> Scatter | None:
    """κ against the accuracy at twice the longest length, of one task; None if nothing is known."""
    tested = [row for row in rows if row.beyond is not None and value(row.kappa) is not None]
    if not tested:
        return None
    width, height, top, bottom = 340, 320, 14, 278
    names = {model: i + 1 for i, model in enumerate(m for m in models if m in _models(tested))}
    axis = kappa_axis([row.kappa for row in tested], 56, width - 10)
    lowest = min(-0.2, *(row.beyond or 0 for row in tested))

    def height_of(accuracy: float) -> float:
        return round(bottom - (accuracy - lowest) / (1.05 - lowest) * (bottom - top), 1)

    spans = [(row, kappa_span(row.kappa, axis), height_of(row.beyond or 0)) for row in tested]
    taken = [(span.mark or 0, y) for _, span, y in spans if span]
    points = []
    for row, span, y in spans:
        assert span is not None and span.mark is not None
        label = _free_place(span.mark, y, taken)
        points.append(
            Point(
                row=row, number=names[row.model], colour=colour(row.architecture),
                shape=SHAPES[row.supervision], span=span, y=y, label=label,
            )
        )  # fmt: skip
    rows_at = [(height_of(v), f"{v:g}") for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return Scatter(points=points, names=names, axis=axis, rows=rows_at, width=width, height=height)


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
