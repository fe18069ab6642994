"""`kbench --version`: what is installed here, for a report of a problem."""

from typing import Annotated

import typer

from kbench.cli.console import out


def _print(wanted: bool) -> None:
    if wanted:
        out.print(line(), highlight=False, soft_wrap=True)
        raise typer.Exit


def version(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Say the versions of kbench and torch, and the commit.",
            callback=_print,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Options of kbench itself, before any command."""


def line() -> str:
    """`kbench 0.2.0 (1a2b3c4d5e6f+changes), torch 2.8.0`; torch is not imported for it."""
    from importlib import metadata

    import kbench
    from kbench.provenance import revision

    found = revision()
    changes = "+changes" if found["dirty"] else ""
    commit = f" ({found['revision'][:12]}{changes})" if found["revision"] else ""
    try:
        torch = f"torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        torch = "no torch"
    return f"kbench {kbench.__version__}{commit}, {torch}"
