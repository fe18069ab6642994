"""What cannot be in an entry whoever measured it: places, dates and steps that do not exist."""

import datetime
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, ValidationError

from kbench.leaderboard.entry import Entry
from kbench.report.document import Line, Part, first_problem

Release = Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,5}(\.\d{1,5})?[A-Za-z0-9.+-]{0,40}$")]
"""Of a package: `2.13.0+cpu`."""
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Environment(Part):
    """What a trial ran in; every field that `kbench.training.loop.environment` writes."""

    kbench: Release
    torch: Release
    numpy: Release
    python: Annotated[str, Field(pattern=r"^3\.(1[1-9]|[2-9]\d)\.\d{1,3}[a-z0-9+]{0,10}$")]
    numba: Release | None = None
    mamba_ssm: Release | None = Field(default=None, alias="mamba-ssm")
    model_source: Digest
    task_source: Digest
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    dirty: bool | None
    machine: Annotated[str, Field(pattern=r"^[a-z0-9_]{3,20}$")]
    device: Annotated[str, Field(pattern=r"^(cpu|[A-Z][A-Za-z0-9 ._()/+-]{3,80})$")]
    """`cpu`, or the name of a GPU as its driver has it."""
    threads: Annotated[int, Field(ge=1, le=4096)]
    cpu: Line | None = None
    cpu_capability: Line | None = None
    """Neither is known in entries from before they were recorded."""
    stacked: bool = False


def environment_problems(entry: Entry) -> Iterator[str]:
    """Environments that are none, or that could not have run this cell."""
    backend = entry.settings.backend
    for i, content in enumerate(entry.environments):
        try:
            found = Environment.model_validate(content)
        except ValidationError as error:
            yield f"environment {i}: {first_problem(error)}"
            continue
        if found.revision and len(set(found.revision)) == 1:
            yield f"environment {i}: {found.revision} is no commit"
        on_cpu = found.device == "cpu"
        packages = {"numba": found.numba, "mamba-ssm": found.mamba_ssm}
        if any((of is not None) != (name == backend) for name, of in packages.items()):
            yield f"environment {i}: its packages are not those of backend {backend}"
        if (backend, on_cpu) in {("numba", False), ("mamba-ssm", True)} or (
            found.stacked and on_cpu
        ):
            yield f"environment {i}: device {found.device} does not do that"


def date_problems(entry: Entry) -> Iterator[str]:
    """A day that there is, and that has come somewhere on earth."""
    text = entry.provenance.submitted_at
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        yield f"submitted_at: {text} is no date"
        return
    tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
    if not datetime.date(2025, 1, 1) <= day <= tomorrow:
        yield f"submitted_at: {text} is not a day on which this could have been handed in"
