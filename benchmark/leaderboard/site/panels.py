"""The geometry of the site's pictures by length: N* as brackets, κ as intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import Row
from kbench.leaderboard.site.figures import SHAPES, Axis, Span, kappa_axis, kappa_span
from kbench.report.figures.palette import colour
from kbench.report.format import bracket_text, interval_text
from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.likelihood import Interval

WIDTH, HEIGHT = 340, 210


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """N* or κ of one supervision, or of one seed, over lengths."""

    name: str
    kind: str
    """The supervision, or `seed`."""
    shape: str
    marks: list[tuple[float, Span, str]]
    """x, the bracket along y, and what it says."""
    line: str
    """Points of the line through those with a middle, without that of all lengths together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthPanel:
    """N* against the length, with all lengths together on the right; or κ against the longest."""

    title: str
    colour: str
    what: str = "N*"
    base: int = 10
    """Of the ticks."""
    series: list[Series]
    axis: Axis
    slots: list[tuple[float, str]]
    universes: str = ""
    """Points of the line of all the samples there are."""
    separator: float | None = None
    width: int
    height: int


@dataclass(kw_only=True, slots=True)
class _Plan:
    """Where lengths lie in a panel."""

    lengths: Sequence[int]
    width: int = WIDTH
    height: int = HEIGHT
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


def kappa_panels(rows: Sequence[Row], models: Sequence[str]) -> list[LengthPanel]:
    """κ(L), of the first length to L, one panel for each model that has it; one task's rows."""
    rows = [row for row in rows if len(row.run.cell.together) > 1]
    known = {
        row.place: {
            together[-1]: row.run.kappa_of(together)
            for together in row.run.cell.together
            if row.run.verdict_of(together) != "not-learned"
        }
        for row in rows
    }
    # One axis for all models, so that two of them can be compared.
    axis = kappa_axis([k for of in known.values() for k in of.values()], HEIGHT - 38, 12)
    by_model = {model: [row for row in rows if row.model == model] for model in models}
    return [
        _kappa_panel(model, {row.supervision: known[row.place] for row in of}, of[0], axis)
        for model, of in by_model.items()
        if of
    ]


def _kappa_panel(
    title: str, known: Mapping[str, Mapping[int, Interval]], row: Row, axis: Axis
) -> LengthPanel:
    lasts = [together[-1] for together in row.run.cell.together]
    step = (WIDTH - 56) / len(lasts)
    slots = {last: round(46 + step * (i + 0.5), 1) for i, last in enumerate(lasts)}
    series = []
    for i, (way, of) in enumerate(sorted(known.items(), key=lambda x: [*SHAPES].index(x[0]))):
        shift = (i - (len(known) - 1) / 2) * min(step / 5, 14)
        marks, points = [], []
        for length, kappa in of.items():
            if not (span := kappa_span(kappa, axis)):
                continue
            x = round(slots[length] + shift, 1)
            upright = Span(
                start=span.end, end=span.start, mark=span.mark, hollow=span.hollow,
                arrow={"start": "end", "end": "start"}.get(span.arrow, ""),
            )  # fmt: skip
            marks.append((x, upright, f"{way}, lengths to {length}: κ {interval_text(kappa)}"))
            points.append(f"{x},{span.mark}")
        series.append(
            Series(name=way, kind=way, shape=SHAPES[way], marks=marks, line=" ".join(points))
        )
    return LengthPanel(
        title=title, colour=colour(row.architecture), what="κ", base=2, series=series,
        axis=axis,
        slots=[(x, str(length)) for length, x in slots.items()], width=WIDTH, height=HEIGHT,
    )  # fmt: skip


def seed_panel(row: Row) -> LengthPanel:
    """N* of one entry: the best of the grid, and every seed."""
    found = _n_star(row)
    brackets = {
        (f"seed {seed}", "seed", "circle"): {slot: of[i] for slot, of in found.items()}
        for i, seed in enumerate(row.run.seeds)
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
    width: int = WIDTH,
    height: int = HEIGHT,
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
            if slot != "all" and bracket.middle is not None and not bracket.ran_out:
                points.append(f"{x},{span.mark}")
        series.append(Series(name=name, kind=kind, shape=shape, marks=marks, line=" ".join(points)))
    every = 1 + len(cell.lengths) // 12
    shown = [(plan.slots[n], str(n)) for n in cell.lengths[::every]]
    return LengthPanel(
        title=title, colour=colour(row.architecture), series=series, axis=axis,
        slots=[*shown, (plan.slots["all"], "all")],
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
    return f"{name}, {where}: N* {bracket_text(bracket)}"
