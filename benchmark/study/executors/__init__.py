"""Where trials run. Every executor gives the same results; they differ in how many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kbench.trial import Trial, TrialResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What became of one submission: a result, or one line on why there is none."""

    trial: Trial
    result: TrialResult | None
    error: str = ""


class Reached(NamedTuple):
    """How far a trial under way has come."""

    steps: int
    loss: float | None
    """At its last validation, in nats; None before the first."""


class Executor(Protocol):
    """Runs cohorts side by side. A context manager: leaving it ends whatever is still running."""

    @property
    def capacity(self) -> int:
        """Cohorts that can run at once; may change while machines come and go."""

    @property
    def idle(self) -> int:
        """Cohorts that would start at once if they were submitted now."""

    @property
    def cohort(self) -> int:
        """Trials that are worth training together, in one cohort."""

    @property
    def reached(self) -> Mapping[str, Reached]:
        """By key, trials under way of which that is known; a moment old."""

    def submit(self, cohort: Sequence[Trial]) -> None:
        """Start trials of one model, task and set of lengths, where `idle` says there is room."""

    def finished(self) -> list[Finished]:
        """Trials that ended since the last call; waits a little where none has."""

    def __enter__(self) -> "Executor": ...

    def __exit__(self, *error: object) -> None: ...
