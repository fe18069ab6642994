"""The options that several commands share, and from them the cells to measure."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from kbench.registry import Entry
    from kbench.study import Cell

ModelOption = Annotated[list[str], typer.Option("--model", help="Model; repeatable.")]
TaskOption = Annotated[list[str], typer.Option("--task", help="Task; repeatable.")]
SupervisionOption = Annotated[
    list[str] | None,
    typer.Option("--supervision", help="outcome, cot or aligned; repeatable. Default: all."),
]
ProtocolOption = Annotated[
    str, typer.Option("--protocol", help="quick, cpu, paper, or a YAML file of your own.")
]
LengthsOption = Annotated[
    str | None,
    typer.Option("--lengths", help="First and last length, as in 2-7. Default: the task's."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A task parameter, as in m=5; repeatable.", metavar="NAME=VALUE"),
]
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", help="Number of seeds. Default: the protocol's.")
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the trial store.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Processes. Default: one for each core.")
]


def to_cells(
    model_names: Sequence[str],
    task_names: Sequence[str],
    supervisions: Sequence[str] | None,
    protocol_name: str,
    lengths: str | None,
    settings: Sequence[str] | None,
    seeds: int | None,
) -> "list[Cell]":
    """Every model on every task under every supervision; raises KbenchError for bad input."""
    from kbench import protocol as protocols
    from kbench.registry import models, tasks
    from kbench.study import Cell
    from kbench.supervision import SUPERVISIONS

    # What costs nothing to check comes first, the models, which import torch, last.
    protocol = protocols.load(protocol_name)
    for supervision in supervisions or ():
        if supervision not in SUPERVISIONS:
            raise unknown("supervision", supervision, SUPERVISIONS)
    if seeds is not None and seeds < 1:
        raise KbenchError(f"--seeds is a number of seeds, at least 1, got {seeds}")
    span = _lengths(lengths) if lengths else None
    task_entries = [tasks[name] for name in _once(task_names)]
    changes = _settings(settings or (), task_entries)
    params, spans = {}, {}
    for task in task_entries:
        preset = dict(task.preset(protocol.presets))
        first, last = preset.pop("lengths")
        spans[task.name] = tuple(span or range(first, last + 1))
        params[task.name] = preset | changes[task.name]
        task.cls(**params[task.name])
    model_entries = [models[name] for name in _once(model_names)]
    for model in model_entries:
        model.preset(protocol.presets)
    return [
        Cell(
            model=model.name,
            task=task.name,
            task_params=params[task.name],
            supervision=supervision,
            protocol=protocol,
            lengths=spans[task.name],
            seeds=protocol.seeds.values(seeds),
        )
        for task in task_entries
        for model in model_entries
        for supervision in _once(supervisions or SUPERVISIONS)
    ]


def _once(names: Any) -> list[str]:
    """Each name once, in the order given."""
    return list(dict.fromkeys(names))


def _lengths(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and 1 <= int(first) < int(last)):
        raise KbenchError(
            f"--lengths wants a first and a larger last length, as in 2-7, got {text!r}"
        )
    return range(int(first), int(last) + 1)


def _settings(settings: Sequence[str], entries: "Sequence[Entry]") -> dict[str, dict[str, Any]]:
    """The parameters set for each task; one that no task has is an error."""
    changes: dict[str, dict[str, Any]] = {entry.name: {} for entry in entries}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise KbenchError(f"--set wants NAME=VALUE, as in m=5, got {setting!r}")
        types: dict[str, Any] = {
            entry.name: {f.name: f.type for f in fields(entry.cls)}.get(name) for entry in entries
        }
        if not any(types.values()):
            known = {f.name for entry in entries for f in fields(entry.cls)}
            raise unknown(f"parameter of {', '.join(types)}", name, known)
        for task, kind in types.items():
            if kind is None:
                continue
            try:
                changes[task][name] = kind(text)
            except ValueError:
                raise KbenchError(
                    f"{task}: {name} must be of type {kind.__name__}, got {text!r}"
                ) from None
    return changes


def worker_count(workers: int | None) -> int:
    """The number asked for, or one for each core that this process may use."""
    import os

    if workers is not None and workers < 1:
        raise KbenchError(f"--workers is a number of processes, at least 1, got {workers}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return workers or available or 1
