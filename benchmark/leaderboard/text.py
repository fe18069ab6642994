"""Boards as text: how scores and cells are written, and the Markdown page of all boards."""

import math
from collections.abc import Iterable, Sequence

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import REFERENCE, Row, protocols, ranking
from kbench.leaderboard.ranking import Score
from kbench.report.format import bracket_text, figures, interval_text, per_seed_text
from kbench.statistics.brackets import Bracket, best_of_grid


def kappa_text(row: Row) -> str:
    """`2.99 [1.62, 5.49]` over seeds, else the bounds that the brackets leave, as in `< 0.29`."""
    best, per_seed = row.sharing
    return interval_text(best) if per_seed.low is None else per_seed_text(per_seed)


def rank_text(score: Score, scores: Iterable[Score]) -> str:
    """`2`, or `2=` where others have the same rank; a dash for a model without a rank."""
    if score.rank is None:
        return "–"
    ties = sum(other.rank == score.rank for other in scores)
    return f"{score.rank}=" if ties > 1 else str(score.rank)


def score_text(score: Score) -> str:
    """`1.98 – 2.66`, the range that censored searches leave; one number where they leave none."""
    if not math.isfinite(score.high):  # it lacks cells
        return "–"
    low, high = figures(score.low), figures(score.high)
    return low if low == high else f"{low} – {high}"


def score_interval_text(score: Score) -> str:
    """95 %, as in `[1.76, 2.93]`."""
    if not math.isfinite(score.interval[1]):
        return "–"
    return f"[{figures(score.interval[0])}, {figures(score.interval[1])}]"


def joint_brackets(row: Row) -> list[Bracket]:
    """N* of all lengths together, by seed."""
    return row.run.brackets(row.run.cell.joint)


def markdown(rows: Sequence[Row]) -> str:
    """The page `leaderboards/README.md`: rankings and κ of every board."""
    parts = [
        "# κ leaderboards",
        "Made by `kbench board --write` from the entries in this folder; edits are lost. What κ "
        "is, how it is measured and what the protocols are: [README](../README.md). How to add an "
        "entry: [CONTRIBUTING](../CONTRIBUTING.md).",
        "κ with its 95 % interval over seeds where every seed is bounded, else the bounds that "
        "the best of the grid leaves: `< x` says that all lengths together were not learned "
        "from the largest training set, `> x` that a length alone was not, *not identified* that "
        "neither was. **Bold**: the interval lies above 1 (the lengths share) or below 1 (they "
        "interfere). †: so many seeds by themselves lie on the other side of 1. "
        "✓: trials near N\\* were run again by the maintainers.",
        f"Models are ranked by the geometric mean, over cells, of κ relative to `{REFERENCE}`. "
        "The range is what censored searches leave open: N\\* of all lengths together, where no "
        "size suffices, lies between the largest N tried and all samples there are, whatever "
        "the model, so that such a κ says little of it. *Learned* counts the other cells, in "
        "which some seed learned all lengths together. Where the reference has none, the column "
        "is relative to such bounds. The interval (95 %) adds what other seeds might have "
        "given. A rank is one more than the number of ranked models that are clearly above: the "
        "interval (95 %, each pair by itself, so that of pairs alike one in twenty is told "
        "apart by luck) of their κ relative to this one's lies above 1. Rank 1 says that no "
        "model is shown to be better, and two models of different ranks need not be told apart. "
        "Within a rank the lower end decides the order, which means nothing more. Models that "
        "lack a cell, or did not learn all lengths together in any, have no rank.",
    ]
    for protocol, group in protocols(rows).items():
        parts.append(f"## {protocol}")
        tasks = sorted({row.task for row in group if row.has_kappa})
        if len(tasks) > 1:
            parts += [*_ranking(ranking(group))]
        for task in tasks:
            own = [row for row in group if row.task == task and row.has_kappa]
            parts.append(f"### {protocol}: {task}")
            parts += [*_ranking(ranking(own)), *_kappas(own)]
        parts += [*_distributions([row for row in group if not row.has_kappa])]
    return "\n\n".join(parts) + "\n"


def _ranking(scores: Sequence[Score]) -> Iterable[str]:
    if not scores:
        return
    cells = max(score.cells for score in scores)
    yield _table(
        ("rank", "model", f"κ relative to {REFERENCE}", "95 %", "cells", "learned"),
        [
            (rank_text(s, scores), s.model, score_text(s), score_interval_text(s),
             f"{s.cells} of {cells}", f"{s.learned} of {s.cells}")
            for s in scores
        ],
    )  # fmt: skip


def _kappas(rows: Sequence[Row]) -> Iterable[str]:
    found = {(row.model, row.supervision): row for row in rows}
    yield _table(
        ("model", *SUPERVISIONS),
        [
            (m, *(_cell(found.get((m, s))) for s in SUPERVISIONS))
            for m in sorted({model for model, _ in found})
        ],
    )


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    decided = row.verdict in ("sharing", "interference")
    text = f"**{kappa_text(row)}**" if decided else kappa_text(row)
    against = f" † {row.against}" if row.against else ""
    mark = " ✓" if row.trust == "verified" else ""
    return f"[{text}]({row.place}){mark}{against}"


def _distributions(rows: Sequence[Row]) -> Iterable[str]:
    if rows:
        yield "### N\\* under a distribution of lengths, best of grid"
        yield _table(
            ("task", "supervision", "model", "distribution", "N\\*"),
            [
                (row.task, row.supervision, row.model, str(row.run.cell.distribution),
                 f"[{bracket_text(best_of_grid(joint_brackets(row)))}]({row.place})")
                for row in rows
            ],
        )  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
