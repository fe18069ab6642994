"""`kbench validate`: are leaderboard entries what their trials say?"""

import random
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli.console import out, printable, say
from kbench.cli.options import DeviceOption, WorkersOption
from kbench.errors import KbenchError
from kbench.study.executors.choice import worker_count
from kbench.study.request import DEVICE, look_over_device

if TYPE_CHECKING:
    from kbench.leaderboard.checking.spotcheck import SpotCheck
    from kbench.leaderboard.entry import Entry


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Entries, or folders of entries.")],
    leaderboards: Annotated[
        Path | None,
        typer.Option(
            "--leaderboards",
            help="Folder that the entries' places are relative to. Default: the one above that "
            "is called leaderboards.",
        ),
    ] = None,
    spot_check: Annotated[
        int,
        typer.Option("--spot-check", min=0, help="Trials near N* to run again, of each entry."),
    ] = 0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Which trials these are. Default: nobody knows beforehand."),
    ] = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Note the entries that pass the spot-check as verified."),
    ] = False,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Spot-check only what is not noted as verified yet."),
    ] = False,
    device: DeviceOption = DEVICE,
    workers: WorkersOption = None,
) -> int:
    """Check leaderboard entries against their trials; exit code 1 if one is refused.

    N* and κ are computed again from the trials, data sets are made again from their seeds, models
    are checked as by `kbench check`. Nothing from an entry is executed.
    """
    if spot_check == 0:
        for option in ["--record"] * record + ["--unverified"] * unverified:
            raise KbenchError(f"{option} is for --spot-check K, which is not given")
    else:
        look_over_device(device)
    count = worker_count(workers, device)
    from kbench.leaderboard import trust
    from kbench.leaderboard.checking import spotcheck
    from kbench.leaderboard.checking.validation import validate

    root = leaderboards or _root(paths[0])
    files = [*_files(paths, root)]
    rng = random.Random(secrets.randbits(64) if seed is None else seed)
    refused: set[Path] = set()
    checks: dict[Path, SpotCheck] = {}
    contents: dict[Path, bytes] = {}
    conforming: dict[str, str | None] = {}
    ledger = trust.load(root) if unverified else {}

    def refuse(path: Path, problems: Sequence[str]) -> None:
        refused.update([path] if problems else [])
        for problem in problems:
            # Somebody else chose the names: no line breaks, and nothing that a terminal obeys.
            line = printable(f"{path}: refused: {problem}")
            out.print(line, highlight=False, soft_wrap=True)

    for verdict in validate(files, root):
        path, entry, problems = verdict.path, verdict.entry, [*verdict.problems]
        if entry and not problems:
            problems += _conformity(entry, conforming)
        refuse(path, problems)
        if not entry or problems or not spot_check:
            continue
        contents[path] = path.read_bytes()
        if reason := spotcheck.why_not(entry, device):
            say(printable(f"{path}: not run again: {reason}"))
        elif not (unverified and trust.verified(ledger, _place(path, root), contents[path])):
            checks[path] = spotcheck.spot_check(entry, spot_check, rng)
    for path, problems in _run_again(checks, device, count):
        refuse(path, problems)
        if record and checks[path].trials and not problems:
            trust.record(root, _place(path, root), contents[path], len(checks[path].trials))
    again = len({key for check in checks.values() for key in check.rows})
    after = f", {again} trials run again" if spot_check else ""
    say(f"{len(files)} entries looked at, {len(refused)} refused{after}")
    return 1 if refused else 0


def _run_again(
    checks: "Mapping[Path, SpotCheck]", device: str, workers: int
) -> "Iterator[tuple[Path, list[str]]]":
    """Every entry whose trials have all been run again, and what came out otherwise."""
    from kbench.leaderboard.checking.spotcheck import run_again
    from kbench.report.view import duration
    from kbench.study.executors.local import local

    # Two entries may share a trial: it is run once.
    trials = {t.key(): t for check in checks.values() for t in check.trials}
    seconds = {key: row.wall_s for check in checks.values() for key, row in check.rows.items()}
    left, waiting, found = sum(seconds.values()), dict(checks), {}
    if trials:
        say(
            f"{len(trials)} trials of {len(checks)} entries to run again, if they take as long as "
            f"they did for the entries {duration(left / workers)} on {workers} workers"
        )
    started, all_seconds = time.monotonic(), left
    with local(min(workers, len(trials) or 1), device=device) as executor:
        for trial, result in run_again(trials.values(), executor):
            found[trial.key()] = result
            left = max(0.0, left - seconds[trial.key()])
            for path in [p for p, c in waiting.items() if c.rows.keys() <= found.keys()]:
                yield path, waiting.pop(path).problems(found)
                each = (time.monotonic() - started) / max(all_seconds - left, 1e-3)
                done = len(checks) - len(waiting)
                say(f"{done} of {len(checks)} entries run again, {duration(each * left)} left")


def _place(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.absolute().relative_to(root.absolute()))


def _files(paths: Sequence[Path], root: Path) -> Iterator[Path]:
    from kbench.leaderboard.trust import LEDGER

    ledger = (root / LEDGER).absolute()
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*.json") if p.absolute() != ledger)
            if not found:
                raise KbenchError(f"no entries in {path}")
            yield from found
        elif path.exists() or path.is_symlink():
            yield path
        else:
            raise KbenchError(f"no such entry or folder: {path}")


def _root(path: Path) -> Path:
    """The folder called leaderboards that this lies in; else what is four levels above a file."""
    above = [path.absolute(), *path.absolute().parents]
    named = [folder for folder in above if folder.name == "leaderboards"]
    if named:
        return named[0]
    return path if path.is_dir() else above[min(4, len(above) - 1)]


def _conformity(entry: "Entry", known: dict[str, str | None]) -> list[str]:
    """What `kbench check` has against the model; asked once for all entries of a model."""
    from kbench.leaderboard.checking.validation import nonconformity
    from kbench.leaderboard.place import is_own

    cell = entry.cell()
    if is_own(cell):
        return []
    if cell.model not in known:
        known[cell.model] = nonconformity(cell)
    problem = known[cell.model]
    return [problem] if problem else []
