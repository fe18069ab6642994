"""`kbench check`: is a model what kbench takes it for?"""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli import completion
from kbench.cli.console import claim_stdout, out, print_json
from kbench.cli.options import JsonOption, ProtocolOption
from kbench.errors import KbenchError
from kbench.study.request import PROTOCOL

if TYPE_CHECKING:
    from kbench.training.conformance import Subject


def check(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            autocompletion=completion.models,
            help="Models, or path/to/file.py:Class. Default: all registered.",
        ),
    ] = None,
    protocol: ProtocolOption = PROTOCOL,
    task: Annotated[
        str,
        typer.Option("--task", autocompletion=completion.tasks, help="Task whose inputs it reads."),
    ] = "modadd",
    as_json: JsonOption = False,
) -> int:
    """Check that models are causal, deterministic and trainable; exit code 1 if one is not."""
    from kbench.report.grid import Grid
    from kbench.study.executors.local import one_thread
    from kbench.study.subjects import all_subjects, subjects
    from kbench.training.conformance import Check
    from kbench.training.conformance import check as run_checks

    stdout = claim_stdout() if as_json else None
    if model:
        found: list[Subject] = subjects(model, protocol, task)
        left_out: dict[str, KbenchError] = {}
    else:
        found, left_out = all_subjects(protocol, task)
    with one_thread():
        checks = {subject.entry.name: run_checks(subject) for subject in found}
    for name, error in left_out.items():
        checks[name] = [Check(name="loads", passed=False, detail=str(error))]
    passed = {name: all(c.passed for c in of) for name, of in checks.items()}
    if stdout:
        results = [
            {"model": name, "passed": passed[name], "checks": list(map(dataclasses.asdict, of))}
            for name, of in checks.items()
        ]
        print_json({"schema_version": 1, "results": results}, stdout)
    else:
        for name, of in checks.items():
            table = Grid(name, names=["check"], figures=[""], prose=["what was found"])
            for c in of:
                mark = {True: "pass", False: "FAIL", None: "–"}[c.passed]
                table.add_row(c.name, mark, c.detail, style="bold red" if c.passed is False else "")
            out.print(table)
        if len(passed) > 1:
            out.print(f"{sum(passed.values())} of {len(passed)} models pass every check.")
    return 0 if all(passed.values()) else 1
