"""`kbench submit`, `kbench validate` and `kbench schema`: leaderboard entries in and out."""

import random
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli.console import claim_stdout, out, print_json, printable, say
from kbench.cli.options import (
    BackendOption,
    DeviceOption,
    DistributionOption,
    LengthsOption,
    ModelOption,
    ProtocolOption,
    SeedsOption,
    SetOption,
    StoreOption,
    SupervisionOption,
    TaskOption,
    look_over_device,
    to_cells,
)
from kbench.errors import KbenchError, one_line

if TYPE_CHECKING:
    from kbench.leaderboard.validation import Verdict

Leaderboards = Annotated[
    Path, typer.Option("--leaderboards", help="Folder of the entries.", file_okay=False)
]


def submit(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = "quick",
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    extrapolate: Annotated[
        str | None,
        typer.Option("--extrapolate", help="As in `run`. Default: 2x, which every κ needs."),
    ] = None,
    device: DeviceOption = "cpu",
    backend: BackendOption = "auto",
    store: StoreOption = Path(".kbench"),
    leaderboards: Leaderboards = Path("leaderboards"),
    by: Annotated[
        str | None, typer.Option("--by", help="Who submits it, as the entry's page will say.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of an entry that is there.")
    ] = False,
) -> None:
    """Make leaderboard entries of what `kbench run` with the same options has measured.

    Nothing is run. A cell that is not complete, or ran from a changed working tree, is refused
    with the command that completes it; none is written unless all can be.
    """
    from kbench.leaderboard.entry import text_of
    from kbench.leaderboard.place import location
    from kbench.leaderboard.submission import build
    from kbench.store import Store

    cells = to_cells(
        model_names=model, task_names=task, supervisions=supervision, protocol_name=protocol,
        lengths=lengths, settings=set_, seeds=seeds, distributions=distribution,
        extrapolate=extrapolate or (None if distribution else "2x"),
        match=None, reference=None, device=device, backend=backend,
    )  # fmt: skip
    paths = [leaderboards / location(cell) for cell in cells]
    for path in paths:
        if paths.count(path) > 1:
            raise KbenchError(f"two of these models belong at {path}; give one another name")
        if path.exists() and not replace:
            raise KbenchError(f"{path} is there already; --replace puts this in its place")
    with Store(store, create=False) as trials:
        texts = [text_of(build(cell, trials, by)) for cell in cells]
    _write(dict(zip(paths, texts, strict=True)))
    for path in paths:
        out.print(str(path), highlight=False, soft_wrap=True)
    say(f"{len(paths)} written. Look them over with: kbench validate {leaderboards}")


def _write(texts: dict[Path, str]) -> None:
    """All or, where one cannot be written, none."""
    fresh = {path: path.with_suffix(".new") for path in texts}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh[path].write_text(text, "utf-8")
        for path, new in fresh.items():
            new.replace(path)
    except OSError as error:
        for new in fresh.values():
            new.unlink(missing_ok=True)
        raise KbenchError(f"{path} cannot be written: {error.strerror}") from None


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
    device: DeviceOption = "cpu",
) -> int:
    """Hold leaderboard entries against their own trials; exit code 1 if one is refused.

    N* and κ are computed again from the trials, data sets are made again from their seeds, models
    are checked as by `kbench check`. Nothing from an entry is executed.
    """
    if record and not spot_check:
        raise KbenchError("--record is for --spot-check K, which is not given")
    if spot_check:
        look_over_device(device)
    from kbench.leaderboard import trust
    from kbench.leaderboard.validation import validate
    from kbench.view import duration

    root = leaderboards or _root(paths[0])
    files = [*_files(paths, root)]
    rng = random.Random(secrets.randbits(64) if seed is None else seed)
    refused = checked = 0
    conforming: dict[str, str | None] = {}
    started = time.monotonic()
    for i, verdict in enumerate(validate(files, root)):
        problems = [*verdict.problems]
        if verdict.entry and not problems:
            problems += _conformity(verdict, conforming)
        if verdict.entry and not problems and spot_check:
            count, found = _run_again(verdict, spot_check, rng, device)
            left = (time.monotonic() - started) / (i + 1) * (len(files) - i - 1)
            say(f"{i + 1} of {len(files)} entries, {duration(left)} left")
            problems += found
            checked += count
            if count and record and not problems:
                place = PurePosixPath(verdict.path.absolute().relative_to(root.absolute()))
                trust.record(root, place, verdict.path.read_bytes(), count)
        refused += bool(problems)
        for problem in problems:
            # Somebody else chose the names: no line breaks, and nothing that a terminal obeys.
            line = printable(f"{verdict.path}: refused: {problem}")
            out.print(line, highlight=False, soft_wrap=True)
    again = f", {checked} trials run again" if spot_check else ""
    say(f"{len(files)} entries looked at, {refused} refused{again}")
    return 1 if refused else 0


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


def _conformity(verdict: "Verdict", known: dict[str, str | None]) -> list[str]:
    """What `kbench check` has against the model; asked once for all entries of a model."""
    from kbench.leaderboard.place import is_own
    from kbench.leaderboard.validation import nonconformity

    assert verdict.entry
    cell = verdict.entry.cell()
    if is_own(cell):
        return []
    if cell.model not in known:
        known[cell.model] = nonconformity(cell)
    problem = known[cell.model]
    return [problem] if problem else []


def _run_again(
    verdict: "Verdict", count: int, rng: random.Random, device: str
) -> tuple[int, list[str]]:
    """Run that many of an entry's trials again; how many were, and what came out otherwise."""
    from kbench.leaderboard.entry import Trials
    from kbench.leaderboard.place import is_own
    from kbench.leaderboard.validation import run_again, spot_checks
    from kbench.scan import missing

    assert verdict.entry
    run = verdict.entry.run()
    if is_own(run.cell):
        say(f"{verdict.path}: not run again, for that would execute {run.cell.model}")
        return 0, []
    if reason := missing(run.cell.backend, device):
        say(f"{verdict.path}: not run again: {run.cell.backend}: {reason}")
        return 0, []
    rows = Trials(verdict.entry, run.cell).by_key
    chosen = spot_checks(run, count, rng)
    try:
        found = [problem for t in chosen if (problem := run_again(t, rows[t.key()], device))]
    except Exception as error:  # whatever training raises
        return len(chosen), [f"a trial cannot be run again: {one_line(error)}"]
    # Near N* a run may go either way by the rounding of another machine.
    if len(found) <= len(chosen) // 8:
        found = []
    return len(chosen), found


def schema() -> None:
    """Print the JSON Schema of a leaderboard entry, for editors and CI."""
    from kbench.leaderboard.entry import schema

    print_json(schema(), claim_stdout())
