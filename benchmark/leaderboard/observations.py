"""The paper's ten observations (arXiv 2602.18333) as functions of one board.

The rules, and why they are as they are, stand in docs/claims.md, which was written before they were
applied. A board is one protocol, one task with its parameters and one longest length.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import Row
from kbench.leaderboard.place import is_own
from kbench.report.readings import rounded
from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.statistics.scaling import slope_over_seeds
from kbench.statistics.sharing import n_star_over_seeds, over_seeds, ratio_by_seed
from kbench.study.cell import Lengths

TRANSFORMER, RECURRENT = "transformer", ("lstm", "dense-ssm")
"""The models of the paper; others move no verdict."""
TASK = "modadd"
"""The task of the observations; others move no verdict."""
ABOUT_ONE = (0.8, 1.25)
"""What the observations call "about 1"."""
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "not-enough-evidence"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What a board says to one part of a rule: True, False, or None where it does not decide."""

    holds: bool | None
    figures: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()


MISSING = Part(holds=None)


class Board:
    """The rows of one protocol and one task up to one longest length."""

    def __init__(self, name: str, rows: Sequence[Row], any_length: Sequence[Row]) -> None:
        self.name, self.any_length = name, any_length
        """any_length: the same protocol and task up to other lengths too."""
        self._rows = {(r.model, r.supervision, r.run.cell.distribution): r for r in rows}
        self.cell = rows[0].run.cell
        self.confidence = self.cell.protocol.confidence
        self.kappas = [row for row in rows if row.has_kappa]

    def row(self, model: str, supervision: str, distribution: str | None = None) -> Row | None:
        """The entry with κ, or with N* under a distribution of lengths."""
        return self._rows.get((model, supervision, distribution))

    def others(self, *models: str) -> list[str]:
        """The models with κ beside these."""
        return sorted({row.model for row in self.kappas} - set(models))


def all_of(parts: Mapping[str, Part], beside: Mapping[str, Part] | None = None) -> Part:
    """Holds where all do, not where one does not; with the figures of each by its name."""
    decisions = [part.holds for part in parts.values()]
    holds = False if False in decisions else None if None in decisions else True
    shown: dict[str, Any] = {name: _shown(part) for name, part in parts.items() if part.rows}
    if others := {name: _shown(part) for name, part in (beside or {}).items() if part.rows}:
        shown["other models, no part of the verdict"] = others
    every = [*parts.values(), *(beside or {}).values()]
    return Part(holds=holds, figures=shown, rows=tuple(row for p in every for row in p.rows))


def _shown(part: Part) -> dict[str, Any]:
    return {"holds": part.holds, **part.figures}


def _n_star(row: Row, lengths: Lengths | None = None) -> list[Bracket]:
    """By seed; of all lengths together, or of those given."""
    return row.run.brackets(row.run.cell.joint if lengths is None else lengths)


def fewer(
    a: Sequence[Bracket], b: Sequence[Bracket], confidence: float
) -> tuple[bool | None, dict[str, Any]]:
    """Does a need fewer samples than b? By seed; None where neither way is decided."""
    ratio = over_seeds(ratio_by_seed(a, b), confidence)
    low, high = ratio.low, ratio.high
    decided = True if high is not None and high < 1 else None
    decided = False if low is not None and low > 1 else decided
    shown = {
        "N* a": _bounds(n_star_over_seeds(a, confidence)),
        "N* b": _bounds(n_star_over_seeds(b, confidence)),
        "ratio a/b": _bounds(ratio),
    }
    return decided, shown


def _named(figures: Mapping[str, Any], a: str, b: str) -> dict[str, Any]:
    """With the names of the two that were compared."""
    return {
        key.replace("N* a", f"N* {a}").replace("N* b", f"N* {b}").replace("a/b", f"{a}/{b}"): value
        for key, value in figures.items()
    }


def _longest_alone(board: Board, model: str) -> Part:
    """N* at the longest length: is it smaller under `cot` than under `aligned`?"""
    cot, aligned = board.row(model, "cot"), board.row(model, "aligned")
    if cot is None or aligned is None:
        return MISSING
    longest = board.cell.lengths[-1:]
    holds, figures = fewer(_n_star(cot, longest), _n_star(aligned, longest), board.confidence)
    _, together = fewer(_n_star(cot), _n_star(aligned), board.confidence)
    shown = {
        f"n = {longest[0]} alone": _named(figures, "cot", "aligned"),
        "all lengths together": _named(together, "cot", "aligned"),
    }
    return Part(holds=holds, figures=shown, rows=(cot, aligned))


def _cot_for_transformers(board: Board) -> Part:
    others = {m: _longest_alone(board, m) for m in board.others(TRANSFORMER)}
    return all_of({TRANSFORMER: _longest_alone(board, TRANSFORMER)}, others)


def _prefers_aligned(board: Board, model: str) -> Part:
    cot, aligned = board.row(model, "cot"), board.row(model, "aligned")
    if cot is None or aligned is None:
        return MISSING
    prefers, figures = fewer(_n_star(aligned), _n_star(cot), board.confidence)
    beyond = cot.beyond
    stays = None if beyond is None else beyond < 0.5
    holds = False if False in (prefers, stays) else None if None in (prefers, stays) else True
    shown = _named(figures, "aligned", "cot") | {
        "accuracy at 2L, cot": rounded(beyond),
        "accuracy at 2L, aligned": rounded(aligned.beyond),
    }
    return Part(holds=holds, figures=shown, rows=(cot, aligned))


def _aligned_for_recurrent(board: Board) -> Part:
    others = {m: _prefers_aligned(board, m) for m in board.others(*RECURRENT)}
    return all_of({m: _prefers_aligned(board, m) for m in RECURRENT}, others)


def _learns(board: Board, model: str) -> Part:
    """Under `outcome`, is N* of all lengths together bounded, or above the largest N tried?"""
    row = board.row(model, "outcome")
    if row is None:
        return MISSING
    n_star = row.run.n_star(row.run.cell.joint)
    largest = max(b.low or 0 for b in _n_star(row))
    beyond = n_star.low is not None and n_star.low > largest
    holds = True if n_star.high is not None else False if beyond else None
    return Part(holds=holds, figures={"N*": _bounds(n_star)}, rows=(row,))


def _without_supervision(board: Board) -> Part:
    transformer = _learns(board, TRANSFORMER)
    recurrent = {m: _learns(board, m) for m in RECURRENT}
    others = {m: _learns(board, m) for m in board.others(TRANSFORMER, *RECURRENT)}
    found = all_of({TRANSFORMER: transformer, **recurrent}, others)
    holds = None
    if any(p.holds for p in recurrent.values()) and transformer.holds is False:
        holds = True
    elif transformer.holds and all(p.holds is False for p in recurrent.values()):
        holds = False
    return Part(holds=holds, figures=found.figures, rows=found.rows)


def _order(board: Board, model: str, supervision: str) -> tuple[list[bool | None], Part]:
    """N* under `fixed` < `uniform`, and `uniform` < `short-to-long`; and the figures."""
    shared, short = board.row(model, supervision), board.row(model, supervision, "short-to-long")
    if shared is None or short is None or not _validates_every_length(short):
        return [None, None], MISSING
    longest = board.cell.lengths[-1:]
    first, figures = fewer(_n_star(shared, longest), _n_star(shared), board.confidence)
    second, more = fewer(_n_star(shared), _n_star(short), board.confidence)
    shown = _named(figures, "fixed", "uniform") | _named(more, "uniform", "short-to-long")
    return [first, second], Part(holds=None, figures=shown, rows=(shared, short))


def _validates_every_length(row: Row) -> bool:
    cell = row.run.cell
    shares = cell.shares(cell.joint)
    return {int(n) for n in shares.validation_lengths(cell.seeds[0])} == set(cell.joint)


def _longer_is_better(board: Board, model: str) -> Part:
    steps, part = _order(board, model, "aligned")
    holds = False if False in steps else None if None in steps else True
    return Part(holds=holds, figures=part.figures, rows=part.rows)


def _longer_is_no_better(board: Board, model: str) -> Part:
    steps, part = _order(board, model, "cot")
    holds = True if False in steps else None if None in steps else False
    return Part(holds=holds, figures=part.figures, rows=part.rows)


def _longer_sequences(board: Board) -> Part:
    parts = {f"{m} aligned": _longer_is_better(board, m) for m in RECURRENT}
    return all_of(parts | {f"{TRANSFORMER} cot": _longer_is_no_better(board, TRANSFORMER)})


def _short_first(board: Board, model: str) -> Part:
    shared, short = board.row(model, "outcome"), board.row(model, "outcome", "short-to-long")
    if shared is None or short is None or not _validates_every_length(short):
        return MISSING
    holds, figures = fewer(_n_star(short), _n_star(shared), board.confidence)
    return Part(
        holds=holds, figures=_named(figures, "short-to-long", "uniform"), rows=(shared, short)
    )


def _short_sequences(board: Board) -> Part:
    others = {m: _short_first(board, m) for m in board.others(*RECURRENT)}
    return all_of({m: _short_first(board, m) for m in RECURRENT}, others)


def _kappa(board: Board, model: str, supervision: str, holds: Callable[..., bool | None]) -> Part:
    """A statement about κ, from its ends: 0 and ∞ where there is none."""
    row = board.row(model, supervision)
    if row is None:
        return MISSING
    low, high = row.kappa.low or 0.0, math.inf if row.kappa.high is None else row.kappa.high
    figures = {
        "κ": _bounds(row.kappa),
        "κ of each seed": [_bounds(interval) for interval in row.run.kappa_by_seed()],
    }
    return Part(holds=holds(low, high), figures=figures, rows=(row,))


def _bounds(interval: Interval) -> list[float | None]:
    return [rounded(interval.low), rounded(interval.high)]


def _at_most_about_one(low: float, high: float) -> bool | None:
    return True if high <= ABOUT_ONE[1] else False if low > ABOUT_ONE[1] else None


def _far_below_one(low: float, high: float) -> bool | None:
    return True if high < 0.5 else False if low > 0.5 else None


def _above_one(low: float, high: float) -> bool | None:
    return True if low > 1 else False if high < 1 else None


def _about_one(low: float, high: float) -> bool | None:
    if low > ABOUT_ONE[1] or high < ABOUT_ONE[0]:
        return False
    return True if high <= ABOUT_ONE[1] else None


def _no_sharing(board: Board) -> Part:
    def part(model: str) -> Part:
        return all_of({s: _kappa(board, model, s, _at_most_about_one) for s in SUPERVISIONS})

    others = {m: part(m) for m in board.others(TRANSFORMER)}
    return all_of({TRANSFORMER: part(TRANSFORMER)}, others)


def _interference(board: Board) -> Part:
    others = {m: _kappa(board, m, "cot", _far_below_one) for m in board.others(TRANSFORMER)}
    return all_of({TRANSFORMER: _kappa(board, TRANSFORMER, "cot", _far_below_one)}, others)


def _sharing(board: Board) -> Part:
    def part(model: str) -> Part:
        above = {s: _kappa(board, model, s, _above_one) for s in ("outcome", "aligned")}
        return all_of(above | {"cot": _kappa(board, model, "cot", _about_one)})

    others = {m: part(m) for m in board.others(*RECURRENT)}
    return all_of({m: part(m) for m in RECURRENT}, others)


def _falls_with_length(board: Board, model: str = "dense-ssm") -> Part:
    """Slope of log N* of all lengths together against log L, over entries that differ in L."""
    longest = max(row.run.cell.lengths[-1] for row in board.any_length)
    if board.cell.lengths[-1] != longest:  # once for all lengths, on the board of the longest
        return MISSING
    by_length = {
        row.run.cell.lengths[-1]: row
        for row in board.any_length
        if (row.model, row.supervision) == (model, "aligned")
        and row.run.cell.distribution in (None, "uniform")
    }
    sizes = sorted(by_length)
    if len(sizes) < 3:
        return MISSING
    rows = tuple(by_length[n] for n in sizes)
    common = min(len(row.run.seeds) for row in rows)
    brackets = [_n_star(row)[:common] for row in rows]
    slope = slope_over_seeds(sizes, brackets, board.confidence)
    holds = True if slope.high is not None and slope.high < 0 else None
    holds = False if slope.low is not None and slope.low > 0 else holds
    shown = {
        f"N* up to {n}": _bounds(n_star_over_seeds(b, board.confidence))
        for n, b in zip(sizes, brackets, strict=True)
    }
    return Part(holds=holds, figures={**shown, "slope": _bounds(slope)}, rows=rows)


def _longer_is_cheaper(board: Board) -> Part:
    return all_of({"dense-ssm aligned": _falls_with_length(board)})


def _extrapolation(board: Board) -> Part:
    """Accuracy at 2L of those that share against that of those that do not."""
    tested = [row for row in board.kappas if row.beyond is not None and not is_own(row.run.cell)]
    sharing = [row for row in tested if (row.kappa.low or 0) > 1]
    others = [
        row for row in tested if (row.kappa.high or math.inf) <= ABOUT_ONE[1] and row not in sharing
    ]
    if not sharing or not others:
        return MISSING
    figures: dict[str, Any] = {
        name: {f"{r.model} {r.supervision}": rounded(r.beyond) for r in rows}
        for name, rows in (("κ above 1", sharing), ("κ at or below 1.25", others))
    }
    holds = None
    if min(len(sharing), len(others)) >= 3:
        p = p_of_greater(*([row.beyond or 0.0 for row in group] for group in (sharing, others)))
        figures["p"] = rounded(p)
        holds = True if p < 0.05 else False if p > 0.95 else None
    return Part(holds=holds, figures=figures, rows=(*sharing, *others))


def p_of_greater(values: Sequence[float], others: Sequence[float]) -> float:
    """Mann-Whitney, one-sided; a half where they are all the same, which tells nothing."""
    from scipy.stats import mannwhitneyu  # a second that other commands need not wait

    if len({*values, *others}) == 1:
        return 0.5
    return float(mannwhitneyu(values, others, alternative="greater").pvalue)


JUDGES: dict[str, Callable[[Board], Part]] = {
    "3.1": _cot_for_transformers,
    "3.2": _aligned_for_recurrent,
    "3.3": _without_supervision,
    "3.4": _longer_sequences,
    "3.5": _short_sequences,
    "4.1": _no_sharing,
    "4.2": _interference,
    "4.3": _sharing,
    "4.4": _longer_is_cheaper,
    "4.5": _extrapolation,
}
