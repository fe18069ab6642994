"""The trial store: immutable rows in SQLite, written only by the process that drives a run."""

import dataclasses
import errno
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from kbench.errors import KbenchError
from kbench.trial import Ending, Trial, TrialResult, Variant, canonical_json

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

SCHEMA_VERSION = 7
WITHOUT_CURVES, WITHOUT_FAILURES, WITHOUT_SEALS = 4, 5, 6
"""Earlier schemas, which are brought up to this one when trials are to be run.

In 6 rows are not sealed; in 5 results do not say why a run failed either; in 4 there is no table of
curves either.
"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS families (id INTEGER PRIMARY KEY, spec TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS environments (id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS trials (
    key TEXT NOT NULL UNIQUE,
    family INTEGER NOT NULL REFERENCES families,
    seed INTEGER NOT NULL, n_samples INTEGER NOT NULL, learning_rate REAL NOT NULL,
    outcome TEXT NOT NULL, steps INTEGER NOT NULL, best_loss REAL, digest TEXT NOT NULL,
    environment INTEGER NOT NULL REFERENCES environments,
    result TEXT NOT NULL, stored_at TEXT NOT NULL, seal TEXT
);
CREATE INDEX IF NOT EXISTS by_family ON trials (family);
CREATE TABLE IF NOT EXISTS curves (key TEXT PRIMARY KEY, points BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (
    spec TEXT PRIMARY KEY, asked_at TEXT NOT NULL, seal TEXT
) WITHOUT ROWID;
"""
ROWS = """
FROM trials t LEFT JOIN families f ON f.id = t.family
LEFT JOIN environments e ON e.id = t.environment
"""
CONTENT = """t.key, f.spec, t.seed, t.n_samples, t.learning_rate,
t.outcome, t.steps, t.best_loss, t.digest, e.content, t.result"""
"""All that a trial's row says: what its seal is of, in this order."""
_UPGRADE = (
    "ALTER TABLE trials ADD COLUMN seal TEXT",
    "ALTER TABLE cells ADD COLUMN seal TEXT",
    f"UPDATE trials SET seal = (SELECT seal({CONTENT}) {ROWS} WHERE t.rowid = trials.rowid)",
    "UPDATE cells SET seal = seal(spec)",
)
ELSEWHERE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
}  # fmt: skip
"""Why SQLite may fail though the file is sound."""
_PATIENCE_S = 30.0
"""How long a write waits for another process, or for space once the reserve is used up."""
_RESERVE_BYTES = 4 << 20
"""Room for about 300 results, more than are under way at once, for the day the disk is full."""


class StoreDamagedError(KbenchError):
    """What is read is not what was written; the message says how much, and what to do."""


def seal(*values: Any) -> str:
    """Of a row: it is checked whenever the row is read, so that no changed bit goes unnoticed."""
    return hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()


class StoreFullError(KbenchError):
    """The disk is full; the message says whether a result could not be kept."""


class Store:
    """Trials by content key. Several processes may share a file: rows are added, never changed."""

    def __init__(self, directory: Path, *, create: bool = True) -> None:
        self.path = directory / "trials.sqlite3"
        self.full: str | None = None
        """Why there is no room for more, once a write has had to draw on the reserve."""
        self._reserve = directory / "reserve"
        self._claims_path = directory / "claims"
        self._claims: IO[bytes] | None = None
        if not create and not self.path.exists():
            raise KbenchError(f"no trial store at {directory} (`kbench run` makes one)")
        try:
            if create:
                directory.mkdir(parents=True, exist_ok=True)
                self._set_room_aside()
            self._db = self._open(create)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise KbenchError(f"cannot open the trial store {self.path}: {reason}") from None
        try:
            self._look_over_families()
        except BaseException:
            self._db.close()
            raise

    def _open(self, create: bool) -> sqlite3.Connection:
        # Autocommit: every row is its own transaction, on disk before put() returns.
        # Absolute: a path that begins with `file:` would be taken for a URI.
        db = sqlite3.connect(self.path.absolute(), timeout=_PATIENCE_S, isolation_level=None)
        db.create_function("seal", -1, seal, deterministic=True)
        try:
            try:
                _keep_a_write_ahead_log(db)
                db.execute("PRAGMA synchronous=FULL")
                version = db.execute("PRAGMA user_version").fetchone()[0]
            except sqlite3.OperationalError:
                if create or self.path.with_name(self.path.name + "-wal").exists():
                    raise
                # To look at a store, a full or write-protected disk is good enough.
                db.close()
                db = sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True)
                db.create_function("seal", -1, seal, deterministic=True)
                version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != 0 and not WITHOUT_CURVES <= version <= SCHEMA_VERSION:
                raise KbenchError(
                    f"the store {self.path} has schema {version}, this kbench reads "
                    f"{SCHEMA_VERSION}; name another place with --store"
                )
            self._has_curves = create or version != WITHOUT_CURVES
            if version == 0 or (version != SCHEMA_VERSION and create):
                db.executescript(_SCHEMA)
                _seal_rows(db)
            is_sealed = create or version in (0, SCHEMA_VERSION)
            self._holds, self._cell_holds = (
                (f"t.seal IS seal({CONTENT})", "seal IS seal(spec)") if is_sealed else ("1", "1")
            )
        except BaseException:
            db.close()
            raise
        return db

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        if self._claims:
            self._claims.close()

    def get(self, key: str) -> TrialResult | None:
        """The result of the trial with this key, if it has been run."""
        rows = self._read(f"SELECT t.result, e.content, {self._holds} {ROWS} WHERE t.key = ?", key)
        for result, environment, holds in rows:
            if not holds:
                raise self._damaged()
            curve = self._curve(key)
            return TrialResult(
                **json.loads(result), environment=json.loads(environment), curve=curve
            )
        return None

    def _curve(self, key: str) -> tuple[tuple[float, ...], ...]:
        """Of one trial; empty where it ran before curves were kept."""
        if not self._has_curves:
            return ()
        try:
            for (points,) in self._read("SELECT points FROM curves WHERE key = ?", key):
                return tuple(map(tuple, json.loads(zlib.decompress(points))))
        except (zlib.error, ValueError, TypeError):
            raise self._damaged("a learning curve is not what was written") from None
        return ()

    def endings(self, trial: Trial) -> dict[Variant, Ending]:
        """Of every trial of this one's family that has been run."""
        family = canonical_json(trial.family())
        rows = self._read(
            f"SELECT {self._holds}, t.seed, t.n_samples, t.learning_rate, "
            "t.outcome, t.steps, t.best_loss, t.digest, e.content, "
            "json_extract(t.result, '$.failure'), json_extract(t.result, '$.seen_prefixes') "
            f"{ROWS} WHERE t.family = (SELECT id FROM families WHERE spec = ?)",
            family,
        )
        if not all(row[0] for row in rows):
            raise self._damaged()
        return {
            Variant(seed, n, dataclasses.replace(trial.recipe, learning_rate=rate)): Ending(*ending)
            for _, seed, n, rate, *ending in rows
        }

    def _read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows; raises StoreDamagedError where SQLite cannot make them out."""
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in ELSEWHERE:
                raise KbenchError(f"the trial store {self.path} cannot be read: {error}") from None
            raise self._damaged(str(error)) from None

    def _look_over_families(self) -> None:
        """One trial of each: what a family is looked for by would otherwise go unnoticed."""
        first = "SELECT min(rowid) FROM trials GROUP BY family"
        rows = self._read(f"SELECT {self._holds} {ROWS} WHERE t.rowid IN ({first})")
        if not all(holds for (holds,) in rows):
            raise self._damaged()

    def _damaged(self, why: str = "") -> StoreDamagedError:
        """What to raise."""
        if not why:
            try:
                query = f"SELECT count(*), sum({self._holds}) {ROWS}"
                count, good = self._db.execute(query).fetchone()
                why = f"{count - (good or 0):,} of {count:,} trials are not what was written"
            except sqlite3.DatabaseError as error:
                why = str(error)
        folder = self.path.parent
        return StoreDamagedError(
            f"the trial store {folder} is damaged: {why}; `kbench repair {folder}` keeps every "
            "good row, and the next run trains the others again"
        )

    def put(self, trial: Trial, result: TrialResult) -> None:
        """Add a finished trial; where it is there already, the first row stays.

        Errors are not kept: a trial that broke down is tried again by the next run.
        On a full disk the row goes where the reserve was, and `full` says so from then on. Raises
        StoreFullError where the row could not be written all the same.
        """
        if result.outcome == "error":
            return
        key, family = trial.key(), canonical_json(trial.family())
        ending, content = result.ending(key), dataclasses.asdict(result)
        del content["environment"], content["curve"]
        if result.curve:
            points = canonical_json([(n, rounded(x)) for n, x in result.curve]).encode()
            self._write("INSERT OR IGNORE INTO curves VALUES (?, ?)", key, zlib.compress(points))
        self._write("INSERT OR IGNORE INTO families (spec) VALUES (?)", family)
        self._write("INSERT OR IGNORE INTO environments (content) VALUES (?)", ending.environment)
        row = (
            *(key, family, trial.seed, trial.n_samples, trial.recipe.learning_rate, *ending[:5]),
            canonical_json(content),
        )
        self._write(
            "INSERT OR IGNORE INTO trials VALUES "
            "(?, (SELECT id FROM families WHERE spec = ?), ?, ?, ?, ?, ?, ?, ?, "
            "(SELECT id FROM environments WHERE content = ?), ?, ?, ?)",
            *(*row, _now(), seal(*row)),
        )
        if [(family,)] != self._read(f"SELECT f.spec {ROWS} WHERE t.key = ?", key):
            raise self._damaged()  # one that no search finds stands in its place

    def add_cell(self, spec: dict[str, Any]) -> None:
        """Remember that this cell was asked for, so that `kbench show` lists it."""
        text = canonical_json(spec)
        self._write("INSERT OR IGNORE INTO cells VALUES (?, ?, ?)", text, _now(), seal(text))

    def claim(self, spec: dict[str, Any]) -> bool:
        """May this process measure the cell? False while another one that has claimed it lives.

        A lock on one byte, at a place that the cell's digest gives: whoever ends, however that
        is, leaves none behind. Where a file system has no locks, or no room, everyone may; trials
        are then run twice, and nothing worse.
        """
        if fcntl is None:
            return True
        place = int(hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:12], 16)
        try:
            self._claims = self._claims or self._claims_path.open("a+b")
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def cells(self) -> list[dict[str, Any]]:
        """Every cell asked for, oldest first."""
        rows = self._read(f"SELECT spec, {self._cell_holds} FROM cells ORDER BY asked_at, spec")
        if not all(holds for _, holds in rows):
            raise self._damaged("a cell is not what was written")
        return [json.loads(spec) for spec, _ in rows]

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """The database as it is at one moment; what is written to it, all at once or not at all."""
        self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield self._db
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def __len__(self) -> int:
        return int(self._read("SELECT count(*) FROM trials")[0][0])

    def _set_room_aside(self) -> None:
        """Fill a file with noise, which no file system stores in less room than it takes."""
        if self._reserve.exists() and self._reserve.stat().st_size == _RESERVE_BYTES:
            return
        try:
            with self._reserve.open("wb") as file:
                file.write(os.urandom(_RESERVE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._reserve.unlink(missing_ok=True)
            raise

    def _write(self, statement: str, *values: Any) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._db.execute(statement, values)
                return
            except sqlite3.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StoreFullError(
                        f"a result could not be written to {self.path}: {error}"
                    ) from None
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                    raise KbenchError(f"the trial store {self.path} is write-protected") from None
                # A disk may say that it is full in either way; extended codes hold more bits.
                if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                    self.full = f"no room left for {self.path}: {error}"
                    self._reserve.unlink(missing_ok=True)
                time.sleep(0.05)


def rounded(x: float) -> float:
    """To five figures: a curve is looked at."""
    return float(f"{x:.5g}")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _seal_rows(db: sqlite3.Connection) -> None:
    """Of a store from before there were seals; by one of those that open it at once."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if not any(row[1] == "seal" for row in db.execute("PRAGMA table_info(trials)")):
            for statement in _UPGRADE:
                db.execute(statement)
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _keep_a_write_ahead_log(db: sqlite3.Connection) -> None:
    """SQLite does not wait for this lock, which another that opens a new store may hold."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            primary = error.sqlite_errorcode & 0xFF
            if primary != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
