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
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Trial store of your own, whose cells stand beside them."),
    ] = None,
    repository: Annotated[
        str | None, typer.Option("--repository", help="Address that pages link sources to.")
    ] = None,
    docs: Annotated[
        str | None,
        typer.Option("--docs", help="Address of the documentation, or its path in the site."),
    ] = None,
) -> None:
    """Write the leaderboards as a static site, which needs no server and no network.

    The same entries give the same bytes. Pages of an earlier site that are stale are removed.
    With --store, complete cells of your own are added and marked as yours; they are not ranked.
    """
    from kbench.leaderboard.board import load
    from kbench.leaderboard.claims import evaluate
    from kbench.leaderboard.site.about import about
    from kbench.leaderboard.site.own import with_store
    from kbench.leaderboard.site.pages import pages
    from kbench.leaderboard.site.writing import write
    from kbench.report.grid import counted

    rows = load(leaderboards)
    claims = [claim.document() for claim in evaluate(rows)]
    if store is not None:
        rows, left_out = with_store(rows, store)
        for line in left_out:
            say(f"left out, {line}")
    found = pages(rows, claims, about(rows, repository, docs) if rows else None)
    stale = write(found, out)
    removed = f", {stale} stale ones removed" if stale else ""
    say(f"{counted(len(found), 'file')} written{removed}. Open {out / 'index.html'}")
