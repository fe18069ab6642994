"""`kbench submit` and `kbench schema`: leaderboard entries, and what they look like."""

import enum
import shlex
from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import claim_stdout, out, print_json, say
from kbench.cli.options import (
    BackendOption,
    DeviceOption,
    DistributionOption,
    HoldOutOption,
    LengthsOption,
    ModelOption,
    ProtocolOption,
    SeedsOption,
    SetOption,
    StoreOption,
    SupervisionOption,
    TaskOption,
)
from kbench.errors import KbenchError
from kbench.report.grid import counted
from kbench.study.parameters import settings_from
from kbench.study.request import BACKEND, DEVICE, PROTOCOL, STORE, Request

Leaderboards = Annotated[
    Path, typer.Option("--leaderboards", help="Folder of the entries.", file_okay=False)
]


def submit(
    model: ModelOption,
    task: TaskOption,
    supervision: SupervisionOption = None,
    protocol: ProtocolOption = PROTOCOL,
    lengths: LengthsOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    distribution: DistributionOption = None,
    hold_out_pairs: HoldOutOption = None,
    extrapolate: Annotated[
        str | None,
        typer.Option("--extrapolate", help="As in `run`. Default: 2x, which every κ needs."),
    ] = None,
    device: DeviceOption = DEVICE,
    backend: BackendOption = BACKEND,
    store: StoreOption = Path(STORE),
    leaderboards: Leaderboards = Path("leaderboards"),
    by: Annotated[
        str | None, typer.Option("--by", help="Who submits it, as the entry's page will say.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of an entry that is there.")
    ] = False,
) -> None:
    """Make leaderboard entries of what `kbench run` with the same options has measured.

    Nothing is run: this machine need not have a backend that is named. A cell that is not
    complete, or ran from a changed working tree, is refused with the command that completes it;
    none is written unless all can be.
    """
    from kbench.leaderboard.entry import text_of
    from kbench.leaderboard.place import location
    from kbench.leaderboard.submission import build
    from kbench.study.store import Store

    cells = Request.of(
        model=model, task=task, supervision=supervision, protocol=protocol, lengths=lengths,
        task_params=settings_from(set_ or ()), seeds=seeds, distribution=distribution,
        hold_out_pairs=hold_out_pairs,
        extrapolate=extrapolate or (None if distribution else "2x"), device=device,
        backend=backend,
    ).cells(here=False)  # fmt: skip
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
    written = counted(len(paths), "entry", "entries")
    say(f"{written} written. Check with:", shlex.join(["kbench", "validate", str(leaderboards)]))


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


class Kind(enum.StrEnum):
    """What has a schema."""

    ENTRY = "entry"
    RESULT = "result"


def schema(
    of: Annotated[Kind, typer.Argument(help="A leaderboard entry, or what --json prints.")] = (
        Kind.ENTRY
    ),
) -> None:
    """Print the JSON Schema of a leaderboard entry or of a result, for editors and CI."""
    if of is Kind.RESULT:
        from kbench.report.document import schema
    else:
        from kbench.leaderboard.entry import schema

    print_json(schema(), claim_stdout())
