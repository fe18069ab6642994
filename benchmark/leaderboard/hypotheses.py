"""This project's own claims as functions of one board: what κ and reach should show if recurrence
is what the ten observations are about.

The rules stand in docs/claims.md, and were written before there was a board with reach.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from kbench.leaderboard.observations import (
    MISSING,
    RECURRENT,
    TRANSFORMER,
    Board,
    Part,
    all_of,
    p_of_greater,
)
from kbench.leaderboard.place import is_own
from kbench.report.readings import rounded

LEVEL = 0.05
"""Of each test, one-sided."""
FEWEST = 8
"""Models and formats that a rank correlation takes at least."""
MOST = 0.999
"""A perfect rank correlation counts as this: Fisher's z is infinite there."""


def _reaches_further(board: Board, model: str, other: str, supervision: str) -> Part:
    """Is the reach of the first larger, over seeds? `none` counts as no length at all."""
    rows = [board.row(name, supervision) for name in (model, other)]
    if any(row is None or not row.run.reach_by_seed for row in rows):
        return MISSING
    found = tuple(row for row in rows if row)
    reach = [[length or 0 for length in row.run.reach_by_seed] for row in found]
    p, p_other = (p_of_greater(*of) for of in (reach, reach[::-1]))
    holds = True if p < LEVEL else False if p_other < LEVEL else None
    names = {"p": rounded(p), **dict(zip((model, other), reach, strict=True))}
    return Part(holds=holds, figures=names, rows=found)


def _any_of(parts: Mapping[str, Part]) -> Part:
    """Holds where one does and none does not; not where one does not."""
    shown = all_of(parts)
    decisions = [part.holds for part in parts.values()]
    holds = False if False in decisions else True if True in decisions else None
    return Part(holds=holds, figures=shown.figures, rows=shown.rows)


def _recurrence_reaches_further(board: Board) -> Part:
    def part(model: str) -> Part:
        return _any_of(
            {s: _reaches_further(board, model, TRANSFORMER, s) for s in ("outcome", "aligned")}
        )

    return all_of({model: part(model) for model in RECURRENT})


def _sharing_goes_with_extrapolation(board: Board) -> Part:
    """Spearman's rank correlation of κ and the accuracy at 2L, over models and formats.

    Boards without reach were there before the rule, and say nothing to it.
    """
    if not board.cell.protocol.by_length:
        return MISSING
    from scipy.stats import norm, spearmanr

    rows = tuple(
        row
        for row in board.kappas
        if row.beyond is not None and row.kappa.estimate is not None and not is_own(row.run.cell)
    )
    points = {
        f"{r.model} {r.supervision}": (r.kappa.estimate or 0.0, r.beyond or 0.0) for r in rows
    }
    kappas, beyond = ([of[i] for of in points.values()] for i in (0, 1))
    if len(rows) < FEWEST or len(set(beyond)) == 1 or len(set(kappas)) == 1:
        return MISSING
    r = float(spearmanr(kappas, beyond).statistic)
    # Fisher's z, with the standard error that ranks have: Bonett & Wright 2000, equation 5.
    z, error = math.atanh(max(-MOST, min(r, MOST))), math.sqrt((1 + r * r / 2) / (len(rows) - 3))
    low, high = (math.tanh(z + norm.ppf(p) * error) for p in (LEVEL, 1 - LEVEL))
    holds = True if low > 0 else False if high < 0 else None
    figures: dict[str, Any] = {
        "rank correlation": rounded(r),
        "interval": [rounded(low), rounded(high)],
        "κ and accuracy at 2L": {name: [*map(rounded, of)] for name, of in points.items()},
    }
    return Part(holds=holds, figures=figures, rows=rows)


SIGNED = {"mamba-neg": "mamba", "deltanet": "deltanet-pos"}
"""Models whose steps may have negative eigenvalues, and those that differ in that alone."""


def _negative_eigenvalues_reach_further(board: Board) -> Part:
    def part(model: str, other: str) -> Part:
        return _any_of(
            {s: _reaches_further(board, model, other, s) for s in ("outcome", "aligned")}
        )

    return all_of({model: part(model, other) for model, other in SIGNED.items()})


def _looping_reaches_further(board: Board) -> Part:
    return _any_of(
        {s: _reaches_further(board, "looped-transformer", TRANSFORMER, s)
         for s in ("outcome", "aligned")}
    )  # fmt: skip


JUDGES: dict[str, Callable[[Board], Part]] = {
    "5.1": _recurrence_reaches_further,
    "5.2": _sharing_goes_with_extrapolation,
    "5.3": _negative_eigenvalues_reach_further,
    "5.4": _looping_reaches_further,
}
