"""`kbench compare`: is HEAD what BASE was?"""

import dataclasses
import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbench.cli.console import claim_stdout, out, print_json
from kbench.cli.options import JsonOption
from kbench.errors import KbenchError
from kbench.regression import TOLERANCE

if TYPE_CHECKING:
    from kbench.regression.compare import CellComparison, Comparison
    from kbench.regression.measured import Measured
    from kbench.regression.timing import Timing


def compare(
    base: Annotated[
        str,
        typer.Argument(
            help="A result file (`--json`, a canary, or pytest-benchmark's), a folder of them, a "
            "trial store, or a git revision, REV or REV:path, with leaderboard entries."
        ),
    ],
    head: Annotated[str, typer.Argument(help="The same, of what is to be judged.")],
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="A ratio up to which nothing has changed.")
    ] = TOLERANCE,
    as_json: JsonOption = False,
) -> int:
    """Compare two results: exit code 0 same, 1 regression, 3 inconclusive, 4 broken.

    A change for the better is a regression too: nobody has explained it yet.
    """
    from kbench.regression.compare import compare as compare_cells
    from kbench.regression.timing import compare_speed

    if not (math.isfinite(tolerance) and tolerance > 1):
        raise KbenchError(f"--tolerance is a ratio above 1, got {tolerance:g}")
    stdout = claim_stdout() if as_json else None
    (cells_b, times_b), (cells_h, times_h) = load(base), load(head)
    if bool(times_b) != bool(times_h):
        raise KbenchError("results and times of pytest-benchmark cannot be compared")
    if times_b:
        found = compare_speed(times_b, times_h)
    else:
        found = compare_cells(cells_b, cells_h, tolerance)
    if stdout:
        print_json(_document(found), stdout)
    else:
        _show(found, "runs" if times_b else "seeds")
    return int(found.verdict)


def load(source: str) -> "tuple[list[Measured], list[Timing]]":
    """The cells of any source, or the runs of pytest-benchmark; raises KbenchError for others."""
    from kbench.regression.timing import Timing

    path = Path(source)
    if (path / "trials.sqlite3").exists():
        return _of_store(path), []
    cells: dict[Any, Measured] = {}
    times: list[Timing] = []
    for name, text in _texts(source):
        found = _of_document(name, text)
        if isinstance(found, Timing):
            times.append(found)
        else:
            cells |= {cell.identity: cell for cell in found}
    if bool(cells) == bool(times):
        raise KbenchError(f"{source}: " + ("results and times mixed" if cells else "no results"))
    return list(cells.values()), times


def _texts(source: str) -> Iterator[tuple[str, str]]:
    """Name and content of a file, or of every JSON file below a folder or in a git revision."""
    from kbench.leaderboard.trust import LEDGER

    path = Path(source)
    if path.exists():
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            if file.name == LEDGER:
                continue
            try:
                yield str(file), file.read_text("utf-8")
            except OSError as error:
                raise KbenchError(f"{file}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise KbenchError(f"{file} is not text in UTF-8") from None
        return
    revision, _, below = source.partition(":")
    if (
        source.startswith("-")
        or _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None
    ):
        raise KbenchError(f"{source}: no such file, folder or git revision")
    listed = _git(
        "ls-tree", "-r", "-z", "--name-only", "--full-tree", revision, "--", below or "leaderboards"
    )
    for name in (listed or "").split("\0"):
        if name.endswith(".json") and not name.endswith(f"/{LEDGER}"):
            yield f"{revision}:{name}", _git("show", f"{revision}:{name}") or ""


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except (OSError, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def _of_document(name: str, text: str) -> "list[Measured] | Timing":
    from kbench.regression.measured import read
    from kbench.regression.timing import read_timing
    from kbench.report.document import read as read_document

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KbenchError(f"{name} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise KbenchError(f"{name}: not a result of kbench")
    try:
        if "settings" in document:
            return [_of_entry(text)]
        if "benchmarks" in document:
            return read_timing(document)
        found = read_document(document)
        return [read(result, found.command) for result in found.results]
    except KbenchError as error:
        raise KbenchError(f"{name}: {error}") from None


def _of_entry(text: str) -> "Measured":
    """What the entry's trials come to; what else it says is not looked at."""
    from kbench.leaderboard.entry import Trials, parse
    from kbench.regression.measured import read
    from kbench.report.document import result_of
    from kbench.study.driver import Progress

    entry = parse(text)
    run = entry.run()
    return read(result_of(Progress(run=run), Trials(entry, run.cell)))


def _of_store(folder: Path) -> "list[Measured]":
    """Of a cell measured more than once: its last version, with the most seeds."""
    from kbench.regression.measured import read
    from kbench.report.document import result_of
    from kbench.study.driver import Progress, asked_for, recall
    from kbench.study.searches import CellRun
    from kbench.study.store import Store

    found: dict[Any, Measured] = {}
    with Store(folder, create=False) as trials:
        for asked in asked_for(trials):
            progress = Progress(run=CellRun(asked))
            recall(progress.run, trials)
            cell = read(result_of(progress, trials))
            before = found.get(cell.identity)
            if (
                before is None
                or before.versions != cell.versions
                or len(before.seeds) <= len(cell.seeds)
            ):
                found[cell.identity] = cell
    if not found:
        raise KbenchError(f"the trial store at {folder} has no results yet")
    return list(found.values())


def _document(found: "Comparison") -> dict[str, Any]:
    def plain(cell: "CellComparison") -> dict[str, Any]:
        rows = [dataclasses.asdict(row) for row in cell.rows]
        for row in rows:
            row["verdict"] = row["verdict"].name.lower()
            for end in ("low", "high"):
                row[end] = float(f"{row[end]:.4g}") if 0 < row[end] < math.inf else None
        return {
            "name": cell.name,
            "verdict": cell.verdict.name.lower(),
            "notes": list(cell.notes),
            "rows": rows,
        }

    return {
        "schema_version": 1,
        "verdict": found.verdict.name.lower(),
        "exit_code": int(found.verdict),
        "cells": [plain(cell) for cell in found.cells],
        "notes": list(found.notes),
        "add_seeds": list(found.commands),
    }


def _show(found: "Comparison", counted: str) -> None:
    from kbench.report.format import decimals, interval_text
    from kbench.report.grid import Grid
    from kbench.statistics.likelihood import Interval

    for cell in found.cells:
        out.print(f"{cell.name}: {cell.verdict.name.lower()}", style="bold", highlight=False)
        for note in cell.notes:
            out.print(f"  {note}", highlight=False, soft_wrap=True)
        if not cell.rows:
            continue
        span = "95 %" if counted == "seeds" else "least – most"
        table = Grid(names=["quantity"], figures=[counted, f"head / base ({span})"],
                     prose=["finding"])  # fmt: skip
        for row in cell.rows:
            style = "bold red" if row.verdict else ""
            ratio = Interval(low=row.low or None, high=None if math.isinf(row.high) else row.high)
            table.add_row(
                row.quantity,
                str(row.seeds),
                interval_text(ratio, decimals),
                row.finding,
                style=style,
            )
        out.print(table)
    for note in found.notes:
        out.print(note, highlight=False, soft_wrap=True)
    out.print(found.verdict.name.lower(), style="bold", highlight=False)
    for command in found.commands:
        out.print(f"more {counted}, for both sides: {command}", highlight=False, soft_wrap=True)
