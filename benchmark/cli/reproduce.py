"""`kbench reproduce`: published experiments, run again."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import claim_stdout, out, print_json, say
from kbench.cli.options import JsonOption, SeedsOption, StoreOption, WorkersOption
from kbench.errors import KbenchError, unknown
from kbench.study.executors.choice import starts
from kbench.study.request import STORE


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
    if not chosen:
        found = [(of, read(of, committed(of.name))) for of in map(room.load, room.names())]
        if stdout:
            documents = [document(of, committed(of.name), "kbench reproduce") for of, _ in found]
            print_json({"experiments": documents}, stdout)
        else:
            out.print(listing(found))
        return 0
    from kbench.api import interruptible
    from kbench.reproduce.results import Run
    from kbench.reproduce.running import run, stored
    from kbench.study.store import Store

    their = {name for of in chosen for name in of.models}
    for name in model or ():
        if name not in their:
            raise unknown("model of these experiments", name, their)
    trials = {of.name: of.trials(seeds) for of in chosen}
    wanted = [t for of in trials.values() for t in of if not model or t.model in model]
    with Store(store) as kept, interruptible(say) as stopping:
        with start(stopping, False) as executor:
            run(wanted, kept, executor, stopping, say)
        runs = {
            of.name: {
                trial.key(): Run.of(trial, result)
                for trial in trials[of.name]
                if (result := stored([trial], kept).get(trial.key()))
            }
            for of in chosen
        }
        stopped = stopping()
    if stdout:
        documents = []
        for of in chosen:
            options = [] if seeds is None else ["--seeds", str(seeds)]
            command = shlex.join(["kbench", "reproduce", of.name, *options])
            documents.append(document(of, runs[of.name], command, seeds))
        print_json(
            documents[0] if names and len(names) == 1 else {"experiments": documents}, stdout
        )
    else:
        for of in chosen:
            out.print(comparison(of, read(of, runs[of.name], seeds)))
    if stopped:
        say("stopped; every finished run is stored, and the same command resumes")
        return 130
    return 0
