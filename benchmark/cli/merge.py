"""`kbench merge`: one trial store out of several. `kbench repair`: a sound one out of a damaged."""

from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import out, printable
from kbench.study.request import STORE


def merge(
    stores: Annotated[
        list[Path], typer.Argument(help="Folders of trial stores.", metavar="STORE...")
    ],
    into: Annotated[
        Path, typer.Option("--into", help="Folder of the store to add them to; may be new.")
    ],
) -> None:
    """Add the trials and cells of some stores to another; what it has stays as it is.

    Every row is checked first: where one has been changed, or two stores have different results of
    the same trial, nothing is merged.
    """
    from kbench.study.merge import merge

    m = merge(stores, into)
    line = (
        f"{into}: {_counted(m.trials_added, 'trial')} and {_counted(m.cells_added, 'cell')} added, "
        f"{_counted(m.trials_there, 'trial')} and {_counted(m.cells_there, 'cell')} were there "
        "already"
    )
    out.print(printable(line), highlight=False, soft_wrap=True)


def repair(
    store: Annotated[Path, typer.Argument(help="Folder of a damaged trial store.")] = Path(STORE),
) -> None:
    """Keep every good row of a damaged trial store; the next run trains the others again.

    The damaged file stays beside the new one, as trials.sqlite3.damaged. No run may use the store.
    """
    from kbench.study.repair import repair

    found = repair(store)
    line = (
        f"{store}: {_counted(found.kept, 'trial')} and {_counted(found.cells, 'cell')} kept, "
        f"{_counted(found.lost, 'trial')} lost"
    )
    out.print(printable(line), highlight=False, soft_wrap=True)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
