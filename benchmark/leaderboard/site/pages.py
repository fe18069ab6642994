"""The static site: pages from the entries, the same bytes for the same entries.

No server, no network and no clock: what a page says is in the entries, and its links are relative.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from kbench.errors import KbenchError
from kbench.leaderboard.board import Row, protocols
from kbench.leaderboard.place import location
from kbench.leaderboard.site import panels
from kbench.leaderboard.site.boards import Board
from kbench.leaderboard.site.rendering import page, renderer
from kbench.leaderboard.site.writing import Pages


def pages(rows: Sequence[Row], claims: Sequence[Mapping[str, Any]] = ()) -> Pages:
    """Every file of the site; claims are the documents that `kbench claims --json` has.

    Raises KbenchError for an entry that is not where it belongs.
    """
    if not rows:
        raise KbenchError("there are no leaderboard entries to make a site of")
    for row in rows:
        if row.place != location(row.run.cell):
            raise KbenchError(f"{row.place}: the entry's place is {location(row.run.cell)}")
    boards = [Board(name=name, rows=of) for name, of in sorted(protocols(rows).items())]
    paths = {str(row.place): page(row) for row in rows}
    render = renderer({"boards": [board.name for board in boards], "claims": claims})
    found = {"index.html": render("index", depth=0, here="", all_boards=boards)}
    if claims:
        found["claims.html"] = render("claims", depth=0, here="claims", pages=paths)
    for board in boards:
        found[f"{board.name}/index.html"] = render(
            "protocol", depth=1, here=board.name, board=board
        )
        for task in board.tasks:
            found[f"{board.name}/{task.rows[0].task}.svg"] = render(
                "picture", panels=task.forests, task=task.name, protocol=board.name, depth=0
            )
        for row in board.rows:
            panel = panels.seed_panel(row) if row.has_kappa else None
            found[page(row)] = render(
                "entry", depth=3, here=board.name, row=row, panel=panel, setup=board.setup
            )
    return {PurePosixPath(path): text for path, text in found.items()}
