"""`kbench run` and `kbench plan`: measure, or say what it would cost."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kbench.cli.console import claim_stdout, err, out, print_json, say
from kbench.cli.options import (
    BackendOption,
    DeviceOption,
    DistributionOption,
    ExecutorOption,
    ExtrapolateOption,
    JsonOption,
    LengthsOption,
    MatchOption,
    ModelOption,
    ProfileOption,
    ProtocolOption,
    RayAddressOption,
    ReferenceOption,
    SeedsOption,
    SetOption,
    ShardOption,
    ShardsOption,
    StoreOption,
    SupervisionOption,
    TaskOption,
    WorkersOption,
    starts,
    to_cells,
    worker_count,
)
from kbench.cli.shards import own_share, shard_of, shards_table

if TYPE_CHECKING:
    from kbench.study.cell import Cell
    from kbench.study.driver import Driver
    from kbench.study.executors import Executor
    from kbench.study.searches import CellRun


def run(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = "quick",
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    extrapolate: ExtrapolateOption = None,
    match: MatchOption = None,
    reference: ReferenceOption = None,
    device: DeviceOption = "cpu",
    backend: BackendOption = "auto",
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    ray_address: RayAddressOption = None,
    store: StoreOption = Path(".kbench"),
    shard: ShardOption = None,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> int:
    """Measure N* and κ. Ctrl-C stops; the same command goes on, and runs no stored trial again."""
    stdout = claim_stdout() if as_json else None
    start = starts(executor, ray_address, workers, device)
    part = shard_of(shard)
    cells = to_cells(
        model_names=model, task_names=task, supervisions=supervision, protocol_name=protocol,
        lengths=lengths, settings=set_, seeds=seeds, distributions=distribution,
        extrapolate=extrapolate, match=match, reference=reference, device=device, backend=backend,
    )  # fmt: skip
    from kbench.report.readings import document
    from kbench.report.tables import tables

    if part and not (cells := own_share(cells, part)):
        if stdout:
            print_json(document([]), stdout)
        return 0
    driver, full = measure(cells, store, start, device, stdout is not None)
    if stdout:
        print_json(document(driver.progress), stdout)
    else:
        out.print(tables([p.run for p in driver.progress]))
    if profile:
        from kbench.report.view import profile_table

        (err if as_json else out).print(profile_table(driver.profile()))
    return epilogue(driver, full)


def measure(
    cells: "Sequence[Cell]",
    store: Path,
    start: "Callable[[Callable[[], bool]], Executor]",
    device: str,
    as_json: bool,
) -> "tuple[Driver, Exception | None]":
    """Bring the cells to their end, or to Ctrl-C or a full disk, which is then the second value."""
    from kbench.report.view import View
    from kbench.study.driver import Driver
    from kbench.study.store import Store, StoreFullError

    with Store(store) as trials, _interruptible() as stopping, start(stopping) as executor:
        driver = Driver(cells, trials, executor, stopping)
        _announce([p.run for p in driver.progress], executor.capacity, device)
        try:
            with View(driver, err, err if as_json else out) as view:
                for progress in driver.run():
                    view.update(progress)
        except StoreFullError as error:
            return driver, error
        return driver, None


def epilogue(driver: "Driver", full: Exception | None) -> int:
    """What went wrong, and how to go on; the exit code."""
    from kbench.report.readings import errors

    broken = [line for p in driver.progress for line in errors(p.run)]
    for line in broken:
        say(f"trial left out, {line}")
    again = shlex.join(["kbench", *sys.argv[1:]])
    if full:
        say(f"{full}. What is stored is safe. Go on with: {again}")
        return 1
    if not all(p.run.complete for p in driver.progress):
        say(f"stopped; every finished trial is stored. Go on with: {again}")
        return 130
    return 1 if broken else 0


def plan(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = "quick",
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    extrapolate: ExtrapolateOption = None,
    match: MatchOption = None,
    reference: ReferenceOption = None,
    device: DeviceOption = "cpu",
    backend: BackendOption = "auto",
    workers: WorkersOption = None,
    store: StoreOption = Path(".kbench"),
    shards: ShardsOption = None,
) -> None:
    """Say what `run` with the same options would cost, and what the store has of it already."""
    cells = to_cells(
        model_names=model, task_names=task, supervisions=supervision, protocol_name=protocol,
        lengths=lengths, settings=set_, seeds=seeds, distributions=distribution,
        extrapolate=extrapolate, match=match, reference=reference, device=device, backend=backend,
    )  # fmt: skip
    workers = worker_count(workers, device)
    from rich.table import Table

    from kbench.report.format import model_name, task_name
    from kbench.report.view import duration
    from kbench.study.driver import recall
    from kbench.study.plan import plan, total
    from kbench.study.searches import CellRun
    from kbench.study.store import Store

    runs = [CellRun(cell) for cell in cells]
    if (store / "trials.sqlite3").exists():
        with Store(store, create=False) as trials:
            for cell_run in runs:
                recall(cell_run, trials)
    plans = [plan(cell_run, device) for cell_run in runs]
    table = Table(title=f"Plan: {workers} workers", title_justify="left", title_style="bold")
    for column in ("model", "task", "supervision"):
        table.add_column(column)
    for column in ("searches", "done", "stored trials", "trials to run", "steps", "time, about"):
        table.add_column(column, justify="right")
    rows = [(model_name(cell), task_name(cell), cell.supervision) for cell in cells]
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
    if shards:
        out.print(shards_table(cells, plans, shards, workers))


def _announce(runs: "Sequence[CellRun]", slots: int, device: str) -> None:
    """Say beforehand what the run will cost."""
    from kbench.report.view import duration
    from kbench.study.plan import plan, total

    p = total([plan(cell_run, device) for cell_run in runs])
    if p.searches_done == p.searches:
        say(f"all {p.searches} searches are in the store: nothing to run")
        return
    say(
        f"{p.searches - p.searches_done} searches to do: {p.trials[0]} to {p.trials[1]} trials, "
        f"about {duration(p.seconds / slots)} on {slots} {'slot' if slots == 1 else 'slots'}"
    )


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C (or a polite kill) into a flag; a second Ctrl-C ends at once."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        say("stopping (once more to end at once)")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
