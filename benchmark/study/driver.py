"""From cells to trials and back: wires searches, store and executor together.

A cell is replayed from the store on every run, so resuming, showing a result again and measuring it
for the first time are the same code.
"""

import gc
import itertools
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kbench.study.cell import Cell, Lengths
from kbench.study.executors import Executor, Finished, Reached
from kbench.study.searches import CellRun
from kbench.study.store import Store, StoreFullError
from kbench.trial import Ending, Trial, TrialResult, Variant

_POLL_S = 1.0
"""Between looks at what another process has stored."""


class Results(Protocol):
    """What a store has of trials that were run; a leaderboard entry has it too."""

    def endings(self, trial: Trial) -> Mapping[Variant, Ending]:
        """Of every trial of this one's family."""

    def get(self, key: str) -> TrialResult | None:
        """The result of the trial with this key, if it has been run."""


def asked_for(store: Store) -> list[Cell]:
    """Every cell that a store was asked for, oldest first; once, in whatever form it is written."""
    cells: list[Cell] = []
    for spec in store.cells():
        if (cell := Cell.from_spec(spec)) not in cells:
            cells.append(cell)
    return cells


def recall(run: CellRun, store: Results) -> int:
    """Tell a fresh cell all that the store has of it; the number of trials told."""
    # Of thousands of rows not one is garbage, and looking for it takes longer than reading them.
    enabled = gc.isenabled()
    gc.disable()
    try:
        return run.recall(store.endings) + len(replay(run, store))
    finally:
        if enabled:
            gc.enable()


def replay(run: CellRun, store: Results, skip: Container[str] = ()) -> list[Trial]:
    """Tell the cell what the store has of it, all but `skip`; the trials told."""
    told: list[Trial] = []
    while found := [
        (trial, result)
        for trial in run.wanted()
        if trial.key() not in skip and (result := store.get(trial.key()))
    ]:
        for trial, result in found:
            run.tell(trial, result)
            told.append(trial)
    return told


@dataclass(kw_only=True, slots=True)
class Progress:
    """A cell and what this command has spent on it."""

    run: CellRun
    trials_run: int = 0
    trials_reused: int = 0
    steps_run: Counter[Lengths] = field(default_factory=Counter)
    """Of the trials run, by the lengths that they train on."""
    wall_s: float = 0.0
    """From the start of the command to the cell's last trial."""
    elsewhere: bool = False
    """Is another process, which shares the store, at work on it?"""


@dataclass(kw_only=True, slots=True)
class Profile:
    """Where the time of the workers went, in seconds summed over them, and what the store took."""

    workers: int
    elapsed: float
    trials: Counter[str]
    """By what a trial did: `data`, `training`, `validation`, and `other`."""
    store: float
    ahead: float
    """In trials that no search has asked for."""

    @property
    def idle(self) -> float:
        """Starting, hand-over, and nothing to do."""
        return max(0.0, self.workers * self.elapsed - self.trials.total())


class Driver:
    """Runs cells to their end: feeds the executor, and alone writes the store.

    Idle workers start trials speculatively: those that a search may want next. These go
    into the store, and the cell hears of them when it comes to want them, so that what it concludes
    does not depend on how many ran at once.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        store: Store,
        executor: Executor,
        stopping: Callable[[], bool] = lambda: False,
        on_trial: Callable[[Progress, Trial, TrialResult], None] | None = None,
    ) -> None:
        self.progress = [Progress(run=CellRun(cell)) for cell in cells]
        self._store, self._executor, self._stopping = store, executor, stopping
        self._on_trial = on_trial
        self._started = time.perf_counter()
        self._under_way: dict[str, tuple[Progress, Trial]] = {}
        self._ran: dict[str, tuple[Progress, Trial, float]] = {}
        """Every trial that this command has run, and its seconds."""
        self._failed_once: set[str] = set()
        self._claimed: set[int] = set()
        """Cells that no other process measures meanwhile."""
        self._times: Counter[str] = Counter()
        self._elapsed = self._store_s = 0.0
        for progress in self.progress:
            store.add_cell(progress.run.cell.spec())
            progress.trials_reused = recall(progress.run, store)

    def run(self) -> Iterator[Progress]:
        """Yields a cell whenever something new is known of it, until all are complete.

        Ends early when stopping. On a full disk no trial is begun any more, those under way are
        brought to their end and stored, and StoreFullError is raised.
        """
        for progress in self.progress:
            if progress.trials_reused:
                self._stamp(progress)
                yield progress
        is_new = True
        while not self._stopping():
            self._elapsed = time.perf_counter() - self._started
            # With every worker busy and nothing new there is nothing to start, and looking again
            # takes time from the workers.
            if (is_new or self._executor.idle) and not self._store.full:
                yield from self._fill()
                if all(p.run.complete for p in self.progress):
                    break
            if not self._under_way:
                others = [p for p in self.progress if p.elsewhere and not p.run.complete]
                if self._store.full or not others:
                    break
                yield others[0]
                time.sleep(_POLL_S)
                continue
            ended = self._executor.finished()
            is_new = bool(ended)
            for finished in ended:
                if news := self._take(finished):
                    yield news
        if self._store.full:
            raise StoreFullError(self._store.full)

    @property
    def workers(self) -> int:
        """Cohorts that run at once."""
        return self._executor.capacity

    @property
    def complete(self) -> bool:
        """Have all cells come to their end?"""
        return all(p.run.complete for p in self.progress)

    def under_way(self) -> list[tuple[Progress, Trial, Reached | None]]:
        """The trials that are running now, and how far each has come; from any thread."""
        reached = self._executor.reached
        return [(p, t, reached.get(key)) for key, (p, t) in list(self._under_way.items())]

    def profile(self) -> Profile:
        """Where the time of this command went so far."""
        ahead = sum(
            seconds
            for progress, trial, seconds in self._ran.values()
            if not (progress.run.ending(trial) or trial.key() in progress.run.tests)
        )
        return Profile(
            workers=self._executor.capacity,
            elapsed=self._elapsed,
            trials=self._times,
            store=self._store_s,
            ahead=ahead,
        )

    def _take(self, finished: Finished) -> Progress | None:
        """Store a result, and tell the cell if it wants to know; None where nothing is new."""
        trial, result, key = finished.trial, finished.result, finished.trial.key()
        progress, _ = self._under_way.pop(key)
        wanted = any(trial == other for other in progress.run.wanted())
        if result is None and (key not in self._failed_once or not wanted):
            self._failed_once.add(key)  # a trial still wanted is soon tried again
            return None
        result = result or _broken(f"failed twice: {finished.error}")
        before = time.perf_counter()
        self._store.put(trial, result)
        self._store_s += time.perf_counter() - before
        self._times.update(result.seconds)
        self._ran[key] = progress, trial, sum(result.seconds.values())
        progress.trials_run += 1
        progress.steps_run[trial.lengths] += result.steps
        if wanted:
            progress.run.tell(trial, result)
        self._stamp(progress)
        if self._on_trial:
            self._on_trial(progress, trial, result)
        return progress

    def _stamp(self, progress: Progress) -> None:
        progress.wall_s = round(time.perf_counter() - self._started, 1)

    def _fill(self) -> Iterator[Progress]:
        """Take what the store has, then keep every worker busy, the first unfinished cell first."""
        for progress in self.progress:
            if told := replay(progress.run, self._store, skip=self._under_way):
                progress.trials_reused += sum(trial.key() not in self._ran for trial in told)
                self._stamp(progress)
                yield progress
            self._start(progress, progress.run.wanted())
            if not self._executor.idle:
                return
        for progress in self.progress:
            self._start(progress, self._ahead(progress))

    def _start(self, progress: Progress, trials: Iterable[Trial]) -> None:
        """Begin with those trials for which there is room, each in the company that it can have."""
        for trial in trials:
            if not self._executor.idle:
                return
            if trial.key() in self._under_way:
                continue
            # What another process measures will be in the store; meanwhile there are other cells.
            if id(progress) not in self._claimed:
                progress.elsewhere = not self._store.claim(progress.run.cell.spec())
                if progress.elsewhere:
                    return
                self._claimed.add(id(progress))
            cohort = [trial]
            # What has broken down goes alone, so that it takes no others along.
            if self._executor.cohort > 1 and trial.key() not in self._failed_once:
                others = (t for t in self._ahead(progress) if t != trial and t.stacks_with(trial))
                cohort += itertools.islice(others, self._executor.cohort - 1)
            self._under_way |= {t.key(): (progress, t) for t in cohort}
            self._executor.submit(cohort)

    def _ahead(self, progress: Progress) -> Iterator[Trial]:
        """What the cell wants or may come to want, and has not been run or begun; nearest first."""
        seen: set[str] = set()
        # Looking far ahead takes time: no further than it takes to keep everyone busy.
        for k in (2**i for i in range(self._executor.capacity.bit_length() + 7)):
            for trial in progress.run.wanted(k):
                key = trial.key()
                if key in seen:
                    continue
                seen.add(key)
                new = key not in self._under_way and key not in self._failed_once
                if new and key not in self._ran and self._store.get(key) is None:
                    yield trial


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
