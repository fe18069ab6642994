"""What the Python API does: request → study → results. The command line calls it too."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kbench.errors import KbenchError
from kbench.registry import models, tasks
from kbench.report.callbacks import Callback, Callbacks, callbacks_of
from kbench.report.document import broken_trials, result_of
from kbench.report.grid import counted
from kbench.report.results import Results
from kbench.report.view import View, duration
from kbench.study.cell import Cell, Lengths
from kbench.study.driver import Driver, Progress, asked_for, recall
from kbench.study.executors.choice import Start, starts
from kbench.study.plan import Forecast, Plan, total
from kbench.study.plan import plan as plan_of
from kbench.study.request import BACKEND, DEVICE, PROTOCOL, STORE, Request, whole
from kbench.study.searches import CellRun
from kbench.study.store import Store, StoreFullError

if TYPE_CHECKING:
    from kbench.training.conformance import Check


def measure(
    cells: Sequence[Cell],
    store: Path,
    start: Start,
    device: str,
    *,
    say: Callable[[str], None],
    note: str | None = None,
    progress_to: Console | None = None,
    rows_to: Console | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[Driver, StoreFullError | None]:
    """Bring the cells to their end, or to Ctrl-C or a full disk, which is then the second value.

    Without consoles nothing is said of what is under way.
    """
    # Code of one's own may crash: in a process apart that is recorded, and the run continues.
    apart = any(
        isinstance(v, str) for cell in cells for v in (cell.model_version, cell.task_version)
    )
    with (
        Store(store) as trials,
        interruptible(say) as stopping,
        start(stopping, apart) as executor,
        Callbacks(callbacks, say) as told,
    ):
        driver = Driver(cells, trials, executor, stopping, told.trial if callbacks else None)
        try:
            if progress_to is None:
                for progress in driver.run():
                    told.cell(progress, trials)
                return driver, None
            timings: list[dict[Lengths, float]] = [{} for _ in driver.progress]
            say(_cost([p.run for p in driver.progress], timings, executor.capacity, device))
            if note:
                say(note)
            forecast = Forecast(driver.progress, timings)
            with View(driver, forecast, progress_to, rows_to or progress_to) as view:
                for progress in driver.run():
                    view.update(progress)
                    told.cell(progress, trials)
        except StoreFullError as error:
            return driver, error
        return driver, None


def _cost(
    runs: Sequence[CellRun], timings: Sequence[dict[Lengths, float]], slots: int, device: str
) -> str:
    """What the run will cost, said beforehand; seconds per step are added to the timings."""
    plans = zip(runs, timings, strict=True)
    p = total([plan_of(cell_run, device, timings=of) for cell_run, of in plans])
    if p.searches_done == p.searches:
        done = counted(p.searches, "search", "searches")
        return f"nothing to run: the store has the results of all {done}"
    to_do = counted(p.searches - p.searches_done, "search", "searches")
    return (
        f"{to_do} to do: {p.trials[0]:,} to {p.trials[1]:,} trials, "
        f"about {duration(p.seconds / slots)} on {counted(slots, 'worker')}"
    )


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and a terminal that is closed."""


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C (or another of STOPS) into a flag; a second one ends at once.

    Signals reach the main thread only: in another thread there is nothing to catch.
    """
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        say("stopping (press Ctrl-C again to end at once)")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: stopped
        return
    under_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # a terminal may be closed
    heeded = [number for number in STOPS if number != signal.SIGHUP or not under_nohup]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Names = str | Sequence[str]


def run(
    *,
    model: Names,
    task: Names,
    supervision: Names | None = None,
    protocol: str = PROTOCOL,
    lengths: tuple[int, ...] | str | None = None,
    task_params: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    distribution: Names | None = None,
    hold_out_pairs: float | None = None,
    extrapolate: Sequence[int | str] | int | str | None = None,
    match: str | None = None,
    reference: str | None = None,
    device: str = DEVICE,
    backend: str = BACKEND,
    workers: int | None = None,
    executor: str = "local",
    ray_address: str | None = None,
    store: str | Path = STORE,
    progress: bool = True,
    callbacks: Sequence[Callback | str] = (),
) -> Results:
    """Measure N* and κ of every model on every task under every supervision.

    Args:
        model: a registered name, or `path/to/file.py:Class`; one or several.
        task: as `model`.
        supervision: `outcome`, `cot` or `aligned`, one or several; all by default.
        protocol: `quick`, `cpu`, `paper`, or the path of a YAML file.
        lengths: first and last length, in state updates, or as text, as in "2-7" and "4,6,10"; the
            task's own by default.
        task_params: parameters of the tasks, as in `{"m": 5}`.
        seeds: how many; the protocol's number by default.
        distribution: `fixed`, `uniform` or `short-to-long`: N* under it, without κ.
        hold_out_pairs: the share of pairs of updates, each after its state, that training never
            sees and every validation sample holds, as in 0.1 (`kbench.data.pairs`).
        extrapolate: lengths to test at, as in `["2x", 500]`.
        match: `"params"` makes all models as large as `reference`.
        device: `cpu` or `cuda`.
        backend: `torch`, `numba` (CPU), `mamba-ssm` (CUDA), or `auto`: a kernel where there is one.
        workers: processes; one a core by default.
        executor: `local`, or `ray` with `ray_address`.
        store: folder of the trial store; a stored trial is never run again.
        progress: show what is under way, on stderr.
        callbacks: what hears of trials and results: objects like `kbench.Callback`, or texts as
            "tensorboard:runs" and "wandb:project". They change no result.

    Returns:
        Results, one for each cell. After Ctrl-C those so far, `complete` being False where
        something is missing: the same call resumes.

    Raises:
        KbenchError: for a wrong argument, with the command line's message, and for a full disk.

    >>> results = run(model="lstm", task="modadd", supervision="aligned", task_params={"m": 2},
    ...               lengths=(3, 4), seeds=1, workers=1, progress=False)
    >>> results["lstm"].complete
    True
    """
    start = starts(executor, ray_address, whole("workers", workers), device)
    request = Request.of(
        model=model, task=task, supervision=supervision, protocol=protocol, lengths=lengths,
        task_params=task_params, seeds=seeds, distribution=distribution,
        hold_out_pairs=hold_out_pairs, extrapolate=extrapolate,
        match=match, reference=reference, device=device, backend=backend,
    )  # fmt: skip
    folder, hearing = _folder(store), callbacks_of(callbacks)
    console = Console(stderr=True, markup=False, emoji=False) if progress else None
    say = _say
    driver, full = measure(
        request.cells(), folder, start, device, say=say, progress_to=console,
        callbacks=hearing,
    )  # fmt: skip
    if full:
        raise full
    with Store(folder, create=False) as trials:
        results = [result_of(p, trials) for p in driver.progress]
    for line in broken_trials(driver.progress):
        say(f"trial left out, {line}")
    if not all(result.complete for result in results):
        say("stopped; every finished trial is stored, and the same call resumes")
    return Results(results, [p.run for p in driver.progress])


def plan(
    *,
    model: Names,
    task: Names,
    supervision: Names | None = None,
    protocol: str = PROTOCOL,
    lengths: tuple[int, ...] | str | None = None,
    task_params: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    distribution: Names | None = None,
    hold_out_pairs: float | None = None,
    extrapolate: Sequence[int | str] | int | str | None = None,
    match: str | None = None,
    reference: str | None = None,
    device: str = DEVICE,
    backend: str = BACKEND,
    store: str | Path = STORE,
) -> Plan:
    """What `run` with the same arguments would cost; trains nothing.

    Returns:
        Plan: searches, trials and steps as (least, most), and about how many seconds on one worker.

    Raises:
        KbenchError: for a wrong argument.

    >>> plan(model="lstm", task="modadd", supervision="aligned", lengths=(3, 4), seeds=1).searches
    3
    """
    request = Request.of(
        model=model, task=task, supervision=supervision, protocol=protocol, lengths=lengths,
        task_params=task_params, seeds=seeds, distribution=distribution,
        hold_out_pairs=hold_out_pairs, extrapolate=extrapolate,
        match=match, reference=reference, device=device, backend=backend,
    )  # fmt: skip
    return total([plan_of(run, device) for run in recalled(request.cells(), _folder(store))])


def recalled(cells: Sequence[Cell], store: Path) -> list[CellRun]:
    """The cells, told what the store has of them, if there is one."""
    runs = [CellRun(cell) for cell in cells]
    if (store / "trials.sqlite3").exists():
        with Store(store, create=False) as trials:
            for cell_run in runs:
                recall(cell_run, trials)
    return runs


def load(source: str | Path) -> Results:
    """The results in a trial store, or in a folder of leaderboard entries, or in one entry.

    Raises:
        KbenchError: where there is none.

    >>> [r.verdict for r in load("leaderboards/quick-1/modadd/aligned/lstm.json")]
    ['sharing']
    """
    path = _folder(source)
    if (path / "trials.sqlite3").exists():
        progress: list[Progress] = []
        with Store(path, create=False) as trials:
            for cell in asked_for(trials):
                found = Progress(run=CellRun(cell))
                found.trials_reused = recall(found.run, trials)
                progress.append(found)
            results = [result_of(p, trials) for p in progress]
        if not results:
            raise KbenchError(f"the trial store at {source} has no results yet")
        return Results(results, [p.run for p in progress])
    return _of_entries(path)


def _of_entries(path: Path) -> Results:
    from kbench.leaderboard import trust
    from kbench.leaderboard.entry import Trials, read

    if not path.exists():
        raise KbenchError(f"{path}: no trial store, no folder of entries and no entry is there")
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    results, runs = [], []
    for file in files:
        if file.name == trust.LEDGER:
            continue
        try:
            entry = read(file)
            cell_run = entry.run()
            results.append(result_of(Progress(run=cell_run), Trials(entry, cell_run.cell)))
        except KbenchError as error:
            raise KbenchError(f"{file}: {error}") from None
        runs.append(cell_run)
    if not results:
        raise KbenchError(f"{path}: no trial store and no leaderboard entries are there")
    return Results(results, runs)


def check(model: str, *, protocol: str = PROTOCOL, task: str = "modadd") -> "list[Check]":
    """Is a model causal, deterministic and trainable? What `kbench check` finds.

    Raises:
        KbenchError: for a name that is not known, or a file that cannot be loaded.

    >>> all(found.passed for found in check("lstm"))
    True
    """
    from kbench.study.executors.local import one_thread
    from kbench.study.subjects import subjects
    from kbench.training.conformance import check as checks

    request = Request.of(model=model, task=task, protocol=protocol)
    (subject,) = subjects(request.models[:1], request.protocol, request.tasks[0])
    with one_thread():
        return checks(subject)


def list_models() -> list[str]:
    """Names of the models there are, those of installed packages too.

    >>> "lstm" in list_models()
    True
    """
    return models.names()


def list_tasks() -> list[str]:
    """Names of the tasks there are, those of installed packages too.

    >>> "modadd" in list_tasks()
    True
    """
    return tasks.names()


def _folder(path: Any) -> Path:
    if not isinstance(path, str | Path):
        raise KbenchError(f"a place is named by its path, got {path!r}")
    return Path(path)


def _say(line: str) -> None:
    print(f"kbench: {line}", file=sys.stderr)
