"""`kbench board`: the leaderboards in the terminal, and as a Markdown page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli import completion
from kbench.cli.console import claim_stdout, out, print_json, say
from kbench.cli.options import (
    JsonOption,
    OnlyProtocolOption,
    OnlySupervisionOption,
    OnlyTaskOption,
)
from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from kbench.leaderboard.board import Row

PAGE = "README.md"


def board(
    leaderboards: Annotated[Path, typer.Argument(help="Folder of the entries.")] = Path(
        "leaderboards"
    ),
    protocol: OnlyProtocolOption = None,
    task: OnlyTaskOption = None,
    supervision: OnlySupervisionOption = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            autocompletion=completion.models,
            help="What κ is relative to. Default: transformer.",
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help=f"Write {PAGE} in the folder, of all entries.")
    ] = False,
    as_json: JsonOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 where that page is not current.")
    ] = False,
) -> int:
    """Rank the models of every board, and show κ of each cell.

    --json: of every cell the interval of κ, verdict, reach and trust, and what a board cost.
    """
    from kbench.leaderboard.board import (
        REFERENCE,
        document,
        least_trust,
        load,
        protocols,
        ranking,
        second_runs,
    )
    from kbench.leaderboard.text import (
        kappa_cell,
        markdown,
        rank_text,
        score_text,
        second_runs_text,
        trust_text,
    )
    from kbench.protocol import repeated
    from kbench.report.format import percent
    from kbench.report.grid import Grid

    stdout = claim_stdout() if as_json else None
    rows = load(leaderboards)
    if not rows:
        raise KbenchError(f"no entries in {leaderboards}")
    if write or check:
        return _page(leaderboards / PAGE, markdown(rows), write)
    for kind, wanted, of in (
        ("protocol", protocol, lambda row: repeated(row.protocol) or row.protocol),
        ("task", task, lambda row: row.task),
        ("supervision", supervision, lambda row: row.supervision),
    ):
        rows = _only(rows, f"{kind} on these boards", wanted, of)
    if reference and reference not in (models := {row.model for row in rows if row.has_kappa}):
        raise unknown("reference model on these boards", reference, models)
    if stdout:
        print_json(document(rows), stdout)
        return 0
    reference = reference or REFERENCE
    for name, group in protocols(rows).items():
        level = percent(group[0].run.cell.protocol.confidence)
        table = Grid(
            f"{name}: κ relative to {reference}, geometric mean over cells",
            names=["rank", "model"],
            figures=[f"relative κ ({level})", "cells", "learned", "trust"],
        )
        scores = ranking(group, reference)
        for score in scores:
            table.add_row(rank_text(score, scores), score.model, score_text(score),
                          str(score.cells), str(score.learned),
                          least_trust(group, score.model))  # fmt: skip
        if scores:
            out.print(table)
        figures = [f"κ ({level})", "verdict", "trust"]
        tables: dict[str, Grid] = {}
        for row in sorted(group, key=lambda r: (r.task, r.supervision, r.model)):
            if row.has_kappa:
                title = f"{name}, {row.task}, {row.supervision}"
                fresh = Grid(title, names=["model"], figures=figures)
                tables.setdefault(title, fresh).add_row(
                    row.model, kappa_cell(row), row.verdict, trust_text(row)
                )
        for table in tables.values():
            out.print(table)
        if again := second_runs(rows, name):
            table = Grid(f"{name}, measured twice", names=["task", "supervision", "model"],
                         figures=["κ", "verdict", "κ again", "verdict again"])  # fmt: skip
            for pair in again:
                row = pair.first
                table.add_row(row.task, row.supervision, row.model, kappa_cell(row), row.verdict,
                              kappa_cell(pair.second), pair.second.verdict)  # fmt: skip
            out.print(table)
            out.print(second_runs_text(again))
    return 0


def _only(
    rows: "list[Row]", kind: str, wanted: list[str] | None, of: "Callable[[Row], str]"
) -> "list[Row]":
    known = {of(row) for row in rows}
    for name in wanted or ():
        if name not in known:
            raise unknown(kind, name, known)
    return [row for row in rows if not wanted or of(row) in wanted]


def _page(path: Path, text: str, write: bool) -> int:
    try:
        current = path.exists() and path.read_text("utf-8") == text
        if write and not current:
            fresh = path.with_suffix(".new")
            fresh.write_text(text, "utf-8")
            fresh.replace(path)
    except OSError as error:
        raise KbenchError(f"{path} cannot be written: {error.strerror}") from None
    if write:
        out.print(str(path), highlight=False, soft_wrap=True)
        return 0
    if not current:
        say(f"{path} is not what the entries give. Make it anew with:", "kbench board --write")
    return 0 if current else 1
