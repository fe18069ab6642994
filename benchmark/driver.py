"""From cells to trials and back: wires searches, store and executor together.

A cell is replayed from the store on every run, so resuming, showing a result again and measuring it
for the first time are the same code.
"""

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from kbench.executors import Executor
from kbench.store import Store, StoreFullError
from kbench.study import Cell, CellRun
from kbench.trial import Trial, TrialResult


def replay(run: CellRun, store: Store, skip: Container[str] = ()) -> int:
    """Tell the cell what the store has of it, all but `skip`; the number of trials told."""
    told = 0
    while found := [
        (trial, result)
        for trial in run.wanted()
        if trial.key() not in skip and (result := store.get(trial.key()))
    ]:
        for trial, result in found:
            run.tell(trial, result)
            told += 1
    return told


@dataclass(kw_only=True, slots=True)
class Progress:
    """A cell and what this command has spent on it."""

    run: CellRun
    trials_run: int = 0
    trials_reused: int = 0
    wall_s: float = 0.0
    """From the start of the command to the cell's last trial."""


class Driver:
    """Runs cells to their end: feeds the executor, and alone writes the store."""

    def __init__(
        self,
        cells: Sequence[Cell],
        store: Store,
        executor: Executor,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.progress = [Progress(run=CellRun(cell)) for cell in cells]
        self._store, self._executor, self._stopping = store, executor, stopping
        self._started = time.perf_counter()
        self._owners: dict[str, Progress] = {}
        self._failed_once: set[str] = set()
        for cell in cells:
            store.add_cell(cell.spec())

    def run(self) -> Iterator[Progress]:
        """Yields a cell whenever something new is known of it, until all are complete.

        Ends early when stopping. On a full disk no trial is begun any more, those under way are
        brought to their end and stored, and StoreFullError is raised.
        """
        while not self._stopping():
            if not self._store.full:
                yield from self._fill()
            if not self._owners:
                break
            for finished in self._executor.finished():
                trial, result = finished.trial, finished.result
                if result is None and trial.key() not in self._failed_once:
                    self._failed_once.add(trial.key())
                    self._executor.submit(trial)
                    continue
                if result is None:
                    result = _broken(f"failed twice: {finished.error}")
                self._store.put(trial, result)
                progress = self._owners.pop(trial.key())
                progress.trials_run += 1
                progress.run.tell(trial, result)
                progress.wall_s = round(time.perf_counter() - self._started, 1)
                yield progress
        if self._store.full:
            raise StoreFullError(self._store.full)

    def under_way(self, progress: Progress) -> list[Trial]:
        """The cell's trials that are running now."""
        keys = {key for key, owner in self._owners.items() if owner is progress}
        return [trial for trial in progress.run.wanted() if trial.key() in keys]

    def _fill(self) -> Iterator[Progress]:
        """Take what the store has, then keep every worker busy, the first unfinished cell first."""
        for progress in self.progress:
            if reused := replay(progress.run, self._store, skip=self._owners):
                progress.trials_reused += reused
                progress.wall_s = round(time.perf_counter() - self._started, 1)
                yield progress
            for trial in progress.run.wanted():
                if len(self._owners) >= self._executor.capacity:
                    return
                if trial.key() not in self._owners:
                    self._owners[trial.key()] = progress
                    self._executor.submit(trial)


def _broken(reason: str) -> TrialResult:
    return TrialResult(
        outcome="error",
        reason=reason,
        steps=0,
        best_loss=None,
        best_step=0,
        histogram={},
        data_sha256={},
        wall_s=0.0,
        environment={},
    )
