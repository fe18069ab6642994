"""This machine: in the calling process, or in a pool of processes with one thread each."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator

from pebble import ProcessExpired, ProcessPool

from kbench.executors import Executor, Finished
from kbench.trial import Trial, TrialResult

_POLL_S = 0.2


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


def run_trial(
    trial: Trial, device: str = "cpu", stopping: Callable[[], bool] = lambda: False
) -> TrialResult:
    """Train one trial on one thread."""
    from kbench.training import Member, train

    def check(member: Member) -> None:
        if stopping():
            raise Cancelled

    with one_thread():
        return train([trial], check, device)[0]


class InProcess:
    """One trial at a time, in the calling process."""

    capacity = 1

    def __init__(self, stopping: Callable[[], bool] = lambda: False, device: str = "cpu") -> None:
        self._stopping, self._device = stopping, device
        self._waiting: list[Trial] = []

    def submit(self, trial: Trial) -> None:
        """Queue the trial; it runs in the next call of finished()."""
        self._waiting.append(trial)

    def finished(self) -> list[Finished]:
        """Run what is queued."""
        done = []
        while self._waiting and not self._stopping():
            trial = self._waiting.pop()
            try:
                done.append(
                    Finished(trial=trial, result=run_trial(trial, self._device, self._stopping))
                )
            except Cancelled:
                break
            except (Exception, SystemExit) as error:  # a user's model may; the driver decides
                done.append(Finished(trial=trial, result=None, error=_one_line(error)))
        return done

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting.clear()


class SpawnPool:
    """`workers` processes, each on one thread. One that dies takes only its own trial along."""

    def __init__(self, workers: int, device: str = "cpu") -> None:
        self.capacity, self._device = workers, device
        self._running: dict[concurrent.futures.Future, Trial] = {}
        # Ctrl-C reaches the whole process group, and is the driver's alone to answer. Threads and
        # processes inherit the mask, so that a worker is deaf to it from its first moment.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool = ProcessPool(
                max_workers=workers,
                initializer=_end_with_parent,
                context=multiprocessing.get_context("spawn"),
            )
            self._pool.active  # noqa: B018 - starts the pool's threads and workers
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def submit(self, trial: Trial) -> None:
        """Hand the trial to an idle worker."""
        self._running[self._pool.schedule(run_trial, args=(trial, self._device))] = trial

    def finished(self) -> list[Finished]:
        """Collect what has ended; wait up to a fifth of a second for the first."""
        done, _ = concurrent.futures.wait(
            self._running, timeout=_POLL_S, return_when=concurrent.futures.FIRST_COMPLETED
        )
        return [_collect(self._running.pop(future), future) for future in done]

    def __enter__(self) -> "SpawnPool":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.stop()
        self._pool.join()


def local(
    workers: int, stopping: Callable[[], bool] = lambda: False, device: str = "cpu"
) -> Executor:
    """In this process for one worker, a pool for more."""
    return InProcess(stopping, device) if workers == 1 else SpawnPool(workers, device)


def _collect(trial: Trial, future: concurrent.futures.Future) -> Finished:
    try:
        return Finished(trial=trial, result=future.result())
    except ProcessExpired as error:
        return Finished(trial=trial, result=None, error=f"its worker died (exit {error.exitcode})")
    except (Exception, SystemExit) as error:  # whatever a user's model raised in the worker
        return Finished(trial=trial, result=None, error=_one_line(error))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _end_with_parent() -> None:
    """Watch the driver from within a worker, and end with it, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
