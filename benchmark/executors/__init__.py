"""Where trials run. Every executor gives the same results; they differ in how many at once."""

from dataclasses import dataclass
from typing import Protocol

from kbench.trial import Trial, TrialResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What became of one submission: a result, or one line on why there is none."""

    trial: Trial
    result: TrialResult | None
    error: str = ""


class Executor(Protocol):
    """Runs trials side by side. A context manager: leaving it ends whatever is still running."""

    capacity: int
    """Trials that can run at once."""

    def submit(self, trial: Trial) -> None:
        """Start a trial; at most `capacity` may be under way."""

    def finished(self) -> list[Finished]:
        """Trials that ended since the last call; waits a little where none has."""

    def __enter__(self) -> "Executor": ...

    def __exit__(self, *error: object) -> None: ...
