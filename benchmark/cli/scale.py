"""`kbench scale`: how N* grows with the length or with a parameter of the task."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli import completion
from kbench.cli.console import claim_stdout, err, out, print_json, say
from kbench.cli.epilogue import epilogue
from kbench.cli.options import (
    BackendOption,
    DeviceOption,
    DistributionOption,
    ExecutorOption,
    JsonOption,
    LengthsOption,
    MatchOption,
    ModelOption,
    PlotOption,
    ProtocolOption,
    QuietOption,
    RayAddressOption,
    ReferenceOption,
    SeedsOption,
    SetOption,
    StoreOption,
    SupervisionOption,
    WorkersOption,
    plot_path,
)
from kbench.errors import KbenchError
from kbench.study.executors.choice import starts
from kbench.study.parameters import preset_lengths, settings_from
from kbench.study.request import BACKEND, DEVICE, PROTOCOL, STORE, Request

if TYPE_CHECKING:
    from kbench.study.cell import Cell


def scale(
    model: ModelOption,
    task: Annotated[
        str,
        typer.Option(
            "--task", autocompletion=completion.tasks, help="Task, or path/to/file.py:Class."
        ),
    ],
    over: Annotated[
        str,
        typer.Option(
            "--over",
            help="What grows: L=5,7,10 for the longest length, or a task parameter, as in "
            "m=2,3,5; of one that is no number, the number of different answers counts.",
        ),
    ],
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = PROTOCOL,
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    match: MatchOption = None,
    reference: ReferenceOption = None,
    device: DeviceOption = DEVICE,
    backend: BackendOption = BACKEND,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    ray_address: RayAddressOption = None,
    store: StoreOption = Path(STORE),
    plot: PlotOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """N* of all lengths together against the size of the task: log-log slope, and a plot."""
    stdout = claim_stdout() if as_json else None
    from kbench.api import measure

    start = starts(executor, ray_address, workers, device)
    picture = plot_path(plot or Path("scale.svg"))
    name, values = _over(over)
    settings = settings_from(set_ or ())
    if name in settings:
        raise KbenchError(f"--over {over} says what {name} is; --set cannot be given as well")
    first = _first_length(task, protocol, lengths, values) if name == "L" else 0
    grown = [
        Request.of(
            model=model, task=task, supervision=supervision, seeds=seeds, protocol=protocol,
            distribution=distribution or ["uniform"],
            lengths=f"{first}-{value}" if name == "L" else lengths,
            task_params=settings if name == "L" else settings | {name: value},
            match=match, reference=reference, device=device, backend=backend,
        ).cells()
        for value in values
    ]  # fmt: skip
    sizes = tuple(_size(value, cells[0]) for value, cells in zip(values, grown, strict=True))
    if min(sizes) < 1:
        raise KbenchError(f"--over {over}: a log-log slope needs sizes of at least 1")
    if len(set(sizes)) < 2:
        raise KbenchError(f"--over {over}: a slope needs two different sizes, got {sizes[0]}")
    cells = list(itertools.chain(*grown))
    driver, full = measure(
        cells, store, start, device, say=say, progress_to=None if quiet else err,
        rows_to=err if as_json else out,
    )  # fmt: skip
    from kbench.report.readings import Scaling, scaling_document
    from kbench.report.tables import scaling_table

    each = len(grown[0])
    columns = [driver.progress[i::each] for i in range(each)]
    rows = [
        Scaling(over=name, values=values, sizes=sizes, runs=[p.run for p in column])
        for column in columns
    ]
    if stdout:
        print_json(scaling_document(rows, driver.progress), stdout)
    else:
        out.print(scaling_table(rows))
    from kbench.report.figures.plots import save, scaling_figure

    if any(b.high or b.low for row in rows for of in row.brackets() for b in of):
        save(scaling_figure(rows), picture)
        if not quiet:
            say(f"plot written to {picture}")
    return epilogue(driver, full, quiet=quiet)


def _over(text: str) -> tuple[str, tuple[str, ...]]:
    """`m=2,3,5` as a name and at least two values."""
    name, _, listed = text.partition("=")
    values = tuple(dict.fromkeys(value.strip() for value in listed.split(",")))
    if not name.isidentifier() or len(values) < 2 or not all(values):
        raise KbenchError(f"--over wants a name and two values or more, as in L=5,7, got {text!r}")
    return name, values


def _first_length(task: str, protocol: str, lengths: str | None, values: Sequence[str]) -> int:
    if lengths:
        raise KbenchError("--over L says what the lengths are; --lengths cannot be given as well")
    first = preset_lengths(task, protocol)[0]
    for value in values:
        if not value.isdecimal() or int(value) <= first:
            raise KbenchError(f"--over L wants lengths above the first, {first}, got {value!r}")
    return first


def _size(value: str, cell: "Cell") -> int:
    """The value where it is a number, otherwise how many different answers the task then has."""
    if value.isdecimal():
        return int(value)
    from kbench.data.splits import answer_counts
    from kbench.registry import tasks

    task = tasks[cell.task].cls(**cell.task_params)
    return len(answer_counts(task, cell.lengths[-1]))
