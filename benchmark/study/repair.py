"""A damaged store made into a sound one, with every row of it that is what was written."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbench.errors import KbenchError
from kbench.study.cell import Cell
from kbench.study.store import CONTENT, ROWS, Store, seal
from kbench.trial import IN_FAMILY, digest

DAMAGED = "trials.sqlite3.damaged"
"""What the store is called afterwards, in the same folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What a repair came to."""

    kept: int
    lost: int
    """Of the trials that could be found at all."""
    cells: int


def repair(folder: Path) -> Repaired:
    """Put a store in order that no run is using; the damaged file stays beside it as DAMAGED.

    Raises KbenchError where there is none, where nothing of it can be read, or where an earlier
    damaged file is in the way.
    """
    path, aside = folder / "trials.sqlite3", folder / DAMAGED
    if not path.exists():
        raise KbenchError(f"no trial store at {folder}")
    if aside.exists():
        raise KbenchError(f"{aside} is there from an earlier repair: move it away first")
    scratch = folder / "repairing"
    for left in scratch.glob("*"):
        left.unlink()  # of a repair that was broken off
    db = sqlite3.connect(path.absolute())
    try:
        db.create_function("seal", -1, seal, deterministic=True)
        try:
            columns = [name for _, name, *_ in db.execute("PRAGMA table_info(trials)")]
            trials, lost = _good_trials(db, is_sealed="seal" in columns)
        except sqlite3.DatabaseError as error:
            raise KbenchError(f"nothing of the store {folder} can be read: {error}") from None
        cells, curves = list(_good_cells(db)), list(_curves(db))
    finally:
        db.close()
    with Store(scratch) as store, store.transaction(write=True) as new:
        for row in trials:
            _insert(new, row)
        keys = {row[0] for row in trials}
        new.executemany("INSERT INTO curves VALUES (?, ?)", (c for c in curves if c[0] in keys))
        new.executemany(
            "INSERT INTO cells VALUES (?, ?, ?)", ((spec, at, seal(spec)) for spec, at in cells)
        )
    path.rename(aside)
    for suffix in ("-wal", "-shm"):  # of the damaged one: what was sound of it has been read
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    (scratch / path.name).rename(path)
    for left in scratch.glob("*"):
        left.unlink()
    scratch.rmdir()
    return Repaired(kept=len(trials), lost=lost, cells=len(cells))


def _good_trials(db: sqlite3.Connection, *, is_sealed: bool) -> tuple[list[tuple[Any, ...]], int]:
    """Rows that hold, each with when it was stored; and how many do not."""
    good, lost = [], 0
    for rowid in _rowids(db, "trials"):
        try:
            found = "t.seal IS seal(" + CONTENT + ")" if is_sealed else "1"
            *row, stored_at, holds = db.execute(
                f"SELECT {CONTENT}, t.stored_at, {found} {ROWS} WHERE t.rowid = ?", (rowid,)
            ).fetchone()
            key, family, *in_family = row[: 2 + len(IN_FAMILY)]
            spec = json.loads(family) | dict(zip(IN_FAMILY, in_family, strict=True))
            holds = holds and digest(spec) == key
        except (sqlite3.DatabaseError, TypeError, ValueError):
            holds = False
        if holds:
            good.append((*row, stored_at))
        else:
            lost += 1
    return good, lost


def _rowids(db: sqlite3.Connection, table: str) -> Iterator[int]:
    """As many as can be found, from either end where a page between them cannot be read."""
    seen: set[int] = set()
    failure: sqlite3.DatabaseError | None = None
    for order in ("ASC", "DESC"):
        try:
            query = f"SELECT rowid FROM {table} NOT INDEXED ORDER BY rowid {order}"
            for (rowid,) in db.execute(query):
                if rowid in seen:
                    break
                seen.add(rowid)
        except sqlite3.DatabaseError as error:
            failure = error
    if failure and not seen:
        raise failure
    yield from sorted(seen)


def _good_cells(db: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Those that are cells, as they were written."""
    try:
        for spec, asked_at, *sealed in db.execute("SELECT * FROM cells"):
            try:
                Cell.from_spec(json.loads(spec))
            except (KeyError, TypeError, ValueError, AttributeError, KbenchError):
                continue
            if sealed in ([], [seal(spec)]):
                yield spec, asked_at
    except sqlite3.DatabaseError:
        return


def _curves(db: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Those that can be read; a curve that is damaged in itself is only a picture."""
    try:
        for key, points in db.execute("SELECT key, points FROM curves"):
            try:
                json.loads(zlib.decompress(points))
            except (zlib.error, ValueError, TypeError):
                continue
            yield key, points
    except sqlite3.DatabaseError:
        return


def _insert(db: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    """A row of CONTENT and when it was stored."""
    family, environment, stored_at = row[1], row[9], row[-1]
    db.execute("INSERT OR IGNORE INTO families (spec) VALUES (?)", (family,))
    db.execute("INSERT OR IGNORE INTO environments (content) VALUES (?)", (environment,))
    db.execute(
        "INSERT OR IGNORE INTO trials VALUES "
        "(?, (SELECT id FROM families WHERE spec = ?), ?, ?, ?, ?, ?, ?, ?, "
        "(SELECT id FROM environments WHERE content = ?), ?, ?, ?)",
        (*row[:-1], stored_at, seal(*row[:-1])),
    )
