"""`kbench run` and `kbench plan`: measure, or say what it would cost."""

from pathlib import Path
from typing import TYPE_CHECKING

from kbench.cli.console import claim_stdout, err, out, print_json, say
from kbench.cli.epilogue import epilogue, found
from kbench.cli.options import (
    BackendOption,
    BoardOption,
    DeviceOption,
    DistributionOption,
    ExecutorOption,
    ExtrapolateOption,
    HoldOutOption,
    JsonOption,
    LeaderboardsOption,
    LengthsOption,
    LogOption,
    MatchOption,
    ModelOption,
    ProfileOption,
    ProtocolOption,
    QuietOption,
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
)
from kbench.cli.shards import own_share, shard_of, shards_table
from kbench.errors import KbenchError
from kbench.study.executors.choice import starts, worker_count
from kbench.study.parameters import settings_from
from kbench.study.request import BACKEND, DEVICE, PROTOCOL, STORE, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from kbench.study.cell import Cell, Lengths
    from kbench.study.searches import CellRun


def run(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = PROTOCOL,
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    hold_out_pairs: HoldOutOption = None,
    extrapolate: ExtrapolateOption = None,
    match: MatchOption = None,
    reference: ReferenceOption = None,
    device: DeviceOption = DEVICE,
    backend: BackendOption = BACKEND,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    ray_address: RayAddressOption = None,
    store: StoreOption = Path(STORE),
    shard: ShardOption = None,
    board: BoardOption = False,
    leaderboards: LeaderboardsOption = Path("leaderboards"),
    log: LogOption = None,
    profile: ProfileOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Measure N* and κ. Ctrl-C stops; the same command resumes, and runs no stored trial again."""
    stdout = claim_stdout() if as_json else None
    from kbench.api import measure

    start = starts(executor, ray_address, workers, device)
    part = shard_of(shard)
    cells = Request.of(
        model=model, task=task, supervision=supervision, protocol=protocol, lengths=lengths,
        task_params=settings_from(set_ or ()), seeds=seeds, distribution=distribution,
        hold_out_pairs=hold_out_pairs, extrapolate=extrapolate, match=match,
        reference=reference, device=device, backend=backend,
    ).cells()  # fmt: skip
    from kbench.report.callbacks import callbacks_of
    from kbench.report.document import document_of, plain
    from kbench.report.tables import tables
    from kbench.study.store import Store

    if part and not (cells := own_share(cells, part)):
        if stdout:
            print_json(plain(document_of([])), stdout)
        return 0
    if board and not leaderboards.is_dir():
        raise KbenchError(f"--board: no folder at {leaderboards}; name one with --leaderboards")
    if board and hold_out_pairs is not None:
        raise KbenchError("--board: boards do not mix splits: none has cells with --hold-out-pairs")
    driver, full = measure(
        cells, store, start, device, say=say, note=_what_submit_refuses(cells),
        progress_to=None if quiet else err, rows_to=err if as_json else out,
        callbacks=callbacks_of(log or ()),
    )  # fmt: skip
    if stdout:
        with Store(store, create=False) as trials:
            print_json(plain(document_of(driver.progress, trials)), stdout)
    else:
        out.print(tables([p.run for p in driver.progress]))
    if driver.complete:
        to = err if as_json else out
        to.print(f"\n{found([p.run for p in driver.progress])}", highlight=False)
    if profile:
        from kbench.report.view import profile_table

        (err if as_json else out).print(profile_table(driver.profile()))
    if board:
        _show_standings([p.run for p in driver.progress], leaderboards, err if as_json else out)
    return epilogue(driver, full, quiet=quiet)


def _what_submit_refuses(cells: "Sequence[Cell]") -> str | None:
    """Said before hours are spent on what no leaderboard takes."""
    from kbench.leaderboard.submission import refusal

    if reasons := [reason for cell in cells if (reason := refusal(cell))]:
        which = "this" if len(cells) == 1 else f"{len(reasons)} of these {len(cells)} cells"
        return f"note: no leaderboard would take {which} ({reasons[0]})"
    return None


def _show_standings(runs: "Sequence[CellRun]", leaderboards: Path, to: "Console") -> None:
    """A table for each board that what was measured belongs on."""
    from kbench.leaderboard.standing import HERE, standings
    from kbench.report.grid import Grid

    for standing in standings(runs, leaderboards):
        title = f"On the board {standing.board}, by κ"
        table = Grid(title, names=["model"], figures=["κ", "verdict", "trust"])
        for line in standing.lines:
            style = "bold" if line.origin == HERE else ""
            table.add_row(line.model, line.kappa, line.verdict, line.origin, style=style)
        to.print(table)
        if not standing.has_entries:
            say(f"no entry is on the board {standing.board} yet")


def plan(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = PROTOCOL,
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    hold_out_pairs: HoldOutOption = None,
    extrapolate: ExtrapolateOption = None,
    match: MatchOption = None,
    reference: ReferenceOption = None,
    device: DeviceOption = DEVICE,
    backend: BackendOption = BACKEND,
    workers: WorkersOption = None,
    store: StoreOption = Path(STORE),
    shards: ShardsOption = None,
) -> None:
    """Say what `run` with the same options would cost, and what the store has of it already."""
    cells = Request.of(
        model=model, task=task, supervision=supervision, protocol=protocol, lengths=lengths,
        task_params=settings_from(set_ or ()), seeds=seeds, distribution=distribution,
        hold_out_pairs=hold_out_pairs, extrapolate=extrapolate, match=match,
        reference=reference, device=device, backend=backend,
    ).cells()  # fmt: skip
    if note := _what_submit_refuses(cells):
        say(note)
    workers = worker_count(workers, device)
    from kbench.report.format import model_name, task_name
    from kbench.report.grid import Grid, counted
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
    timings: list[dict[Lengths, float]] = [{} for _ in runs]
    timed = [*zip(runs, timings, strict=True)]
    plans = [plan(cell_run, device, timings=of) for cell_run, of in timed]
    looks = any(len(cell.looks) > 1 for cell in cells)
    last = [plan(r, device, last_look=True, timings=of) for r, of in timed] if looks else plans
    figures = ["searches done", "trials stored", "trials to run", "time, about"]
    table = Grid(
        f"Plan: {counted(workers, 'worker')}",
        names=["model", "task", "supervision"],
        figures=[*figures, *(["with all seeds"] if looks else [])],
        right=figures,
    )
    rows = [(model_name(cell), task_name(cell), cell.supervision) for cell in cells]
    for names, p, q in zip(
        [*rows, ("total", "", "")], [*plans, total(plans)], [*last, total(last)], strict=True
    ):
        most = f"up to {counted(q.trials[1], 'trial')}, {duration(q.seconds / workers)}"
        table.add_row(
            *names,
            f"{p.searches_done:,} of {p.searches:,}",
            f"{p.trials_stored:,}",
            f"{p.trials[0]:,} to {p.trials[1]:,}",
            duration(p.seconds / workers),
            *([most] if looks else []),
            style="bold" if names[0] == "total" else "",
        )
    if looks:
        table.notes.append("with all seeds: where the verdict stays open, more seeds are added")
    if extra := total(plans).by_length_seconds:
        table.notes.append(f"{duration(extra / workers)} of the time is for κ by length and reach")
    out.print(table)
    if shards:
        out.print(shards_table(cells, plans, shards, workers))
