"""From the trial store to a leaderboard entry."""

import dataclasses
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kbench.errors import KbenchError
from kbench.leaderboard.entry import SCHEMA_VERSION, Entry, Settings, packaged, parse
from kbench.leaderboard.place import command, location
from kbench.provenance import revision
from kbench.registry import models, tasks
from kbench.report.document import first_problem
from kbench.report.readings import errors, result
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.driver import Progress, recall
from kbench.study.searches import CellRun
from kbench.study.store import Store
from kbench.trial import Trial, TrialResult, canonical_json

RESULTS = (
    "n_star",
    "kappa",
    "by_length",
    "reach",
    "seen_prefixes",
    "extrapolation",
    "monotonicity_violations",
)


def build(cell: Cell, store: Store, by: str | None = None) -> Entry:
    """The entry of a cell that has been measured.

    Raises KbenchError for a cell that is not complete or that no board would take, and for one
    whose trials ran from a changed working tree, and says what to do.
    """
    run = CellRun(cell)
    recall(run, store)
    name = f"{cell.model} {cell.task} {cell.supervision}"
    folder = store.path.parent
    elsewhere = "" if folder == Path(".kbench") else f" --store {shlex.quote(str(folder))}"
    measure = command(cell) + elsewhere
    _ensure_comparable(cell, name)
    if broken := errors(run):
        raise KbenchError(f"{name}: a trial broke down ({broken[0]}); try again with: {measure}")
    if not run.complete:
        missing = run.n_searches - run.n_done
        raise KbenchError(
            f"{name}: {missing} of {run.n_searches} searches and tests are not done; "
            f"complete it with: {measure}"
        )
    found = [(trial, stored) for trial in behind(run) if (stored := store.get(trial.key()))]
    unclean = [problem for _, stored in found if (problem := not_clean(stored.environment))]
    if unclean:
        raise KbenchError(
            f"{name}: {len(unclean)} of {len(found)} trials: {unclean[0]}; in a clean clone, "
            f"measure anew: {command(cell)} --store .kbench-clean"
        )
    return entry_of(run, found, by, initial_of(cell))


def refusal(cell: Cell) -> str | None:
    """Why no entry will be made of what a cell measures here, as far as that is known before."""
    try:
        location(cell)
        _ensure_comparable(cell, f"{cell.model} {cell.task} {cell.supervision}")
        settings_of(cell)
    except KbenchError as error:
        return str(error)
    return not_clean(revision())


def settings_of(cell: Cell) -> dict[str, Any]:
    """As an entry states them; raises KbenchError where an entry cannot."""
    spec = cell.spec()
    stated = {
        **{
            name: spec[name]
            for name in ("model", "model_version", "size", "backend", "task", "task_version",
                         "task_params", "supervision")
        },
        "protocol": cell.protocol.id,
        "lengths": cell.lengths,
        "seeds": cell.seeds,
        "distribution": cell.distribution,
        "extrapolate": cell.extrapolate,
    }  # fmt: skip
    try:
        Settings.model_validate(json.loads(json.dumps(stated)))
    except ValidationError as error:
        raise KbenchError(first_problem(error, "the settings")) from None
    return stated


def _ensure_comparable(cell: Cell, name: str) -> None:
    if packaged(cell.protocol.id) != cell.protocol:
        raise KbenchError(f"{name}: {cell.protocol.id} is not the packaged protocol of that name")
    if isinstance(tasks[cell.task].version, str):
        raise KbenchError(f"{name}: a leaderboard's task is one of kbench's own; add it to tasks/")
    if cell.size != (preset := models[cell.model].preset(cell.protocol.presets)):
        raise KbenchError(f"{name}: a leaderboard compares presets, {preset}, not {cell.size}")
    wanted = seeds_wanted(cell)
    if cell.seeds != wanted:
        raise KbenchError(
            f"{name}: {len(cell.seeds)} seeds, {cell.protocol.id} has {len(wanted)}; "
            f"measure with: {command(dataclasses.replace(cell, seeds=wanted))}"
        )


def seeds_wanted(cell: Cell) -> tuple[int, ...]:
    """As many as the cell has, and at least the protocol's: nobody picks seeds."""
    return cell.protocol.seeds.values(max(len(cell.seeds), len(cell.protocol_seeds)))


def not_clean(environment: Mapping[str, Any]) -> str | None:
    """Why it is not known which source a trial ran from; None where it is."""
    if environment.get("dirty"):
        return "ran from a working tree with uncommitted changes"
    if environment.get("dirty") is None or not environment.get("revision"):
        return "ran from a kbench that is no clone of its repository, so that its commit is unknown"
    return None


def behind(run: CellRun) -> list[Trial]:
    """Every trial that a cell's conclusion rests on, in a fixed order."""
    searched = [
        run.cell.trial(lengths, variant.seed, Probe(*variant[1:]))
        for lengths, variant in run.results
    ]
    tested = [t for seed in run.seeds for t in run.tested(seed).values()]
    trials = {trial.key(): trial for trial in [*searched, *tested]}
    return sorted(trials.values(), key=lambda t: (t.tested, t.lengths, t.variant))


def entry_of(
    run: CellRun,
    found: Sequence[tuple[Trial, TrialResult]],
    by: str | None = None,
    initial: Mapping[str, Mapping[str, float]] | None = None,
) -> Entry:
    """The entry of a complete cell and the trials behind it, whether or not a board would take it.

    Raises KbenchError for settings that no entry can state.
    """
    cell, readings = run.cell, result(Progress(run=run))
    environments = {canonical_json(stored.environment): stored for _, stored in found}
    order = sorted(environments)
    rows = [
        {
            "lengths": trial.lengths,
            **trial.variant.columns(),
            "tested": trial.tested,
            "outcome": stored.outcome,
            "reason": stored.reason,
            "failure": stored.failure,
            "training_loss": stored.training_loss,
            "steps": stored.steps,
            "best_loss": stored.best_loss,
            "best_step": stored.best_step,
            "seen_prefixes": stored.seen_prefixes,
            "histogram": stored.histogram,
            "data_sha256": stored.data_sha256,
            "accuracy": stored.accuracy,
            "wall_s": stored.wall_s,
            "environment": order.index(canonical_json(stored.environment)),
            "digest": stored.digest(trial.key()),
        }
        for trial, stored in found
    ]
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings_of(cell),
        "results": {name: readings[name] for name in RESULTS},
        "provenance": {
            "submitted_by": by,
            "submitted_at": time.strftime("%Y-%m-%d", time.gmtime()),
        },
        "source": _source(cell),
        "initial": initial,
        "environments": [environments[text].environment for text in order],
        "trials": rows,
    }  # fmt: skip
    # What is written is what will be read.
    return parse(json.dumps(content, allow_nan=False))


def initial_of(cell: Cell) -> dict[str, dict[str, float]]:
    """What the cell's model is before it is trained, by seed."""
    from kbench.study.executors.local import one_thread
    from kbench.training.initial import initial

    found = {}
    with one_thread():
        for seed in cell.seeds:
            trial = cell.trial(cell.joint, seed, Probe(1, cell.protocol.recipes[0]))
            found[str(seed)] = initial(trial)._asdict()
    return found


def _source(cell: Cell) -> str | None:
    """Of a model in a file of one's own."""
    path, dot, _ = cell.model.partition(".py:")
    try:
        return Path(f"{path}.py").read_bytes().decode() if dot else None
    except OSError as error:
        raise KbenchError(f"{path}.py: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KbenchError(f"{path}.py: the source of an entry is text in UTF-8") from None
