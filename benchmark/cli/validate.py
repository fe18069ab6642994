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
from kbench.leaderboard.checking import DEFAULT
from kbench.report.grid import counted
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
        int | None,
        typer.Option(
            "--spot-check",
            min=1,
            metavar="K",
            help="Run K trials of each entry again: those that κ hangs on, and some by chance.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Which trials these are. Default: nobody knows beforehand."),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help=f"Run {DEFAULT} or K trials of each again, and note what holds."
        ),
    ] = False,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Leave out those of which as many are noted already."),
    ] = False,
    measured: Annotated[
        bool,
        typer.Option(
            "--measured", help="Note the entries as measured by the leaderboards' maintainers."
        ),
    ] = False,
    own: Annotated[
        Path | None,
        typer.Option(
            "--own",
            metavar="FILE",
            help="Run entries of the model in this file again too. This executes the file: only "
            "where nothing can be lost (docs/trust.md).",
        ),
    ] = None,
    device: DeviceOption = DEVICE,
    workers: WorkersOption = None,
) -> int:
    """Check leaderboard entries against their trials; exit code 1 if one is refused.

    N* and κ are computed again from the trials, data sets are made again from their seeds, models
    are checked as by `kbench check`. Nothing from an entry is executed.
    """
    k = spot_check or (DEFAULT if record or unverified or own else 0)
    if own and not own.is_file():
        raise KbenchError(f"--own: no file {own}")
    if k:
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
        if not entry or problems:
            continue
        contents[path] = path.read_bytes()
        if measured:
            trust.record(root, _place(path, root), contents[path], measured=True)
        if not k:
            continue
        known = trust.seen(ledger, _place(path, root), contents[path])
        if reason := spotcheck.why_not(entry, device, own):
            say(printable(f"{path}: not run again: {reason}"))
        elif not (unverified and known and (known.trials_run_again or 0) >= k):
            checks[path] = spotcheck.spot_check(entry, k, rng, own)
    for path, problems in _run_again(checks, device, count):
        refuse(path, problems)
        check = checks[path]
        if problems or not check.trials:
            continue
        say(printable(f"{path}: {check.found()}"))
        if record:
            trust.record(
                root, _place(path, root), contents[path], trials_run_again=len(check.trials),
                of=len(check.entry.trials), chance=check.chance,
            )  # fmt: skip
    again = len({t.key() for check in checks.values() for t in check.trials.values()})
    after = f", {counted(again, 'trial')} run again" if k else ""
    checked = counted(len(files), "entry", "entries")
    say(f"{checked} checked, {len(refused)} refused{after}")
    return 1 if refused else 0


def _run_again(
    checks: "Mapping[Path, SpotCheck]", device: str, workers: int
) -> "Iterator[tuple[Path, list[str]]]":
    """Every entry whose trials have all been run again, and what came out otherwise."""
    from kbench.leaderboard.checking.spotcheck import run_again
    from kbench.leaderboard.place import is_own
    from kbench.report.view import duration
    from kbench.study.executors.local import local

    left = {
        t.key(): check.rows[key].wall_s
        for check in checks.values()
        for key, t in check.trials.items()
    }
    waiting, found = dict(checks), {}
    if left:
        say(
            f"{counted(len(left), 'trial')} of {counted(len(checks), 'entry', 'entries')} to run "
            f"again: about {duration(sum(left.values()) / workers)} on "
            f"{counted(workers, 'worker')}, if they take as long as they did for the entries. "
            "Where one ends otherwise, more of that search are run"
        )
    started, in_all = time.monotonic(), sum(left.values())
    apart = any(is_own(check.entry.cell()) for check in checks.values())
    with local(min(workers, len(left) or 1), device=device, apart=apart) as executor:
        for trial, result in run_again([*checks.values()], executor):
            found[trial.key()] = result
            left.pop(trial.key(), None)
            for path in [p for p, check in waiting.items() if not check.wanted(found)]:
                yield path, waiting.pop(path).problems(found)
                to_go = sum(left.values())
                each = (time.monotonic() - started) / max(in_all - to_go, 1e-3)
                done = len(checks) - len(waiting)
                of = counted(len(checks), "entry", "entries")
                say(f"{done} of {of} run again, {duration(each * to_go)} left")


def _place(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.absolute().relative_to(root.absolute()))


def _files(paths: Sequence[Path], root: Path) -> Iterator[Path]:
    from kbench.leaderboard.trust import LEDGER

    ledger = (root / LEDGER).absolute()
    for path in paths:
        if path.is_dir():
            inside = root if root.absolute().is_relative_to(path.absolute()) else path
            found = sorted(p for p in inside.rglob("*.json") if p.absolute() != ledger)
            if not found:
                raise KbenchError(f"no entries in {path}")
            yield from found
        elif path.exists() or path.is_symlink():
            yield path
        else:
            raise KbenchError(f"no such entry or folder: {path}")


def _root(path: Path) -> Path:
    """The folder called leaderboards that this lies in, or that lies in it.

    Without one, a folder itself, or what is four levels above a file. Raises KbenchError where
    several lie in a folder.
    """
    above = [path.absolute(), *path.absolute().parents]
    named = [folder for folder in above if folder.name == "leaderboards"]
    if named:
        return named[0]
    below = sorted(f for f in path.rglob("leaderboards") if f.is_dir()) if path.is_dir() else []
    if len(below) > 1:
        raise KbenchError(f"{path} holds {below[0]} and {below[1]}: name one of them")
    if below:
        return below[0]
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
