"""`kbench list`: the models, tasks and protocols there are."""

import enum
from typing import Annotated

import typer

from kbench.cli.console import out


class Kind(enum.StrEnum):
    """What can be listed."""

    MODELS = "models"
    TASKS = "tasks"
    PROTOCOLS = "protocols"


def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List the models, tasks or protocols there are."""
    from rich.table import Table

    from kbench import protocol, registry

    table = Table("name", "version", "what it is")
    if kind is Kind.PROTOCOLS:
        for name in protocol.names():
            p = protocol.load(name)
            rates = ", ".join(f"{rate:g}" for rate in p.learning_rates)
            table.add_row(
                name,
                str(p.version),
                f"ε = {p.training.eps:g}, {p.training.steps:,} steps, {p.seeds.count} seeds, "
                f"learning rates {rates}",
            )
    else:
        entries = registry.models if kind is Kind.MODELS else registry.tasks
        for name in entries.names():
            entry = entries[name]
            table.add_row(
                name, str(entry.version), (entry.cls.__doc__ or "").strip().splitlines()[0]
            )
    out.print(table)
