"""The one typed form of a result: written and read here, whoever holds it.

`run --json`, `show --json`, a canary, `kbench compare`, exports and the Python API hold a `Result`;
a leaderboard entry is made of the same parts, held more strictly. Documents of earlier versions are
read through `migrated`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kbench.errors import KbenchError
from kbench.report.earlier import migrated
from kbench.report.readings import errors, result, trial_rows
from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.statistics.sharing import Verdict
from kbench.study.cell import PLENTY
from kbench.study.driver import Progress, Results

SCHEMA_VERSION: Literal[4] = 4


Failure = Literal["memorised", "unfit", "diverged"]


class Part(BaseModel):
    """Of a document: frozen, with no unknown fields, and numbers that are numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


Count = Annotated[int, Field(ge=0, le=PLENTY)]
Length = Annotated[int, Field(ge=1, le=10_000)]
# Neither control characters nor those that turn the direction of writing.
Line = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]*$",
        max_length=2000,
    ),
]


class Ends(Part):
    """N* as a bracket in samples: the largest N to fail, the smallest to pass."""

    low: Count | None
    """None: no N is known to fail."""
    high: Count | None
    """None: no N is known to pass."""
    censored: Literal["left", "right", "unfit"] | None
    """`right` where the largest N fails, `high` being then all samples there are, if they ran out;
    `left` where no N is known to be too few; `unfit` where the largest N fails by runs that did
    not fit their training set."""

    def bracket(self) -> Bracket:
        """As the statistics take it; raises KbenchError for one that cannot be."""
        if self.high is not None and self.high <= (self.low or 0):
            raise KbenchError(f"not a result of kbench: a bracket from {self.low} to {self.high}")
        return Bracket(low=self.low, high=self.high, censored=self.censored)


class SeedEnds(Ends):
    """One seed's bracket."""

    seed: Count
    recipe: str | None = None
    """By which `high` passed; None where nothing passed, or a document does not say."""


class Bounds(Part):
    """An interval, without an end where there is none."""

    low: float | None
    high: float | None


class Median(Bounds):
    """The median over seeds with its interval."""

    estimate: float | None
    """None where every seed is bounded on the same side only."""

    def interval(self) -> Interval:
        """As the statistics have it."""
        return Interval(low=self.low, high=self.high, estimate=self.estimate)


class NStar(Ends):
    """N* of the best of the grid, over seeds, and of each seed."""

    over_seeds: Median
    per_seed: list[SeedEnds]
    failures: dict[Literal["memorised", "unfit", "diverged", "unknown"], Count]
    """Sizes that fail, over all seeds, by why their best run did."""


class SeedsMedian(Median):
    """κ over seeds."""

    confidence: float
    seeds: Count


class SeedBounds(Bounds):
    """Bounds on κ of one seed by itself."""

    seed: Count


class Kappa(Part):
    """κ, the sharing factor (arXiv 2602.18333, section 4), and the verdict."""

    up_to: Length
    """Of the first length to this one: the longest for which κ is known."""
    over_seeds: SeedsMedian
    each_seed: list[SeedBounds]
    memorised_share: float | None
    """The part of Σ N*_n that is a universe run out, mean over seeds."""
    verdict: Verdict
    """By the interval over seeds alone."""
    best_of_grid: Bounds
    """As the paper has it, for comparison; nothing goes by it."""


class ByLength(Part):
    """Of the first length to one of them."""

    n_star: NStar
    """Of these together."""
    kappa: Kappa


class SeedReach(Part):
    """One seed's."""

    seed: Count
    length: Length | None


class Reach(Part):
    """The largest L for which the first length to L are learned together from many samples."""

    median: Length | None
    """Over seeds; None where that is no length."""
    each_seed: list[SeedReach]


class Accuracy(Part):
    """At one length: share of right answers, that of the best constant answer, and normalised."""

    accuracy: float
    chance: float
    normalised: float
    """(accuracy − chance) / (1 − chance)."""


class Tested(Part):
    """A model of the joint search, tested at other lengths."""

    seed: Count
    model_of: Literal["smallest to pass", "largest tried"]
    n_samples: Count
    learning_rate: float
    recipe: str | None = None
    outcome: Literal["passed", "failed", "error"]
    reproduced: bool | None
    accuracy: dict[Line, Accuracy]


class Readings(Part):
    """What a cell's trials come to."""

    n_star: dict[Line, NStar]
    """By length, and `joint`."""
    kappa: Kappa | None
    """None for a cell under one distribution of lengths."""
    by_length: dict[Line, ByLength] = {}
    """By L, where the protocol asks for it."""
    reach: Reach | None = None
    """None where the protocol does not ask for it."""
    seen_prefixes: float | None = None
    """The share of supervised validation positions that the training set holds, at N* of the
    lengths that κ is stated for, mean over seeds."""
    extrapolation: list[Tested]
    monotonicity_violations: Count


class Settings(Part):
    """What was measured: all that decides which trials a cell's searches ask for."""

    model: str
    model_version: int | str
    size: dict[str, Any]
    backend: str
    task: str
    task_version: int | str
    task_params: dict[str, Any]
    supervision: str
    protocol: str
    """Name and version, as in `quick-1`."""
    lengths: Annotated[list[Length], Field(min_length=2)]
    distribution: str | None
    seeds: Annotated[list[Count], Field(min_length=1)]
    extrapolate: list[Length] = []
    """Not known of a document of version 1."""


class TrialRow(Part):
    """One training run, and how it ended."""

    lengths: list[Length]
    seed: Count
    n_samples: Count
    learning_rate: float
    recipe: str | None = None
    """Its name in the protocol; None in documents from before there were recipes."""
    tested: list[Length] = []
    outcome: Literal["passed", "failed"]
    reason: str | None = None
    """`success`, `budget`, `futility` or `diverged`; None where version 1 did not say."""
    failure: Failure | None = None
    """Of a failing run: `memorised`, `unfit` or `diverged`; None where that was not recorded."""
    steps: Annotated[int, Field(ge=1, le=PLENTY)]
    best_loss: float | None = None
    """Smallest validation loss, in nats per supervised position."""
    training_loss: float | None = None
    """Of a failing run: smallest mean training loss between two validations, in nats."""
    best_step: Count | None = None
    seen_prefixes: float | None = None
    """The share of supervised validation positions that the training set holds."""
    wall_s: float | None = None
    data_sha256: dict[str, str]
    key: str
    """Of the trial in the store: sha256 of all that decides how it ends."""
    digest: str
    """Of all that is equal when the same code runs it again; not of the key."""
    curve: list[list[float]] = Field(default=[], exclude=True)
    """Step and validation loss, thinned out; not written into documents, and empty where the store
    was made before curves were kept."""


class Trials(Part):
    """The runs behind a result, and what this command has spent on them."""

    run: Count = 0
    reused: Count = 0
    steps: Count = 0
    """Optimiser steps of all of them."""
    digest: str
    """Over all trials, their keys included."""
    each: list[TrialRow] = []


class Result(Settings, Readings):
    """One cell: one model on one task under one supervision, complete or not."""

    hold_out_pairs: float | None = None
    """The share of pairs of updates that training never sees, if any; no entry has one."""
    complete: bool
    errors: list[str]
    """One line for every trial that broke down."""
    trials_behind: Trials = Field(alias="trials")
    wall_s: float = 0.0
    """Seconds from the start of the command to the cell's last trial."""
    environment: dict[str, Any]
    """Versions, device and threads; a list where trials differ."""
    checks_failed: list[str] = []
    """Of `kbench check`, where a canary ran it."""

    @property
    def trials(self) -> Sequence[TrialRow]:
        """Every run that the searches asked for."""
        return self.trials_behind.each

    @property
    def searches(self) -> dict[tuple[int, ...], NStar]:
        """N* by the lengths that were trained on."""
        all_lengths = self.lengths[-1:] if self.distribution == "fixed" else self.lengths
        joint = {tuple(all_lengths): self.n_star["joint"]}
        alone = {(int(n),): of for n, of in self.n_star.items() if n != "joint"}
        fewer = {
            tuple(n for n in self.lengths if n <= int(last)): of.n_star
            for last, of in self.by_length.items()
        }
        return alone | fewer | joint

    @property
    def verdict(self) -> str | None:
        """One of five, as `sharing`; None for a cell without κ."""
        return self.kappa.verdict if self.kappa else None


class Document(Part):
    """The whole JSON document."""

    schema_version: Literal[4]
    command: str | None = None
    """That measures it again; a canary has it."""
    checks: dict[str, list[dict[str, Any]]] | None = None
    """What `kbench check` found, by model; a canary has it."""
    results: list[Result]


def result_of(progress: Progress, trials: Results | None = None) -> Result:
    """The result of a cell under way or done; with `trials`, every run behind it too."""
    content = result(progress)
    content["trials"]["each"] = trial_rows(progress.run, trials) if trials else []
    return Result.model_validate(content)


def document_of(
    progress: Sequence[Progress], trials: Results | None = None, **more: Any
) -> Document:
    """The document of several cells."""
    results = [result_of(p, trials) for p in progress]
    return Document(schema_version=SCHEMA_VERSION, results=results, **more)


def plain(part: Part) -> dict[str, Any]:
    """As plain JSON values."""
    return part.model_dump(mode="json", by_alias=True)


def broken_trials(progress: Sequence[Progress]) -> list[str]:
    """One line for every trial that broke down."""
    return [line for p in progress for line in errors(p.run)]


def read(content: Any) -> Document:
    """A document of this or an earlier version from JSON values; raises KbenchError."""
    known = f"not a result of kbench with schema_version 1 to {SCHEMA_VERSION}"
    if not isinstance(content, Mapping) or "results" not in content:
        raise KbenchError(known)
    try:
        try:
            content = migrated(content, SCHEMA_VERSION)
        except KbenchError as error:
            raise KbenchError(f"not a result of kbench: {error}") from None
        if content.get("schema_version") != SCHEMA_VERSION:
            raise KbenchError(known)
        return Document.model_validate(content)
    except ValidationError as error:
        raise KbenchError(f"not a result of kbench: {first_problem(error)}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise KbenchError(f"not a result of kbench: {type(error).__name__}: {error}") from None


def first_problem(error: ValidationError, whole: str = "the whole") -> str:
    """What pydantic found first, in one line, and how much more there is."""
    first = error.errors(include_url=False)[0]
    where = " ".join(".".join(map(str, first["loc"])).split()) or whole
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where[:200]}: {first['msg']}{more}"


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Document.model_json_schema(),
    }


# A text, whether or not it ends, or a bracket; possessive, so that no text is gone over twice.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{\]}]', re.DOTALL)


def depth(text: str) -> int:
    """How deep lists and objects are nested, whether or not the rest is JSON."""
    deepest = level = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            level += 1
            deepest = max(deepest, level)
        elif token[0] in ("]", "}"):
            level -= 1
    return deepest


def loads(text: str) -> Any:
    """JSON in which no key stands twice and every number is one; raises ValueError."""
    return json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
