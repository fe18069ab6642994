"""`kbench site`: the leaderboards as pages."""

from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import say


def site(
    out: Annotated[
        Path, typer.Argument(help="Folder for the pages: a new or empty one, or an earlier site.")
    ],
    leaderboards: Annotated[
        Path, typer.Option("--leaderboards", help="Folder of the entries.")
    ] = Path("leaderboards"),
) -> None:
    """Write the leaderboards as a static site, which needs no server and no network.

    The same entries give the same bytes. Pages of an earlier site that are stale are removed.
    """
    from kbench.leaderboard.board import load
    from kbench.leaderboard.claims import evaluate
    from kbench.leaderboard.site.pages import pages
    from kbench.leaderboard.site.writing import write

    rows = load(leaderboards)
    found = pages(rows, [claim.document() for claim in evaluate(rows)])
    stale = write(found, out)
    removed = f", {stale} stale removed" if stale else ""
    say(f"{len(found)} files written{removed}. Open {out / 'index.html'}")
