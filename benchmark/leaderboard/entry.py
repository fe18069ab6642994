"""A leaderboard entry: one cell with every trial behind it, as one JSON file.

Whoever reads an entry recomputes N* and κ from its trials. Nothing in it is ever executed, and no
name in it is ever used as a path.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WrapValidator

from kbench import protocol as protocols
from kbench.data.splits import universe
from kbench.errors import KbenchError, one_line, unknown
from kbench.protocol import Protocol
from kbench.recipe import plain
from kbench.registry import tasks
from kbench.report import document
from kbench.report.document import Count, Line, Part, Readings, depth, first_problem, loads
from kbench.statistics.search import Probe
from kbench.study.cell import PLENTY, Cell
from kbench.study.driver import recall
from kbench.study.searches import CellRun
from kbench.trial import Ending, Trial, TrialResult, Variant, canonical_json

SCHEMA_VERSION = 3
MAX_BYTES = 16 << 20
MAX_DEPTH = 12
"""Of nested lists and objects; the schema itself needs seven."""

Length = Annotated[int, Field(ge=1, le=1000)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
ModelName = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9]+(-[a-z0-9]+)*|[A-Za-z0-9_./-]+\.py:[A-Za-z_][A-Za-z0-9_]*)$",
        max_length=200,
        description="A registered model, or the file and class of one of your own.",
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[int, Field(ge=1)] | Line
Value = Annotated[int, Field(ge=-PLENTY, le=PLENTY)] | float | bool | Line | None

Number = Annotated[int, Field(ge=-4096, le=4096)]
Regex = Annotated[str, Field(pattern=r"^[0-9()|*+?]*$", max_length=100)]
Table = Annotated[list[Annotated[list[Number], Field(max_length=64)]], Field(max_length=1024)]


def _told(value: Any, check: Callable[[Any], Any]) -> Any:
    """In one line, where pydantic has one for each kind that a parameter may be of."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError(
            "an entry holds whole numbers to 4,096, texts of 20 characters, regular expressions of "
            "100 and tables of 1,024 × 64"
        ) from None


Parameter = Annotated[
    Number | Annotated[Line, Field(max_length=20)] | Regex | Table | None, WrapValidator(_told)
]
"""Of a task: what is larger takes longer to check than anybody should wait."""


class Settings(document.Settings):
    """The cell: all that decides which trials its searches ask for."""

    model: ModelName
    model_version: Version
    size: dict[Name | Line, Value]
    backend: Name
    task: Name
    task_version: Version
    task_params: dict[Line, Parameter]
    supervision: Literal["outcome", "cot", "aligned"]
    protocol: Name
    """Name and version, as in `quick-1`."""
    lengths: Annotated[list[Length], Field(min_length=2, max_length=50)]
    seeds: Annotated[list[Count], Field(min_length=1, max_length=1000)]
    distribution: Literal["fixed", "uniform", "short-to-long"] | None
    extrapolate: Annotated[list[Length], Field(max_length=20)]


class Right(Part):
    """Accuracy at one length, and that of the best constant answer."""

    accuracy: Annotated[float, Field(ge=0, le=1)]
    chance: Annotated[float, Field(ge=0, lt=1)]


class Row(Part):
    """One trial; what it shares with all others stands in the settings."""

    lengths: Annotated[list[Length], Field(min_length=1, max_length=200)]
    seed: Count
    n_samples: Count
    learning_rate: Annotated[float, Field(gt=0, le=1000)]
    recipe: Line | None = None
    """Its name in the protocol; None in entries from before there were recipes."""
    tested: Annotated[list[Length], Field(max_length=20)]
    outcome: Literal["passed", "failed"]
    reason: Literal["success", "budget", "futility", "diverged"]
    failure: document.Failure | None = None
    """Not known in entries of schema 1."""
    training_loss: float | None = None
    steps: Count
    best_loss: float | None
    best_step: Count
    seen_prefixes: Annotated[float, Field(ge=0, le=1)] | None = None
    """Not known in entries of schema 1 and 2."""
    histogram: dict[Line, Count]
    data_sha256: dict[Literal["train", "validation"], Sha256]
    accuracy: dict[Line, Right]
    wall_s: Annotated[float, Field(ge=0, le=1e8)]
    environment: Count
    """Which of the entry's environments it ran in."""
    digest: Sha256
    """Of the trial's key and all of its outcome: what must be equal when it is run again."""

    def result(self, environment: Mapping[str, Any]) -> TrialResult:
        """As the store has it."""
        return TrialResult(
            environment=environment,
            **self.model_dump(
                exclude={"lengths", "seed", "n_samples", "learning_rate", "recipe", "tested",
                         "environment", "digest"}
            ),
        )  # fmt: skip


class Initial(Part):
    """Of a model before it is trained (`kbench.training.initial`)."""

    loss: float
    weights: float


class Provenance(Part):
    """Who handed it in, and when."""

    submitted_by: Line | None
    submitted_at: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Entry(Part):
    """The whole file."""

    schema_version: Literal[1, 2, 3]
    settings: Settings
    results: Readings | None
    """What the trials come to; None in an entry of schema 1 or 2, whose figures are of another
    estimator, or say less, and are made anew from its trials."""
    provenance: Provenance
    source: Annotated[str, Field(max_length=200_000)] | None
    """Of a model of one's own: the file, whose digest is the model's version."""
    initial: dict[Line, Initial] | None = None
    """What the model is before it is trained, by seed; not known in entries of schema 1 and 2."""
    environments: Annotated[list[dict[Line, Value]], Field(max_length=1000)]
    trials: Annotated[list[Row], Field(max_length=100_000)]

    def cell(self) -> Cell:
        """Of a registered task and a packaged protocol; raises KbenchError."""
        settings = self.settings
        task = tasks[settings.task]
        if isinstance(task.version, str):
            raise KbenchError(f"task {settings.task} is not one of kbench's own")
        protocol = packaged(settings.protocol)
        try:
            instance = task.cls(**settings.task_params)
            universes = {n: min(universe(instance, n), PLENTY) for n in settings.lengths}
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            raise KbenchError(f"task {settings.task}: {one_line(error)}") from None
        values = settings.model_dump() | {
            "protocol": protocol,
            "lengths": tuple(settings.lengths),
            "seeds": tuple(settings.seeds),
            "extrapolate": tuple(settings.extrapolate),
        }
        return Cell(universes=universes, **values)

    def run(self) -> CellRun:
        """The cell's searches, told what the trials say."""
        run = CellRun(self.cell())
        recall(run, Trials(self, run.cell))
        return run


class Trials:
    """An entry's trials, as the driver reads a store."""

    def __init__(self, entry: Entry, cell: Cell) -> None:
        self.by_key: dict[str, Row] = {}
        self._entry = entry
        self._endings: dict[str, dict[Variant, Ending]] = {}
        environments = [canonical_json(environment) for environment in entry.environments]
        for row in entry.trials:
            if row.environment >= len(environments):
                raise KbenchError(
                    f"a trial names environment {row.environment}, which is not there"
                )
            trial = trial_of(row, cell)
            self.by_key[trial.key()] = row
            family = self._endings.setdefault(canonical_json(trial.family()), {})
            family[trial.variant] = Ending(
                row.outcome, row.steps, row.best_loss, row.digest, environments[row.environment],
                row.failure, row.seen_prefixes,
            )  # fmt: skip

    def endings(self, trial: Trial) -> dict[Variant, Ending]:
        """Of every trial of this one's family."""
        return self._endings.get(canonical_json(trial.family()), {})

    def get(self, key: str) -> TrialResult | None:
        """The result of the trial with this key."""
        row = self.by_key.get(key)
        return row.result(self._entry.environments[row.environment]) if row else None


def trial_of(row: Row, cell: Cell) -> Trial:
    """The trial that a row reports."""
    recipe = plain(row.learning_rate, cell.protocol.recipes[0].batch_size)
    for known in cell.protocol.recipes:
        if known.name == (row.recipe or recipe.name) and known.learning_rate == row.learning_rate:
            recipe = known
    probe = Probe(row.n_samples, recipe)
    trial = cell.trial(tuple(row.lengths), row.seed, probe)
    return dataclasses.replace(trial, tested=tuple(row.tested))


@functools.cache
def protocols_known() -> Mapping[str, Protocol]:
    """The packaged protocols, by name and version."""
    return {id: protocols.load(id) for id in protocols.ids()}


def packaged(protocol_id: str) -> Protocol:
    """The packaged protocol with this name and version; raises KbenchError."""
    if protocol_id not in (known := protocols_known()):
        raise unknown("protocol", protocol_id, known)
    return known[protocol_id]


def read(path: Path) -> Entry:
    """The entry in a file that somebody else may have written; raises KbenchError."""
    return parse(read_text(path))


def read_text(path: Path) -> str:
    """What a file says, if it is one, and no larger than an entry may be."""
    try:
        if path.is_symlink() or not path.is_file():
            raise KbenchError("is no regular file")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise KbenchError(
                f"has {size / 2**20:.1f} MiB, an entry has at most {MAX_BYTES >> 20} MiB"
            )
        return path.read_text("utf-8")
    except OSError as error:
        raise KbenchError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KbenchError("is not text in UTF-8") from None


def parse(text: str) -> Entry:
    """An entry from JSON; raises KbenchError in one line for whatever is out of place."""
    if (found := depth(text)) > MAX_DEPTH:
        raise KbenchError(f"is nested {found} deep, an entry at most {MAX_DEPTH}")
    try:
        content = loads(text)
        if isinstance(content, dict) and content.get("schema_version") in (1, 2):
            content["results"] = None
        return Entry.model_validate(content)
    except ValidationError as error:
        raise KbenchError(first_problem(error, "the entry")) from None
    except ValueError as error:  # also what json itself raises, and numbers of too many digits
        raise KbenchError(f"is not the JSON of an entry: {error}") from None


def text_of(entry: Entry) -> str:
    """The file's content: readable, one trial to a line."""
    parts = []
    for name, value in entry.model_dump().items():
        if isinstance(value, dict):
            items = [f"{json.dumps(k)}: {_line(v)}" for k, v in value.items()]
            text = "{\n  " + ",\n  ".join(items) + "\n }"
        elif isinstance(value, list):
            text = "[\n  " + ",\n  ".join(map(_line, value)) + "\n ]"
        else:
            text = _line(value)
        parts.append(f' "{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def schema() -> dict[str, Any]:
    """The JSON Schema of an entry."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Entry.model_json_schema()}
