"""The static site: pages from the entries, the same bytes for the same entries.

No server, no network and no clock: what a page says is in the entries, and its links are relative.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from kbench.errors import KbenchError
from kbench.leaderboard.board import Row, protocols, second_runs
from kbench.leaderboard.place import location
from kbench.leaderboard.site import charts, downloads, panels
from kbench.leaderboard.site.about import About, about
from kbench.leaderboard.site.architectures import architectures
from kbench.leaderboard.site.boards import Board
from kbench.leaderboard.site.picture import picture
from kbench.leaderboard.site.rendering import page, renderer
from kbench.leaderboard.site.writing import Pages

PICTURE = "kappa.svg"
"""Of the front board: the README shows it."""


def pages(
    rows: Sequence[Row], claims: Sequence[Mapping[str, Any]] = (), site: About | None = None
) -> Pages:
    """Every file of the site; claims are the documents that `kbench claims --json` has.

    Raises KbenchError for an entry that is not where it belongs.
    """
    if not rows:
        raise KbenchError("there are no leaderboard entries to make a site of")
    for row in rows:
        if not row.yours and row.place != location(row.run.cell):
            raise KbenchError(f"{row.place}: the entry's place is {location(row.run.cell)}")
    boards = [
        Board(name=name, rows=of, again=second_runs(rows, name))
        for name, of in protocols(rows).items()
    ]
    render = renderer({"all_boards": boards, "claims": claims, "site": site or about(rows)})
    found: dict[str, str] = {}
    for part in (_front(rows, claims, boards, render), *(_board(b, render) for b in boards)):
        found |= dict(part)
    return {PurePosixPath(path): text for path, text in found.items()}


def front_picture(rows: Sequence[Row]) -> str | None:
    """The picture of the front board, an SVG by itself; None where no cell of it is decided."""
    name, of = next(iter(protocols(rows).items()))
    shown = Board(name=name, rows=of).picture_of()
    return renderer({})("picture", depth=0, picture=shown) if shown else None


def _front(
    rows: Sequence[Row], claims: Sequence[Mapping[str, Any]], boards: Sequence[Board], render: Any
) -> Iterator[tuple[str, str]]:
    """The first page with its picture, the models' pages, and the claims."""
    models = architectures([row for board in boards for row in board.rows])
    front = boards[0]
    shown = front.picture_of()
    yield "index.html", render(
        "index", depth=0, here="", front=front, models=models, picture=shown,
        narrow=front.picture_of(narrow=True),
        is_yours=any(row.yours for row in rows),
    )  # fmt: skip
    if alone := front_picture(rows):
        yield PICTURE, alone
    for model in models:
        yield f"models/{model.name}.html", render("model", depth=1, here="models", model=model)
    if claims:
        paths = {str(row.place): page(row) for row in rows}
        yield "claims.html", render("claims", depth=0, here="claims", pages=paths)


def _board(board: Board, render: Any) -> Iterator[tuple[str, str]]:
    """One protocol: its page, two models side by side, pictures, entries, and what they hold."""
    results = downloads.results(board.rows)
    entries = [of for row, of in zip(board.rows, results, strict=True) if not row.yours]
    tables = dict(downloads.of_board(entries))
    yield (
        f"{board.name}/index.html",
        render("protocol", depth=1, here=board.name, board=board, tables=list(tables)),
    )
    yield f"{board.name}/compare.html", render("compare", depth=1, here="compare", board=board)
    for task in board.tasks:
        if shown := picture(task.rows, task.name, board.level):
            yield f"{board.name}/{task.rows[0].task}.svg", render("picture", depth=0, picture=shown)
    for name, text in tables.items():
        yield f"{board.name}/{name}", text
    for row, result in zip(board.rows, results, strict=True):
        where = page(row)
        yield where, render(
            "entry", depth=where.count("/"), here=board.name, row=row, setup=board.setup,
            panel=panels.seed_panel(row) if row.has_kappa else None,
            by_length=panels.kappa_panels([row], [row.model]) if row.has_kappa else [],
            success=charts.success(row), learning=charts.learning(row).values(),
        )  # fmt: skip
        for suffix, text in downloads.of_entry(row, result):
            yield where.removesuffix(".html") + suffix, text
