"""`kbench list`: the models, tasks and protocols there are."""

import enum
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli import completion
from kbench.cli.console import out
from kbench.cli.options import ProtocolOption
from kbench.errors import KbenchError
from kbench.study.request import PROTOCOL

if TYPE_CHECKING:
    from kbench.report.grid import Grid


class Kind(enum.StrEnum):
    """What can be listed."""

    MODELS = "models"
    TASKS = "tasks"
    PROTOCOLS = "protocols"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    protocol: ProtocolOption = PROTOCOL,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            autocompletion=completion.tasks,
            help="Task for which the models' sizes are measured.",
        ),
    ] = "modadd",
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Of models: what is known of their expressivity. Of protocols: every number of a "
            "recipe.",
        ),
    ] = False,
) -> None:
    """List the models, with their sizes as measured, the tasks or the protocols there are.

    Models whose state is of a fixed size come first, then those whose state grows with what they
    have read.
    """
    if kind is Kind.MODELS:
        out.print(_models(protocol, task, verbose))
    else:
        out.print(_tasks(protocol) if kind is Kind.TASKS else _protocols(verbose))


def _models(protocol: str, task: str, verbose: bool) -> "Grid":
    from kbench.report.grid import Grid
    from kbench.study.executors.local import one_thread
    from kbench.study.subjects import all_subjects
    from kbench.training.conformance import ensure_usable, state_text
    from kbench.training.modules import flops_per_token, parameter_count, state_size

    found, left_out = all_subjects(protocol, task)
    longest = max((subject.max_len for subject in found), default=0)
    table = Grid(
        f"Sizes of protocol {protocol} for {task}, T = {longest}",
        names=["name"],
        figures=["version", "parameters", "FLOPs/token", "state kept"],
        prose=["what it is", *(["expressivity"] if verbose else [])],
        right=["parameters", "FLOPs/token"],
    )
    rows = []
    with one_thread():
        for subject in found:
            shape = subject.vocab_size, subject.max_len
            try:
                ensure_usable(subject)
                model = subject.model()
                state = state_size(model, *shape)
                sizes = (
                    f"{parameter_count(model):,}",
                    f"{flops_per_token(model, *shape):,.0f}",
                    state_text(state),
                )
            except KbenchError as error:
                left_out[subject.entry.name] = error
                continue
            cells = (
                subject.entry.name,
                _version(subject.entry.version),
                *sizes,
                _what(subject.entry.cls),
                *([subject.entry.expressivity] if verbose else []),
            )
            rows.append((bool(state and state[1]), cells))
    # By family: what keeps a state of fixed size, then what attends, whose state grows.
    for _, cells in sorted(rows):
        table.add_row(*cells)
    for name, reason in left_out.items():
        more = [""] if verbose else []
        table.add_row(name, "", "", "", "", f"cannot be used: {reason}", *more)
    return table


def _version(version: int | str) -> str:
    """A digest by its beginning."""
    text = str(version)
    return text if len(text) <= 20 else text[:19]


def _tasks(protocol: str) -> "Grid":
    from kbench.registry import tasks
    from kbench.report.format import lengths_words, parameters_text
    from kbench.report.grid import Grid
    from kbench.study.parameters import made_task

    table = Grid(
        f"As in protocol {protocol}",
        names=["name"], figures=["version", "parameters", "lengths"], prose=["what it is"],
    )  # fmt: skip
    for name in tasks.names():
        try:
            made = made_task(name, protocol, {}, None)
        except KbenchError as error:  # a broken plug-in concerns no other
            table.add_row(name, "", "", "", f"cannot be used: {error}")
            continue
        entry = tasks[name]
        table.add_row(
            name,
            _version(entry.version),
            parameters_text(made.parameters),
            lengths_words(made.lengths),
            _what(entry.cls),
        )
    return table


def _protocols(verbose: bool) -> "Grid":
    from kbench import protocol as protocols
    from kbench.report.grid import Grid

    table = Grid(
        "The newest version of each protocol",
        names=["name"], figures=["version", "what it is"], prose=["recipes"],
    )  # fmt: skip
    for name, id in protocols.newest().items():
        p = protocols.load(id)
        recipes = map(str, p.recipes) if verbose else (recipe.name for recipe in p.recipes)
        table.add_row(
            name,
            str(p.version),
            f"ε = {p.training.eps:g}, {p.training.steps:,} steps, {p.seeds}",
            "\n".join(recipes),
        )
    return table


def _what(cls: type) -> str:
    """The first line of the module's docstring, or of the class's."""
    doc = sys.modules[cls.__module__].__doc__ or cls.__doc__ or ""
    return doc.strip().splitlines()[0] if doc.strip() else ""
