"""This machine: in the calling process, or in a pool of processes with one thread each."""

import concurrent.futures
import contextlib
import math
import multiprocessing.context
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pebble import ProcessExpired, ProcessPool

from kbench.errors import one_line
from kbench.study.executors import Executor, Finished, Reached
from kbench.trial import Trial, TrialResult

if TYPE_CHECKING:
    from kbench.training.member import Member

_POLL_S = 0.2
_TELL_S = 0.5
"""Between two looks at how far a trial has come: often enough to see it move."""
COHORT = {"cpu": 1, "cuda": 15}
"""Trials in a cohort. On a CPU a stack of small models is no faster than one after the other; on a
GPU launching is what a small step should cost, and fifteen are launched as one."""


class _Worker(multiprocessing.context.SpawnProcess):
    """A process that does not run the user's script again.

    Spawned processes import the main module of the one that starts them, in case what they run is
    defined there. Nothing of ours is, and a script without a `__main__` guard would start over.
    """

    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802 - multiprocessing's name for it
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            return multiprocessing.context.SpawnProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Spawn(multiprocessing.context.SpawnContext):
    """Starts such processes."""

    Process = _Worker


class Cancelled(Exception):
    """The trial was given up because the run is to stop."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: with more threads than cores small models are far slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_cohort(
    cohort: Sequence[Trial], device: str = "cpu", at: int | None = None
) -> list[TrialResult]:
    """Train a cohort on one thread; the results in the order of the trials.

    In a pool how far each has come is written to the pool's board, from place `at` on.
    """
    from kbench.training.loop import train

    def tell(reached: Mapping[str, Reached]) -> None:
        for i, trial in enumerate(cohort, at or 0):
            if found := reached.get(trial.key()):
                _board[2 * i] = found.steps
                _board[2 * i + 1] = math.nan if found.loss is None else found.loss

    with one_thread():
        return train(cohort, device=device, on_step=Telling(None if at is None else tell))


_board: Any = None
"""In a worker: steps and loss of every trial of the pool that is under way, in shared memory. Each
place has one writer and numbers are written whole, so there is no lock that a killed worker could
hold for ever."""


class Telling:
    """Called after every step; every _TELL_S it tells how far the members have come."""

    def __init__(self, tell: Callable[[Mapping[str, Reached]], None] | None) -> None:
        self._tell, self._at = tell, 0.0

    def __call__(self, members: "Sequence[Member]") -> None:
        """Nothing most of the time: a step is a fraction of a millisecond."""
        if self._tell is None or (now := time.monotonic()) < self._at:
            return
        self._at = now + _TELL_S
        self._tell(
            {
                m.trial.key(): Reached(
                    m.steps,
                    m.last_validation_loss if math.isfinite(m.last_validation_loss) else None,
                )
                for m in members
            }
        )


class InProcess:
    """One cohort at a time, in the calling process."""

    capacity = 1

    def __init__(
        self,
        stopping: Callable[[], bool] = lambda: False,
        device: str = "cpu",
        cohort: int = 1,
    ) -> None:
        self._stopping, self._device, self.cohort = stopping, device, cohort
        self._training: Iterator[tuple[Trial, TrialResult]] = iter(())
        self._left: list[Trial] = []
        self.reached: Mapping[str, Reached] = {}

    @property
    def idle(self) -> int:
        """One, while no cohort is under way."""
        return 0 if self._left else 1

    def submit(self, cohort: Sequence[Trial]) -> None:
        """Begin with the cohort; it trains during the calls of finished()."""
        from kbench.training.loop import training
        from kbench.training.member import Member

        def tell(reached: Mapping[str, Reached]) -> None:
            self.reached = reached

        telling = Telling(tell)

        def check(member: Member) -> None:
            if self._stopping():
                raise Cancelled

        def on_step(members: Sequence[Member]) -> None:
            telling(members)
            if self._stopping():
                raise Cancelled

        self._left = list(cohort)
        self._training = training(self._left, check, self._device, on_step=on_step)

    def finished(self) -> list[Finished]:
        """Train until a member of the cohort leaves it."""
        if not self._left or self._stopping():
            return []
        try:
            with one_thread():
                trial, result = next(self._training)
        except Cancelled:
            return []
        except (Exception, SystemExit) as error:  # a user's model may; the driver decides
            lost, self._left = self._left, []
            return [Finished(trial=t, result=None, error=one_line(error)) for t in lost]
        self._left.remove(trial)
        return [Finished(trial=trial, result=result)]

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._left = []


class SpawnPool:
    """`workers` processes, each on one thread. One that dies takes only its own cohort along."""

    def __init__(self, workers: int, device: str = "cpu", cohort: int = 1) -> None:
        self.capacity, self._device, self.cohort = workers, device, cohort
        self._running: dict[concurrent.futures.Future, tuple[Sequence[Trial], int]] = {}
        self._free = [cohort * worker for worker in range(workers)]
        """Places on the board that a cohort may begin at."""
        self._board = multiprocessing.get_context("spawn").RawArray("d", 2 * cohort * workers)
        # Ctrl-C reaches the whole process group, and is the driver's alone to answer. Threads and
        # processes inherit the mask, so that a worker is deaf to it from its first moment.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool = ProcessPool(
                max_workers=workers,
                initializer=_begin,
                initargs=(self._board,),
                context=_Spawn(),
            )
            self._pool.active  # noqa: B018 - starts the pool's threads and workers
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @property
    def idle(self) -> int:
        """Workers without a cohort."""
        return self.capacity - len(self._running)

    def submit(self, cohort: Sequence[Trial]) -> None:
        """Hand the cohort to an idle worker."""
        at = self._free.pop()
        self._board[2 * at : 2 * (at + len(cohort))] = [0.0] * (2 * len(cohort))
        future = self._pool.schedule(run_cohort, args=(cohort, self._device, at))
        self._running[future] = cohort, at

    def finished(self) -> list[Finished]:
        """Collect what has ended; wait up to a fifth of a second for the first."""
        done, _ = concurrent.futures.wait(
            self._running, timeout=_POLL_S, return_when=concurrent.futures.FIRST_COMPLETED
        )
        found = []
        for future in done:
            cohort, at = self._running.pop(future)
            self._free.append(at)
            found += _collect(cohort, future)
        return found

    @property
    def reached(self) -> Mapping[str, Reached]:
        """What the workers have written to the board."""
        found = {}
        for cohort, at in list(self._running.values()):
            for i, trial in enumerate(cohort, at):
                steps, loss = self._board[2 * i : 2 * i + 2]
                if steps:
                    found[trial.key()] = Reached(int(steps), None if math.isnan(loss) else loss)
        return found

    def __enter__(self) -> "SpawnPool":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.stop()
        self._pool.join()


def local(
    workers: int,
    stopping: Callable[[], bool] = lambda: False,
    device: str = "cpu",
    *,
    apart: bool = False,
) -> Executor:
    """A pool of processes; for one worker this process, unless trials must stay out of it."""
    if workers == 1 and not apart:
        return InProcess(stopping, device, COHORT[device])
    return SpawnPool(workers, device, COHORT[device])


def _collect(cohort: Sequence[Trial], future: concurrent.futures.Future) -> list[Finished]:
    try:
        return [Finished(trial=t, result=r) for t, r in zip(cohort, future.result(), strict=True)]
    except ProcessExpired as error:
        reason = f"its worker died (exit {error.exitcode})"
    except (Exception, SystemExit) as error:  # whatever a user's model raised in the worker
        reason = one_line(error)
    return [Finished(trial=trial, result=None, error=reason) for trial in cohort]


def _begin(board: Any) -> None:
    global _board
    _board = board
    _end_with_parent()


def _end_with_parent() -> None:
    """Watch the driver from within a worker, and end with it, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
