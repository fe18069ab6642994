"""Which executor runs the trials, and how many processes it has."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from kbench.study.executors import Executor

EXECUTORS = ("local", "ray")
Start = Callable[[Callable[[], bool]], "Executor"]
"""Makes an executor, given what says whether to stop."""


def worker_count(workers: int | None, device: str) -> int:
    """The number asked for, or one for each core that this process may use; on a GPU one."""
    if workers is not None and workers < 1:
        raise KbenchError(f"--workers is a number of processes, at least 1, got {workers}")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return workers or (available if device == "cpu" else None) or 1


def starts(executor: str, ray_address: str | None, workers: int | None, device: str) -> Start:
    """What makes the executor asked for; raises KbenchError."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "ray":
        if workers is not None:
            raise KbenchError("--workers is for --executor local; a cluster has what it has")
        from kbench.study.executors.ray import on_ray

        cluster = on_ray(ray_address, device)
        return lambda stopping: cluster
    if ray_address:
        raise KbenchError("--ray-address is the cluster for --executor ray, which is not given")
    from kbench.study.executors.local import local

    count = worker_count(workers, device)
    return lambda stopping: local(count, stopping, device)
