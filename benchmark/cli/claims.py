"""`kbench claims`: the paper's observations, checked against the leaderboard entries."""

from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import claim_stdout, out, print_json
from kbench.cli.options import JsonOption


def claims(
    leaderboards: Annotated[
        Path, typer.Argument(help="Folder of the entries, or a part of it.")
    ] = Path("leaderboards"),
    as_json: JsonOption = False,
) -> None:
    """Say of ten published observations, and five claims of kbench's own, what the entries say.

    Each is supported, refuted, or there is not enough evidence. The rules stand in docs/claims.md;
    they were written down before the entries that they judge were measured.
    """
    stdout = claim_stdout() if as_json else None
    from kbench.leaderboard.board import load
    from kbench.leaderboard.claims import evaluate
    from kbench.report.grid import Grid

    found = evaluate(load(leaderboards))
    if stdout:
        print_json({"claims": [claim.document() for claim in found]}, stdout)
        return
    table = Grid(
        "Ten published observations, and five claims of kbench's own",
        names=["id"], figures=["verdict", "on the board"], prose=["observation", "elsewhere"],
    )  # fmt: skip
    for claim in found:
        elsewhere = [f"{f.board}: {f.verdict}" for f in claim.findings if f.board != claim.board]
        observation = claim.observation.replace("`", "").replace("\\", "")
        table.add_row(
            claim.id, claim.verdict, claim.board or "–", observation, "\n".join(elsewhere)
        )
    out.print(table)
    out.print("Figures and entries of each: --json. Rules: docs/claims.md.", highlight=False)
