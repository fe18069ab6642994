"""The options that several commands share, and from them the cells to measure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kbench.cli.tasks import beyond, but_defaults, lengths_of, settings_of, task_preset
from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from kbench.registry import Entry
    from kbench.study.cell import Cell
    from kbench.study.executors import Executor
    from kbench.training.conformance import Subject

ModelOption = Annotated[
    list[str], typer.Option("--model", help="Model, or path/to/file.py:Class; repeatable.")
]
TaskOption = Annotated[
    list[str], typer.Option("--task", help="Task, or path/to/file.py:Class; repeatable.")
]
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
DistributionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--distribution",
        help="fixed, uniform or short-to-long: N* over all lengths together under this "
        "distribution, in training and validation alike, without κ; repeatable.",
    ),
]
ExtrapolateOption = Annotated[
    str | None,
    typer.Option(
        "--extrapolate",
        help="Test what the joint search trained at other lengths, as in 2x,4x,500.",
    ),
]
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", help="Number of seeds. Default: the protocol's.")
]
MatchOption = Annotated[
    str | None,
    typer.Option(
        "--match", help="`params`: rescale widths to the reference's parameter count within 5 %."
    ),
]
ReferenceOption = Annotated[
    str | None, typer.Option("--reference", help="Model to match. Default: the first --model.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
BackendOption = Annotated[
    str,
    typer.Option("--backend", help="torch, mamba-ssm, or auto: a kernel where the device has one."),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Where to write the plot: .svg or .png.")
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the trial store.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")
]
ProfileOption = Annotated[
    bool, typer.Option("--profile", help="Say in the end where the time went.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", help="Processes. Default: one for each core; on a GPU one."),
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", help="Where trials run: local, or ray for a cluster.")
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="The cluster: auto, host:port or ray://host:port. Default: one started here.",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard", help="One share of the cells, as in 3/10: the same whole cells every time."
    ),
]
ShardsOption = Annotated[
    int | None,
    typer.Option("--shards", min=1, help="Say how the cells divide into this many shares."),
]
EXECUTORS = ("local", "ray")


def to_cells(
    *,
    model_names: Sequence[str],
    task_names: Sequence[str],
    supervisions: Sequence[str] | None,
    protocol_name: str,
    lengths: str | None,
    settings: Sequence[str] | None,
    seeds: int | None,
    distributions: Sequence[str] | None,
    extrapolate: str | None,
    match: str | None,
    reference: str | None,
    device: str,
    backend: str,
    here: bool = True,
) -> "list[Cell]":
    """Every model on every task under every supervision; raises KbenchError for bad input.

    With `here` false they have been measured, and this machine need not have the backend.
    """
    from kbench import protocol as protocols
    from kbench.data.contract import made
    from kbench.data.splits import DISTRIBUTIONS
    from kbench.data.supervision import SUPERVISIONS
    from kbench.registry import models, tasks

    # What costs nothing to check comes first, the models, which import torch, last.
    protocol = protocols.load(protocol_name)
    for kind, names, known in (
        ("supervision", supervisions, SUPERVISIONS),
        ("distribution", distributions, DISTRIBUTIONS),
    ):
        for name in names or ():
            if name not in known:
                raise unknown(kind, name, known)
    if seeds is not None and seeds < 1:
        raise KbenchError(f"--seeds is a number of seeds, at least 1, got {seeds}")
    if match not in (None, "params"):
        raise unknown("--match", match, ["params"])
    if reference and not match:
        raise KbenchError("--reference is the model for --match params, which is not given")
    span = lengths_of(lengths) if lengths else None
    task_entries = [tasks[name] for name in _once(task_names)]
    changes = settings_of(settings or (), task_entries)
    params, spans, tested = {}, {}, {}
    for task in task_entries:
        preset, own_span = task_preset(task, protocol, span)
        spans[task.name] = tuple(own_span)
        tested[task.name] = beyond(extrapolate, own_span[-1]) if extrapolate else ()
        params[task.name] = but_defaults(task, preset | changes[task.name])
        made(task, params[task.name], spans[task.name] + tested[task.name])
    model_entries = [models[name] for name in _once(model_names)]
    backends = _backends(model_entries, backend, device, here)

    from kbench.study.cell import Cell
    from kbench.study.executors.local import one_thread
    from kbench.training.conformance import ensure_usable

    cells = [
        Cell.of(
            model=model.name,
            backend=backends[model.name],
            task=task.name,
            task_params=params[task.name],
            supervision=supervision,
            protocol=protocol,
            lengths=spans[task.name],
            seeds=protocol.seeds.values(seeds),
            distribution=distribution,
            extrapolate=tested[task.name],
        )
        for task in task_entries
        for model in model_entries
        for supervision in _once(supervisions or SUPERVISIONS)
        for distribution in _once(distributions or [None])
    ]
    with one_thread():
        if match:
            like = models[reference or model_names[0]]
            cells = [_matched(cell, like) for cell in cells]
        for cell in cells:
            ensure_usable(_subject(cell, models[cell.model], cell.size))
    return cells


def subjects(model_names: Sequence[str], protocol_name: str, task_name: str) -> "list[Subject]":
    """The models at a protocol's size, for a task's longest input under any supervision."""
    from kbench import protocol as protocols
    from kbench.data.contract import made
    from kbench.data.splits import Source
    from kbench.registry import models, tasks
    from kbench.training.conformance import Subject

    protocol, task = protocols.load(protocol_name), tasks[task_name]
    params, lengths = task_preset(task, protocol)
    source = Source(
        task=made(task, params, lengths),
        supervision="cot",
        lengths=tuple(lengths),
        max_validation=protocol.training.max_validation,
        max_validation_fraction=protocol.training.max_validation_fraction,
    )
    return [
        Subject(
            entry=models[name],
            size=models[name].preset(protocol.presets),
            vocab_size=source.vocab_size(),
            max_len=source.width(),
        )
        for name in _once(model_names)
    ]


def all_subjects(
    protocol_name: str, task_name: str
) -> "tuple[list[Subject], dict[str, KbenchError]]":
    """Every registered model, and why those left out are: a broken plug-in concerns no other."""
    from kbench.registry import models

    subjects([], protocol_name, task_name)  # a wrong protocol or task is no fault of the models
    found, left_out = [], {}
    for name in models.names():
        try:
            found += subjects([name], protocol_name, task_name)
        except KbenchError as error:
            left_out[name] = error
    return found, left_out


def look_over_device(device: str, here: bool = True) -> None:
    """Raise KbenchError unless there is such a device, and with `here`, torch can train on it."""
    import torch

    if device not in ("cpu", "cuda"):
        raise unknown("device", device, ["cpu", "cuda"])
    if device == "cuda" and here and not torch.cuda.is_available():
        raise KbenchError("--device cuda: torch sees no CUDA device here")


def _backends(entries: "Sequence[Entry]", wanted: str, device: str, here: bool) -> dict[str, str]:
    """The backend of each model; one that does not have the backend wanted keeps plain torch."""
    from kbench.ops.scan import BACKENDS, missing
    from kbench.training.modules import backends

    look_over_device(device, here or wanted == "auto")
    if wanted == "auto":
        able = {e.name: [b for b in backends(e) if not missing(b, device)] for e in entries}
        return {name: found[-1] for name, found in able.items()}
    if wanted not in BACKENDS:
        raise unknown("backend", wanted, ["auto", *BACKENDS])
    if here and (reason := missing(wanted, device)):
        raise KbenchError(f"--backend {wanted}: {reason}")
    chosen = {e.name: wanted if wanted in backends(e) else "torch" for e in entries}
    if wanted not in chosen.values():
        raise KbenchError(f"--backend {wanted}: none of {', '.join(chosen)} has it")
    return chosen


def _matched(cell: "Cell", reference: "Entry") -> "Cell":
    """The cell with its model as wide as makes it as large as the reference."""
    from kbench.registry import models
    from kbench.training.conformance import ensure_usable
    from kbench.training.modules import match_parameters, parameter_count

    like = _subject(cell, reference, reference.preset(cell.protocol.presets))
    ensure_usable(like)
    if cell.model == reference.name:
        return cell
    target = parameter_count(like.model())
    size = match_parameters(models[cell.model], cell.size, target, like.vocab_size, like.max_len)
    return dataclasses.replace(cell, size=size)


def _subject(cell: "Cell", entry: "Entry", size: Mapping[str, Any]) -> "Subject":
    """A model as it would be built for a cell's longest input."""
    from kbench.data.splits import source_of
    from kbench.statistics.search import Probe
    from kbench.training.conformance import Subject

    probe = Probe(n_samples=1, learning_rate=cell.protocol.learning_rates[0])
    source = source_of(cell.trial(cell.joint, cell.seeds[0], probe))
    return Subject(entry=entry, size=size, vocab_size=source.vocab_size(), max_len=source.width())


def plot_path(path: Path) -> Path:
    """Where a plot can be written to, before anything is measured; raises KbenchError."""
    if path.suffix not in (".svg", ".png"):
        raise KbenchError(f"a plot is a file .svg or .png, got {str(path)!r}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise KbenchError(f"a plot cannot be written to {str(path)!r}: no such folder")
    return path


def _once(names: Any) -> list[str]:
    """Each name once, in the order given."""
    return list(dict.fromkeys(names))


def worker_count(workers: int | None, device: str) -> int:
    """The number asked for, or one for each core that this process may use; on a GPU one."""
    import os

    if workers is not None and workers < 1:
        raise KbenchError(f"--workers is a number of processes, at least 1, got {workers}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return workers or (available if device == "cpu" else None) or 1


def starts(
    executor: str, ray_address: str | None, workers: int | None, device: str
) -> "Callable[[Callable[[], bool]], Executor]":
    """What makes the executor, given what says whether to stop; raises KbenchError."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "ray":
        if workers is not None:
            raise KbenchError("--workers is for --executor local; a cluster has what it has")
        from kbench.study.executors.ray import on_ray

        cluster = on_ray(ray_address, device)
        return lambda stopping: cluster
    if ray_address:
        raise KbenchError("--ray-address is the cluster for --executor ray, which is not given")
    from kbench.study.executors.local import local

    count = worker_count(workers, device)
    return lambda stopping: local(count, stopping, device)
