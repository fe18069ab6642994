"""`kbench canary`: a small measurement of everything, to be compared with an earlier one."""

import dataclasses
import json
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli import completion
from kbench.cli.console import claim_stdout, err, out, print_json, say
from kbench.cli.options import (
    JsonOption,
    QuietOption,
    SeedsOption,
    WorkersOption,
)
from kbench.errors import KbenchError
from kbench.study.executors.choice import starts
from kbench.study.request import Request

if TYPE_CHECKING:
    from kbench.study.cell import Cell
    from kbench.training.conformance import Check

Rows = list[tuple[str, str | None]]
CELLS: dict[str, Rows] = {
    "lstm": [("aligned", None)],
    "transformer": [("cot", "fixed")],
}
"""By model: supervision, and a distribution where N* is wanted without κ. A recurrent and an
attention model, each where it learns from few samples within the budget: what is censored moves
with nothing, and what takes four samples to learn moves by chance."""
OF_A_MODEL: Rows = [("aligned", None), ("cot", "fixed")]
"""The cells of a model asked for by --model."""
TASK, LENGTHS = "modadd", "4-5"
PUBLISHED = "quick-parity"
"""An experiment with one published figure, which kbench's own canary runs as well."""


def canary(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            autocompletion=completion.models,
            help="Instead of kbench's own: model, or path/to/file.py:Class.",
        ),
    ] = None,
    seeds: SeedsOption = None,
    workers: WorkersOption = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Keep the trials in this folder, a new one.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Where the result goes.")] = Path(
        "canary.json"
    ),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Measure a few small cells anew, and check their models: what `kbench compare` compares.

    One published figure is among the checks. Exit code 1 if a model fails a check or a trial
    breaks down.
    """
    stdout = claim_stdout() if as_json else None
    start = starts("local", None, workers, "cpu")
    if store and store.exists() and (not store.is_dir() or any(store.iterdir())):
        raise KbenchError(f"--store {store}: a canary trains anew, name a folder that is new")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise KbenchError(f"--output {output}: no such folder")
    of_models = dict.fromkeys(model, OF_A_MODEL) if model else CELLS
    cells = _cells(of_models, seeds)
    from kbench.api import measure
    from kbench.report.document import SCHEMA_VERSION, Document, broken_trials, plain, result_of
    from kbench.report.tables import tables
    from kbench.study.executors.local import one_thread
    from kbench.study.store import Store
    from kbench.study.subjects import subjects
    from kbench.training.conformance import check

    with one_thread():
        checks = {s.entry.name: check(s) for s in subjects([*of_models], "canary", TASK)}
    if not model:
        checks |= _published()
    failed = {name: [c.name for c in of if not c.passed] for name, of in checks.items()}
    with tempfile.TemporaryDirectory() as temporary:
        place = store or Path(temporary)
        driver, full = measure(
            cells, place, start, "cpu", say=say, progress_to=None if quiet else err,
            rows_to=err if as_json else out,
        )  # fmt: skip
        with Store(place, create=False) as trials:
            results = [
                result_of(p, trials).model_copy(update={"checks_failed": failed[p.run.cell.model]})
                for p in driver.progress
            ]
    document = plain(
        Document(
            schema_version=SCHEMA_VERSION,
            command=shlex.join(
                ["kbench", "canary", *(x for m in model or () for x in ("--model", m))]
            ),
            checks={name: [dataclasses.asdict(c) for c in of] for name, of in checks.items()},
            results=results,
        )
    )
    try:
        output.write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
    except OSError as error:
        raise KbenchError(f"--output {output}: {error.strerror}") from None
    if stdout:
        print_json(document, stdout)
    else:
        out.print(tables([p.run for p in driver.progress]))
    for name, of in checks.items():
        for c in of:
            if not c.passed:
                say(f"{name} fails the check `{c.name}`: {c.detail}")
    broken = broken_trials(driver.progress)
    for line in broken:
        say(f"trial left out, {line}")
    if full:
        say(f"{full}. {output} is not complete")
        return 1
    if not all(p.run.complete for p in driver.progress):
        say(f"stopped; {output} is not complete")
        return 130
    if not quiet:
        say(f"result written to {output}. Compare it with an earlier one: kbench compare")
    return 1 if broken or any(failed.values()) else 0


def _published() -> "dict[str, list[Check]]":
    """Does a published figure come out? By model, trained here and now."""
    from kbench import reproduce
    from kbench.reproduce.results import Run, read
    from kbench.reproduce.tables import here, published, what
    from kbench.study.executors.local import run_cohort
    from kbench.training.conformance import Check

    of = reproduce.load(PUBLISHED)
    runs = {t.key(): Run.of(t, result) for t in of.trials() for result in run_cohort([t])}
    return {
        r.figure.model: [
            Check(
                name="published",
                passed=bool(r.within),
                detail=f"{of.title}: {what(of, r.figure)} {published(r.figure)}, here {here(r)}",
            )
        ]
        for r in read(of, runs)
    }


def _cells(of_models: Mapping[str, Rows], seeds: int | None) -> "list[Cell]":
    return [
        cell
        for name, rows in of_models.items()
        for supervision, distribution in rows
        for cell in Request.of(
            model=name, task=TASK, supervision=supervision, seeds=seeds, protocol="canary",
            lengths=LENGTHS, distribution=distribution, backend="torch",
        ).cells(causal=False)  # what the checks find is part of the result
    ]  # fmt: skip
