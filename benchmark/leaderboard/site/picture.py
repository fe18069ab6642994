"""The geometry of the picture of one task: decided κ of every model, recurrent to attention."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kbench.leaderboard.board import DECIDED, Row
from kbench.leaderboard.site.figures import SHAPES, Axis, Span, kappa_axis, kappa_span, value
from kbench.leaderboard.text import kappa_cell
from kbench.report.figures.palette import KINDS, OTHER, colour, kind

TOP, LANE, GAP, HEAD, LINE = 86, 19, 7, 25, 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """κ of one cell."""

    row: Row
    shape: str
    span: Span
    y: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The decided cells of one model."""

    name: str
    colour: str
    y: float
    lanes: list[Lane]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One row a model, in groups by kind; a lane for each supervision whose verdict is decided."""

    task: str
    protocol: str
    level: str
    axis: Axis
    narrow: bool
    """For a phone: without the figures, which a table beside it has."""
    kinds: list[tuple[str, float, list[Model]]]
    """Name, where its heading stands, and its models."""
    key: list[tuple[float, str, str]]
    """Where a supervision of those drawn stands in the key, its name and its shape."""
    note: list[tuple[float, str]]
    """Lines below: what is not drawn."""
    bottom: float
    """Where the axis is."""
    height: float
    width: int


def picture(rows: Sequence[Row], task: str, level: str, *, narrow: bool = False) -> Picture | None:
    """Of one task's rows; None where no verdict is decided."""
    decided = [row for row in rows if row.verdict in DECIDED]
    if not decided:
        return None
    width, left, right = (336, 132, 322) if narrow else (680, 156, 462)
    axis = kappa_axis([row.kappa for row in decided], left, right)
    kinds, y = [], TOP + (22.0 if narrow else 0.0)
    for group in (*KINDS, OTHER):
        of: dict[str, list[Row]] = {}
        for row in decided:
            if kind(row.architecture) == group:
                of.setdefault(row.model, []).append(row)
        if not of:
            continue
        heading, models = y + 16, []
        y += HEAD
        for name in sorted(of, key=lambda name: -_middle(of[name])):
            lanes = []
            for row in sorted(of[name], key=lambda r: [*SHAPES].index(r.supervision)):
                span = kappa_span(row.kappa, axis)
                assert span is not None  # a verdict is decided by an interval
                lanes.append(Lane(
                    row=row, shape=SHAPES[row.supervision], span=span, y=y + LANE / 2,
                    text=kappa_cell(row),
                ))  # fmt: skip
                y += LANE
            models.append(Model(
                name=name, colour=colour(lanes[0].row.architecture), lanes=lanes,
                y=(lanes[0].y + lanes[-1].y) / 2,
            ))  # fmt: skip
            y += GAP
        kinds.append((group, heading, models))
    lines = textwrap.wrap(_note(rows), 52 if narrow else 100)
    return Picture(
        task=task, protocol=rows[0].protocol, level=level, axis=axis, kinds=kinds,
        key=_key({row.supervision for row in decided}, width, narrow), narrow=narrow,
        note=[(y + 40 + LINE * i, line) for i, line in enumerate(lines)],
        bottom=y, height=y + 36 + LINE * len(lines), width=width,
    )  # fmt: skip


def _key(ways: set[str], width: int, narrow: bool) -> list[tuple[float, str, str]]:
    drawn = [way for way in SHAPES if way in ways]
    widths = [28 + 6.2 * len(way) for way in drawn]
    x = 10.0 if narrow else width - 8 - sum(widths)
    return [(round(x + sum(widths[:i]), 1), way, SHAPES[way]) for i, way in enumerate(drawn)]


def _middle(rows: Sequence[Row]) -> float:
    return max(value(row.kappa) or 0.0 for row in rows)


def _note(rows: Sequence[Row]) -> str:
    """What is left out, and of which models all is."""
    verdicts = Counter[str](row.verdict for row in rows)
    drawn = {row.model for row in rows if row.verdict in DECIDED}
    none = sorted({row.model for row in rows} - drawn)
    left = [f"{verdicts[v]} {v}" for v in ("not-learned", "not-identified") if verdicts[v]]
    text = f"Decided cells only: {sum(verdicts[v] for v in DECIDED)} of {len(rows)}"
    text += f" ({', '.join(left)})." if left else "."
    return text + (f" No cell decided: {', '.join(none)}." if none else "")
