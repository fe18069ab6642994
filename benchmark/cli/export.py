"""`kbench export`: results as tables for other programs."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import claim_stdout, say
from kbench.cli.streams import drop
from kbench.errors import KbenchError
from kbench.study.request import STORE


class What(enum.StrEnum):
    """One row a thing."""

    KAPPA = "kappa"
    BY_LENGTH = "by_length"
    REACH = "reach"
    N_STAR = "n_star"
    TRIALS = "trials"
    EXTRAPOLATION = "extrapolation"


class Format(enum.StrEnum):
    """How it is written."""

    CSV = "csv"
    PARQUET = "parquet"
    LATEX = "latex"
    MARKDOWN = "markdown"


def export(
    source: Annotated[
        Path, typer.Argument(help="A trial store, or a folder of leaderboard entries.")
    ] = Path(STORE),
    what: Annotated[What, typer.Option("--what", help="What a row is.")] = What.KAPPA,
    form: Annotated[
        Format, typer.Option("--format", help="LaTeX wants booktabs; Parquet, kbench[frames].")
    ] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where to write it. Default: to stdout.")
    ] = None,
) -> None:
    """Write κ, κ by length, reach, N*, trials or accuracies as CSV, Parquet, LaTeX or Markdown.

    CSV and Parquet hold numbers, and censoring in a column of its own; LaTeX and Markdown are
    written as the tables of `kbench show` are.
    """
    from kbench.api import load
    from kbench.report.frames import exported

    stdout = claim_stdout()
    content = exported(load(source), what.value, form.value)
    if output is None:
        try:
            stdout.buffer.write(content)
            stdout.buffer.flush()
        except OSError:
            drop(stdout.fileno())
            raise
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise KbenchError(f"--output {output}: {error.strerror}") from None
    say(f"written to {output}")
