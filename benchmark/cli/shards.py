"""What `kbench run --shard` and `kbench plan --shards` say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kbench.cli.console import say

if TYPE_CHECKING:
    from kbench.report.grid import Grid
    from kbench.study.cell import Cell
    from kbench.study.plan import Plan
    from kbench.study.shards import Shard


def shard_of(text: str | None) -> "Shard | None":
    """What --shard asks for, if it is given; raises KbenchError for what is no share."""
    if text is None:
        return None
    from kbench.study.shards import Shard

    return Shard.of(text)


def own_share(cells: "Sequence[Cell]", shard: "Shard") -> "list[Cell]":
    """The cells of one share, having said how many there are."""
    own = shard.share(cells)
    if own:
        say(f"shard {shard}: {len(own)} of {len(cells)} cells")
    else:
        say(f"shard {shard}: none of {len(cells)} cells, nothing to run")
    return own


def shards_table(cells: "Sequence[Cell]", plans: "Sequence[Plan]", n: int, workers: int) -> "Grid":
    """How the work divides: a row for each share that has any cells."""
    from kbench.report.grid import Grid, counted
    from kbench.report.view import duration
    from kbench.study.plan import total
    from kbench.study.shards import shares

    figures = ["cells", "trials to run", "time, about"]
    title = f"Shards: {counted(workers, 'worker')} each"
    table = Grid(title, names=["shard"], figures=figures, right=figures)
    planned = dict(zip(map(id, cells), plans, strict=True))
    divided = shares(cells, n)
    for k, own in enumerate(divided, 1):
        p = total([planned[id(cell)] for cell in own])
        trials = f"{p.trials[0]:,} to {p.trials[1]:,}"
        table.add_row(f"{k}/{n}", str(len(own)), trials, duration(p.seconds / workers))
    if len(divided) < n:
        table.notes.append(f"{n - len(divided)} of {n} shards have no cells")
    return table
