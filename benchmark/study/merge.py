"""One store out of several. Every row is checked before any is written."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbench.errors import KbenchError
from kbench.study.cell import Cell
from kbench.study.store import CONTENT, ROWS, Store
from kbench.trial import IN_FAMILY, Ending, TrialResult, canonical_json, digest

_TRIALS = f"SELECT {CONTENT}, t.stored_at {ROWS} ORDER BY t.stored_at, t.key"
_CELLS = "SELECT spec, asked_at FROM cells ORDER BY asked_at, spec"
_COPIED = (
    (
        "SELECT spec FROM families WHERE id IN (SELECT family FROM trials) ORDER BY id",
        "INSERT INTO families (spec) VALUES (?) ON CONFLICT DO NOTHING",
    ),
    (
        "SELECT content FROM environments WHERE id IN (SELECT environment FROM trials) ORDER BY id",
        "INSERT INTO environments (content) VALUES (?) ON CONFLICT DO NOTHING",
    ),
    (
        _TRIALS,
        "INSERT INTO trials VALUES (?1, (SELECT id FROM families WHERE spec = ?2), ?3, ?4, ?5, ?6, "
        "?7, ?8, ?9, (SELECT id FROM environments WHERE content = ?10), ?11, ?12, "
        "seal(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)) ON CONFLICT DO NOTHING",
    ),
    (_CELLS, "INSERT INTO cells VALUES (?1, ?2, seal(?1)) ON CONFLICT DO NOTHING"),
)
"""What to read from a source and how to write it, in an order in which references hold."""
_CURVES = (
    "SELECT key, points FROM curves",
    "INSERT INTO curves VALUES (?, ?) ON CONFLICT DO NOTHING",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """What a merge came to."""

    trials_added: int
    trials_there: int
    cells_added: int
    cells_there: int


def merge(sources: Sequence[Path], into: Path) -> Merged:
    """Add to one store all that the others have and it has not; rows there stay as they are.

    Raises KbenchError, and writes nothing, where a row of a source is not what its key and digest
    say, and where two stores have different results of the same trial.
    """
    try:
        with ExitStack() as stack:
            trials: dict[str, tuple[str, Path]] = {}
            cells: set[str] = set()
            opened: list[sqlite3.Connection] = []
            for source in sources:
                store = stack.enter_context(Store(source, create=False))
                store.cells()  # which says where one is not what was written
                opened.append(stack.enter_context(store.transaction()))
                for key, row_digest in _checked_trials(source, opened[-1]):
                    _agree(key, (row_digest, source), trials.setdefault(key, (row_digest, source)))
                cells |= _checked_cells(source, opened[-1])
            target = stack.enter_context(Store(into))
            with target.transaction(write=True) as db:
                for key, row_digest in db.execute("SELECT key, digest FROM trials"):
                    if key in trials:
                        _agree(key, trials[key], (row_digest, into))
                before = _counts(db)
                for source_db in opened:
                    if _has_curves(source_db):
                        db.executemany(_CURVES[1], source_db.execute(_CURVES[0]))
                for read, write in _COPIED:
                    for source_db in opened:
                        db.executemany(write, source_db.execute(read))
                added = [now - then for now, then in zip(_counts(db), before, strict=True)]
    except sqlite3.Error as error:
        raise KbenchError(f"merging into {into} failed, and nothing was merged: {error}") from None
    return Merged(
        trials_added=added[0],
        trials_there=len(trials) - added[0],
        cells_added=added[1],
        cells_there=len(cells) - added[1],
    )


def _checked_trials(source: Path, db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Key and digest of every trial; raises KbenchError for one whose row has been changed."""
    found = []
    for key, family, *columns, result, _ in db.execute(_TRIALS):
        differs = _differences(key, family, columns, result)
        if differs:
            raise KbenchError(
                f"the store {source} has a changed row, and nothing was merged: trial "
                f"{str(key)[:12]}, whose {' and '.join(differs)}"
            )
        found.append((key, columns[-2]))
    return found


def _differences(key: str, family: str | None, columns: list[Any], result: str) -> list[str]:
    """What about a row cannot be, each in a few words."""
    in_family, stored = dict(zip(IN_FAMILY, columns, strict=False)), Ending(*columns[3:])
    try:
        spec = json.loads(family or "")
        key_holds = digest(spec | in_family) == key and canonical_json(spec) == family
    except (TypeError, ValueError):
        key_holds = False
    differs = [] if key_holds else ["key is not that of its specification"]
    try:
        content, environment = json.loads(result), json.loads(stored.environment)
        ending = TrialResult(**content, environment=environment).ending(key)
    except (TypeError, ValueError):
        return [*differs, "result cannot be read"]
    names = [
        name for name in Ending._fields[:5] if getattr(stored, name) != getattr(ending, name)
    ]  # all that stands in columns
    if names:
        verb = "is" if len(names) == 1 else "are"
        differs.append(f"{', '.join(names)} {verb} not what its result gives")
    return differs


def _checked_cells(source: Path, db: sqlite3.Connection) -> set[str]:
    """The specification of every cell; raises KbenchError for one that is none."""
    specs = {spec for spec, _ in db.execute(_CELLS)}
    for spec in specs:
        try:
            Cell.from_spec(json.loads(spec))
        except (KeyError, TypeError, ValueError, AttributeError, KbenchError):
            raise KbenchError(
                f"the store {source} has a changed row, and nothing was merged: a cell cannot be "
                f"read: {spec[:60]}"
            ) from None
    return specs


def _agree(key: str, new: tuple[str, Path], old: tuple[str, Path]) -> None:
    """Raises KbenchError where two stores have different results of one trial."""
    if new[0] != old[0]:
        raise KbenchError(
            f"conflict, and nothing was merged: of trial {key[:12]} the store {new[1]} has the "
            f"result {new[0][:12]}, the store {old[1]} has {old[0][:12]}"
        )


def _has_curves(db: sqlite3.Connection) -> bool:
    """A store made before curves were kept has none."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'curves'")
    return found.fetchone() is not None


def _counts(db: sqlite3.Connection) -> tuple[int, int]:
    """Trials and cells."""
    counts: tuple[int, int] = db.execute(
        "SELECT (SELECT count(*) FROM trials), (SELECT count(*) FROM cells)"
    ).fetchone()
    return counts
