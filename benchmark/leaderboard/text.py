"""Boards as text: how scores and cells are written, and the Markdown page of all boards."""

from collections.abc import Iterable, Sequence

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import (
    REFERENCE,
    Row,
    SecondRun,
    least_trust,
    protocols,
    ranking,
    second_runs,
)
from kbench.leaderboard.ranking import Score
from kbench.report.format import bracket_text, interval_text, kappa_text, percent
from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.likelihood import Interval


def kappa_cell(row: Row) -> str:
    """κ of an entry, or that it learned nothing."""
    if row.verdict == "not-learned":
        return "not learned"
    return kappa_text(row.kappa, row.memorised)


def rank_text(score: Score, scores: Iterable[Score]) -> str:
    """`2`, or `2=` where others have the same rank; a dash for a model without a rank."""
    if score.rank is None:
        return "–"
    ties = sum(other.rank == score.rank for other in scores)
    return f"{score.rank}=" if ties > 1 else str(score.rank)


def score_text(score: Score) -> str:
    """`1.98 [1.76, 2.93]`; a dash for a model that lacks cells."""
    return "–" if score.score == Interval(low=None, high=None) else interval_text(score.score)


def trust_text(row: Row) -> str:
    """`measured`, or `verified 12/56`: so many trials of all run again."""
    seen = row.seen
    if not seen or not seen.trials_run_again:
        return row.trust
    return f"{row.trust} {seen.trials_run_again}" + (f"/{seen.of}" if seen.of else "")


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
        "κ is the median over seeds with its interval, and verdicts go by that interval alone. "
        "**Bold**: it lies above 1 (the lengths share) or below 1 (they interfere). `< x`, `> x`: "
        "the interval has one end only. *not learned*: no seed learned all lengths together from "
        "any number of samples tried. *not identified*: the seeds say neither. ‡: so much of "
        "Σ N\\*_n is lengths whose samples ran out before they were learned. Entries without "
        "a mark were measured by the maintainers; ✓: by somebody else, and some trials were run "
        "again by the maintainers; ◦: by somebody else. °: measured before kbench recorded why a "
        "run failed, "
        "so that every failure counts as too few samples. †: measured with an earlier version of "
        "the model, which computes the same function and differs in the last digits at most.",
        f"Models are ranked by the geometric mean, over cells, of κ relative to `{REFERENCE}`, of "
        "each seed; the median over seeds is shown with its interval. Where no size suffices for "
        "all lengths together, N\\* lies between the largest N tried and all samples there are, "
        "whatever the model, so that such a κ says little of it. *Learned* counts the other "
        "cells, in which some seed learned all lengths together. A rank is one more than the "
        "number of ranked models that are clearly above: the interval of their κ relative to this "
        "one's lies above 1. Rank 1 says that no model is shown to be better, and two models of "
        "different ranks need not be told apart. Models that lack a cell, or did not learn all "
        "lengths together in any, have no rank. A model from a file of somebody's own is ranked "
        "once some of its trials were run again.",
    ]
    for protocol, group in protocols(rows).items():
        level = percent(group[0].run.cell.protocol.confidence)
        parts += [f"## {protocol}", f"Intervals are of {level}."]
        tasks = sorted({row.task for row in group if row.has_kappa})
        if len(tasks) > 1:
            parts += [*_ranking(group)]
        for task in tasks:
            own = [row for row in group if row.task == task and row.has_kappa]
            parts.append(f"### {protocol}: {task}")
            parts += [*_ranking(own), *_kappas(own)]
        parts += [*_second_runs(second_runs(rows, protocol))]
        parts += [*_distributions([row for row in group if not row.has_kappa])]
    return "\n\n".join(parts) + "\n"


def _ranking(rows: Sequence[Row]) -> Iterable[str]:
    if not (scores := ranking(rows)):
        return
    cells = max(score.cells for score in scores)
    yield _table(
        ("rank", "model", f"κ relative to {REFERENCE}", "cells", "learned", "trust"),
        [
            (rank_text(s, scores), s.model, score_text(s), f"{s.cells} of {cells}",
             f"{s.learned} of {s.cells}", least_trust(rows, s.model))
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


def second_runs_text(found: Sequence[SecondRun]) -> str:
    """How many cells were measured twice, and how many of the second verdicts contradict."""
    wrong = sum(of.contradicts for of in found)
    return (
        f"Measured again with other seeds: {len(found)}. Of these second verdicts {wrong} "
        f"({percent(wrong / len(found))}) contradict the first, sharing against interference."
    )


def _second_runs(found: Sequence[SecondRun]) -> Iterable[str]:
    if found:
        yield second_runs_text(found)
        yield _table(
            ("task", "supervision", "model", "κ", "verdict", "κ again", "verdict again"),
            [
                (of.first.task, of.first.supervision, of.first.model,
                 kappa_cell(of.first), of.first.verdict,
                 f"[{kappa_cell(of.second)}]({of.second.place})", of.second.verdict)
                for of in found
            ],
        )  # fmt: skip


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    decided = row.verdict in ("sharing", "interference")
    text = kappa_cell(row)
    mark = {"measured": "", "verified": " ✓", "submitted": " ◦"}[row.trust]
    old = "" if row.run.explained else " °"
    old += " †" if row.is_earlier else ""
    return f"[{f'**{text}**' if decided else text}]({row.place}){mark}{old}"


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
