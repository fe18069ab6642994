"""Which executor runs the trials, and how many processes it has."""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from kbench.study.executors import Executor

EXECUTORS = ("local", "ray")
Start = Callable[[Callable[[], bool], bool], "Executor"]
"""Makes an executor, given what says whether to stop, and whether trials must stay out of this
process, since what they run may end it."""


def worker_count(workers: int | None, device: str) -> int:
    """The number asked for, or one for each core that this process may use; on a GPU one."""
    if workers is not None and workers < 1:
        raise KbenchError(f"--workers is a number of processes, at least 1, got {workers}")
    return workers or (available_cores() if device == "cpu" else 1)


def available_cores() -> int:
    """Cores that this process may use: by its affinity, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.floor(min(cores or 1, *quotas(CGROUPS, GROUPS_OF_THIS))))


CGROUPS, GROUPS_OF_THIS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def quotas(root: Path, of_this: Path) -> Iterator[float]:
    """Cores' worth of time that control groups grant, version 2 and 1; inf where they set none.

    Of the own group where it can be seen, and of those above it.
    """
    yield math.inf
    try:
        groups = [line.split(":", 2) for line in of_this.read_text("utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if controllers in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            top = root / controllers
            own = top / path.lstrip("/")
            for folder in (own, *own.parents):
                yield _quota(folder)
                if folder == top:
                    break


def _quota(folder: Path) -> float:
    """Of one control group."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{of}_us").read_text() for of in ("quota", "period")
            )
        granted = float(quota) / float(period) if quota.strip() != "max" else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return granted if granted > 0 else math.inf


def starts(executor: str, ray_address: str | None, workers: int | None, device: str) -> Start:
    """What makes the executor asked for; raises KbenchError."""
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    if executor == "ray":
        if workers is not None:
            raise KbenchError("--workers is for --executor local; a cluster has what it has")
        from kbench.study.executors.ray import on_ray

        cluster = on_ray(ray_address, device)
        return lambda stopping, apart: cluster
    if ray_address:
        raise KbenchError("--ray-address is the cluster for --executor ray, which is not given")
    from kbench.study.executors.local import local

    count = worker_count(workers, device)
    return lambda stopping, apart: local(count, stopping, device, apart=apart)
