"""The command line: `kbench run | plan | show | list`."""

import enum
import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.exceptions import TyperException

from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from kbench.registry import Entry
    from kbench.study import Cell, Driver

app = typer.Typer(
    help="How many training samples does a sequence model need, and does it share what it learns "
    "across lengths? kbench measures N* and κ, the sharing factor.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _console(**options: Any) -> Console:
    """A console that never folds a table because its output goes to a file or a pipe."""
    console = Console(**options)
    return console if console.is_terminal else Console(width=140, **options)


out = _console()
err = _console(stderr=True)


class Kind(enum.StrEnum):
    """What can be listed."""

    MODELS = "models"
    TASKS = "tasks"
    PROTOCOLS = "protocols"


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


@app.command()
def run(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = "quick",
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    workers: WorkersOption = None,
    store: StoreOption = Path(".kbench"),
    as_json: JsonOption = False,
) -> int:
    """Measure N* and κ. Ctrl-C stops; the same command goes on, and runs no stored trial again."""
    cells = _cells(model, task, supervision, protocol, lengths, set_, seeds)
    workers = _workers(workers)
    from kbench.executors.local import local
    from kbench.report import document, tables
    from kbench.store import Store, StoreFullError
    from kbench.study import Driver
    from kbench.view import View

    with Store(store) as trials, _interruptible() as stopping:
        _announce(cells, trials, workers)
        with local(workers, stopping) as executor:
            driver = Driver(cells, trials, executor, stopping)
            full = None
            try:
                with View(driver, err, out if not as_json else err) as view:
                    for progress in driver.run():
                        view.update(progress)
            except StoreFullError as error:
                full = error
        if as_json:
            print(json.dumps(document(driver.progress), indent=2, ensure_ascii=False))
        else:
            out.print(tables([p.run for p in driver.progress]))
        return _epilogue(driver, full)


def _epilogue(driver: "Driver", full: Exception | None) -> int:
    """What went wrong, and how to go on; the exit code."""
    from kbench.report import errors

    broken = [line for p in driver.progress for line in errors(p.run)]
    for line in broken:
        _say(f"trial left out, {line}")
    again = shlex.join(["kbench", *sys.argv[1:]])
    if full:
        _say(f"{full}. What is stored is safe. Make room, then go on with: {again}")
        return 1
    if not all(p.run.complete for p in driver.progress):
        _say(f"stopped; every finished trial is stored. Go on with: {again}")
        return 130
    return 1 if broken else 0


@app.command()
def plan(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = "quick",
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    workers: WorkersOption = None,
    store: StoreOption = Path(".kbench"),
) -> None:
    """Say what `run` with the same options would cost, and what the store has of it already."""
    cells = _cells(model, task, supervision, protocol, lengths, set_, seeds)
    workers = _workers(workers)
    from rich.table import Table

    from kbench.plan import total
    from kbench.report import task_name
    from kbench.view import duration

    plans = _plans(cells, store)
    table = Table(title=f"Plan: {workers} workers", title_justify="left", title_style="bold")
    for column in ("model", "task", "supervision"):
        table.add_column(column)
    for column in ("searches", "done", "stored trials", "trials to run", "steps", "time, about"):
        table.add_column(column, justify="right")
    rows = [(cell.model, task_name(cell), cell.supervision) for cell in cells]
    for names, p in zip([*rows, ("total", "", "")], [*plans, total(plans)], strict=True):
        table.add_row(
            *names,
            str(p.searches),
            str(p.searches_done),
            str(p.trials_stored),
            f"{p.trials[0]} to {p.trials[1]}",
            f"{p.steps[0]:,} to {p.steps[1]:,}",
            duration(p.seconds / workers),
            end_section=names is rows[-1],
        )
    out.print(table)


@app.command()
def show(
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model.")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task.")] = None,
    supervision: Annotated[
        list[str] | None, typer.Option("--supervision", help="Only this supervision.")
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", help="Only this protocol, as in quick-1.")
    ] = None,
    store: StoreOption = Path(".kbench"),
    as_json: JsonOption = False,
) -> None:
    """Show the stored results again, all or some, without running anything."""
    from kbench.report import document, tables
    from kbench.store import Store
    from kbench.study import Cell, CellRun, Progress, replay

    with Store(store, create=False) as trials:
        cells = [Cell.from_spec(spec) for spec in trials.cells()]
        if not cells:
            raise KbenchError(f"the trial store at {store} has no results yet")
        for kind, wanted, of in (
            ("model", model, lambda c: c.model),
            ("task", task, lambda c: c.task),
            ("supervision", supervision, lambda c: c.supervision),
            ("protocol", protocol, lambda c: c.protocol.id),
        ):
            for name in wanted or ():
                if name not in (stored := {of(cell) for cell in cells}):
                    raise unknown(f"{kind} in the store", name, stored)
            cells = [cell for cell in cells if not wanted or of(cell) in wanted]
        progress = [Progress(run=CellRun(cell)) for cell in cells]
        for p in progress:
            p.trials_reused = replay(p.run, trials)
    if as_json:
        print(json.dumps(document(progress), indent=2, ensure_ascii=False))
    else:
        out.print(tables([p.run for p in progress]))


@app.command("list")
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


# From options to cells


def _cells(
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


def _workers(workers: int | None) -> int:
    import os

    if workers is not None and workers < 1:
        raise KbenchError(f"--workers is a number of processes, at least 1, got {workers}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return workers or available or 1


# What is said on the way


def _plans(cells: "Sequence[Cell]", store: Path) -> list:
    from kbench.plan import plan
    from kbench.store import Store
    from kbench.study import CellRun, replay

    runs = [CellRun(cell) for cell in cells]
    if (store / "trials.sqlite3").exists():
        with Store(store, create=False) as trials:
            for cell_run in runs:
                replay(cell_run, trials)
    return [plan(cell_run) for cell_run in runs]


def _announce(cells: "Sequence[Cell]", store: Any, workers: int) -> None:
    """Say beforehand what the run will cost."""
    from kbench.plan import total
    from kbench.view import duration

    p = total(_plans(cells, store.path.parent))
    if p.searches_done == p.searches:
        _say(f"all {p.searches} searches are in the store: nothing to run")
        return
    _say(
        f"{p.searches - p.searches_done} searches to do: {p.trials[0]} to {p.trials[1]} trials, "
        f"about {duration(p.seconds / workers)} on {workers} "
        f"{'worker' if workers == 1 else 'workers'}"
    )


def _say(line: str) -> None:
    err.print(f"kbench: {line}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C (or a polite kill) into a flag; a second Ctrl-C ends at once."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        _say("stopping (once more to end at once)")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Entry point: every foreseen error is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except (KbenchError, TyperException) as error:
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        _say(f"error: {' '.join(message.split())}")
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code)
