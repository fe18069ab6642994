"""`kbench reproduce`: published experiments, run again."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli.console import claim_stdout, out, print_json, say
from kbench.cli.options import JsonOption, SeedsOption, StoreOption, WorkersOption
from kbench.errors import KbenchError, unknown
from kbench.study.executors.choice import Start, starts
from kbench.study.request import STORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kbench.reproduce import Experiment
    from kbench.reproduce.results import Run


def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which experiments; none lists them all.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every experiment.")] = False,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Train only this one of their models.")
    ] = None,
    seeds: SeedsOption = None,
    workers: WorkersOption = None,
    store: StoreOption = Path(STORE),
    as_json: JsonOption = False,
) -> int:
    """Run published experiments again: each published figure beside the one measured here.

    Without names: list them, with what came of those whose runs came with kbench. Every finished
    run is stored, and the same command resumes.
    """
    stdout = claim_stdout() if as_json else None
    if names and everything:
        raise KbenchError("give names or --all, not both")
    if seeds is not None and seeds < 1:
        raise KbenchError(f"--seeds is a number of seeds, at least 1, got {seeds}")
    start = starts("local", None, workers, "cpu")
    from kbench import reproduce as room
    from kbench.reproduce.results import committed, document, read
    from kbench.reproduce.tables import comparison, listing

    chosen = [room.load(name) for name in (room.names() if everything else names or [])]
    if chosen:
        runs, stopped = _measured(chosen, model, seeds, store, start)
    else:
        chosen, stopped = [room.load(name) for name in room.names()], False
        runs = {of.name: committed(of.name) for of in chosen}
        if not stdout:
            out.print(listing([(of, read(of, runs[of.name])) for of in chosen]))
            return 0
    if stdout:
        options = [] if seeds is None else ["--seeds", str(seeds)]
        documents = [
            document(
                of, runs[of.name], shlex.join(["kbench", "reproduce", of.name, *options]), seeds
            )
            for of in chosen
        ]
        is_one = len(names or ()) == 1
        print_json(documents[0] if is_one else {"experiments": documents}, stdout)
    else:
        for of in chosen:
            out.print(comparison(of, read(of, runs[of.name], seeds)))
    if stopped:
        say("stopped; every finished run is stored, and the same command resumes")
    return 130 if stopped else 0


def _measured(
    chosen: "Sequence[Experiment]",
    model: list[str] | None,
    seeds: int | None,
    store: Path,
    start: Start,
) -> "tuple[dict[str, dict[str, Run]], bool]":
    """The runs that a store has by now, by experiment and key; was it stopped before its end?"""
    from kbench.api import interruptible
    from kbench.reproduce.running import run, stored
    from kbench.study.store import Store

    known = {name for of in chosen for name in of.models}
    for name in model or ():
        if name not in known:
            raise unknown("model of these experiments", name, known)
    trials = {of.name: of.trials(seeds) for of in chosen}
    wanted = [t for of in trials.values() for t in of if not model or t.model in model]
    with Store(store) as kept, interruptible(say) as stopping:
        with start(stopping, False) as executor:
            run(wanted, kept, executor, stopping, say)
        return {name: stored(of, kept) for name, of in trials.items()}, stopping()
