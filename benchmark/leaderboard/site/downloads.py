"""What can be taken from a site: entries as they are, and tables as CSV."""

from collections.abc import Iterator, Sequence

from kbench.leaderboard.board import Row
from kbench.leaderboard.entry import Trials
from kbench.report import frames
from kbench.report.document import Result, result_of
from kbench.study.driver import Progress

BOARD = ("kappa", "n_star", "by_length", "reach", "extrapolation")
"""Frames of a board, as `kbench export` has them."""


def results(rows: Sequence[Row]) -> list[Result]:
    """As documents have them, every trial included."""
    return [result_of(Progress(run=row.run), Trials(row.entry, row.run.cell)) for row in rows]


def of_board(found: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Name and content of each table that has a row."""
    for what in BOARD:
        if frames.rows(found, what):
            yield f"{what}.csv", frames.to_csv(found, what)


def of_entry(row: Row, found: Result) -> Iterator[tuple[str, str]]:
    """Suffix and content: the entry itself, and its trials."""
    yield ".json", row.text
    yield ".csv", frames.to_csv([found], "trials")
