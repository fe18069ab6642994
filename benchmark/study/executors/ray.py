"""A Ray cluster: one cohort on each CPU or GPU of it, while its nodes come and go."""

import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kbench.errors import KbenchError, one_line
from kbench.study.executors import Executor, Finished, Reached
from kbench.study.executors.local import COHORT, run_cohort
from kbench.trial import Trial, TrialResult

_POLL_S = 0.2
_COUNT_S = 1.0
_CONNECT_S = 10
_ATTEMPTS = 3
"""How often a cohort may end its worker. A node that is lost is not the cohort's doing, and costs
no attempt."""


class RayExecutor:
    """Cohorts as Ray tasks of one CPU each, or of one GPU. Must be entered to be used.

    Raises KbenchError where nothing listens at the address, or Ray is not installed.
    """

    def __init__(self, address: str | None, device: str = "cpu") -> None:
        self._address, self._device, self.cohort = address, device, COHORT[device]
        self._running: dict[Any, tuple[Sequence[Trial], int]] = {}
        self._counted_at = 0.0
        self.reached: Mapping[str, Reached] = {}
        """Nothing: workers elsewhere say nothing before their trials have ended."""
        self._ray = _ray()
        if address is not None:
            _ensure_listening(address)

    @property
    def capacity(self) -> int:
        """CPUs or GPUs of the nodes alive; one where there is none, which then is waited for."""
        if time.monotonic() - self._counted_at > _COUNT_S:
            kind = "GPU" if self._device == "cuda" else "CPU"
            with _said_if_lost():
                self._slots = max(1, int(self._ray.cluster_resources().get(kind, 0)))
            self._counted_at = time.monotonic()
        return self._slots

    @property
    def idle(self) -> int:
        """Slots without a cohort."""
        return max(0, self.capacity - len(self._running))

    def submit(self, cohort: Sequence[Trial]) -> None:
        """Hand the cohort to the cluster."""
        with _said_if_lost():
            self._start(cohort, 1)

    def finished(self) -> list[Finished]:
        """Collect what has ended; wait up to a fifth of a second for the first."""
        if not self._running:
            return []
        with _said_if_lost():
            done, _ = self._ray.wait(list(self._running), timeout=_POLL_S)
            return [finished for ref in done for finished in self._collect(ref)]

    def __enter__(self) -> "RayExecutor":
        _connect(self._ray, self._address)
        # Retries are counted here: Ray counts a lost node and a worker that dies alike.
        self._task = self._ray.remote(_run).options(
            num_cpus=1, num_gpus=1 if self._device == "cuda" else 0, max_retries=0
        )
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):  # where the cluster is lost, nothing is left to end
            for ref in self._running:
                self._ray.cancel(ref, force=True)
        self._counted_at = math.inf  # the capacity stays what it was last
        self._ray.shutdown()

    def _start(self, cohort: Sequence[Trial], attempt: int) -> None:
        ref = self._task.remote(cohort, self._device, str(Path.cwd()))
        self._running[ref] = cohort, attempt

    def _collect(self, ref: Any) -> list[Finished]:
        cohort, attempt = self._running.pop(ref)
        errors = self._ray.exceptions
        try:
            results, reason = self._ray.get(ref)
        except errors.NodeDiedError:
            self._start(cohort, attempt)
            return []
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            if attempt < _ATTEMPTS:
                self._start(cohort, attempt + 1)
                return []
            results, reason = [], f"its worker died ({type(error).__name__})"
        except errors.RayError as error:  # the task never came to its first line
            results, reason = [], one_line(getattr(error, "cause", None) or error)
        if reason:
            return [Finished(trial=trial, result=None, error=reason) for trial in cohort]
        return [Finished(trial=t, result=r) for t, r in zip(cohort, results, strict=True)]


def on_ray(address: str | None, device: str = "cpu") -> Executor:
    """On the cluster at `auto`, `host:port` or `ray://host:port`, or on one started here."""
    return RayExecutor(address, device)


def _run(cohort: Sequence[Trial], device: str, directory: str) -> tuple[list[TrialResult], str]:
    """In a worker: the results, or one line on why there are none."""
    where = ""
    try:
        os.chdir(directory)  # models and tasks given by path are found from there
    except OSError:
        where = f" ({socket.gethostname()} has no folder {directory})"
    try:
        return run_cohort(cohort, device), ""
    except (Exception, SystemExit) as error:  # whatever a user's model raised
        return [], one_line(error) + where


def _ray() -> Any:
    # What Ray has to say of a worker or node that died, the executor says in one line.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would look for another cluster where it has lost the one that it was given.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        import ray
    except ImportError:
        raise KbenchError("--executor ray needs Ray: pip install 'ray[client]'") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Raises KbenchError where no cluster answers."""
    quiet = {"log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        if address is None:
            with _own_signal_handlers():
                ray.init("local", include_dashboard=False, object_store_memory=100 << 20, **quiet)
            return
        with _own_signal_handlers(), _silent():
            ray.init(address, **quiet)
    except (Exception, SystemExit) as error:
        where = "a Ray instance of its own" if address is None else f"--ray-address {address}"
        raise KbenchError(f"{where}: {error}") from None


def _ensure_listening(address: str) -> None:
    """Before Ray itself tries, which it would for minutes."""
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise KbenchError(f"--ray-address {address}: {error}") from None


@contextlib.contextmanager
def _said_if_lost() -> Iterator[None]:
    """Whatever Ray raises while trials are handed over means that the cluster cannot be reached."""
    try:
        yield
    except Exception as error:
        raise KbenchError(
            f"the Ray cluster is lost ({one_line(error)}). What is stored is safe; the same "
            "command resumes"
        ) from None


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Puts back the handlers that Ray replaces: how to stop is the driver's to decide."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing on stderr: Ray's core writes there about every failed attempt to connect."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
