"""Cells of a trial store as rows, beside the entries of the boards."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from kbench.errors import KbenchError
from kbench.leaderboard.board import YOURS, Row
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import location
from kbench.leaderboard.submission import behind, entry_of
from kbench.study.cell import Cell
from kbench.study.driver import asked_for, recall
from kbench.study.searches import CellRun
from kbench.study.store import Store


def with_store(rows: Sequence[Row], folder: Path) -> tuple[list[Row], list[str]]:
    """The rows and, marked as yours, a store's complete cells; one line for every other cell.

    A cell whose entry has the very same trials is not there twice: the entry gets the learning
    curves that the store has. Raises KbenchError where there is no store.
    """
    found = {row.place: row for row in rows}
    left_out = []
    with Store(folder, create=False) as store:
        for cell in asked_for(store):
            try:
                row = _row(cell, store)
            except KbenchError as error:
                left_out.append(f"{cell.model} {cell.task} {cell.supervision}: {error}")
                continue
            same = found.get(PurePosixPath(*row.place.parts[1:]))
            if same and {t.digest for t in same.entry.trials} == {
                t.digest for t in row.entry.trials
            }:
                found[same.place] = dataclasses.replace(same, curves=row.curves)
                continue
            place, n = row.place, 1
            while place in found:  # other seeds or sizes than those of another cell
                n += 1
                place = row.place.with_name(f"{row.place.stem}.{n}.json")
            found[place] = dataclasses.replace(row, place=place)
    return list(found.values()), left_out


def _row(cell: Cell, store: Store) -> Row:
    run = CellRun(cell)
    recall(run, store)
    if not run.complete:
        missing = run.n_searches - run.n_done
        raise KbenchError(f"{missing} of {run.n_searches} searches and tests are not done")
    found = [(trial, kept) for trial in behind(run) if (kept := store.get(trial.key()))]
    entry = entry_of(run, found)
    row = Row(
        entry=entry,
        place=PurePosixPath(YOURS) / location(cell),
        text=text_of(entry),
        yours=True,
        curves={kept.digest(trial.key()): kept.curve for trial, kept in found if kept.curve},
    )
    row.run  # noqa: B018 - raises where an entry cannot say what the cell is
    return row
