"""`kbench check`: is a model what kbench takes it for?"""

import dataclasses
import json
from typing import Annotated

import typer

from kbench.cli.console import out
from kbench.cli.options import JsonOption, ProtocolOption


def check(
    model: Annotated[
        list[str] | None,
        typer.Argument(help="Models, or path/to/file.py:Class. Default: all registered."),
    ] = None,
    protocol: ProtocolOption = "quick",
    task: Annotated[str, typer.Option("--task", help="Task whose inputs it reads.")] = "modadd",
    as_json: JsonOption = False,
) -> int:
    """Check that models are causal, deterministic and trainable; exit code 1 if one is not."""
    from rich.table import Table

    from kbench.cli.options import subjects
    from kbench.conformance import check as run_checks
    from kbench.executors.local import one_thread
    from kbench.registry import models

    with one_thread():
        checks = {
            subject.entry.name: run_checks(subject)
            for subject in subjects(model or models.names(), protocol, task)
        }
    passed = {name: all(c.passed for c in of) for name, of in checks.items()}
    if as_json:
        results = [
            {"model": name, "passed": passed[name], "checks": list(map(dataclasses.asdict, of))}
            for name, of in checks.items()
        ]
        print(json.dumps({"schema_version": 1, "results": results}, indent=2, ensure_ascii=False))
    else:
        for name, of in checks.items():
            table = Table("check", "", "what was found", title=name, title_justify="left")
            for c in of:
                mark = {True: "pass", False: "FAIL", None: "–"}[c.passed]
                table.add_row(c.name, mark, c.detail, style="bold red" if c.passed is False else "")
            out.print(table)
        if len(passed) > 1:
            out.print(f"{sum(passed.values())} of {len(passed)} models pass every check")
    return 0 if all(passed.values()) else 1
