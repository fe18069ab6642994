"""The one training loop. Its unit is a cohort: trials of one model, task and set of lengths."""

import importlib.metadata
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

import kbench
from kbench.data.leaks import seen_prefixes
from kbench.data.splits import source_of
from kbench.provenance import processor, revision, source_sha256
from kbench.registry import models, tasks
from kbench.training.cohort import Cohort
from kbench.training.member import Member
from kbench.training.stack import why_not
from kbench.trial import Trial, TrialResult


class OneByOne:
    """Members that take their steps one after the other; `Cohort` stacks them."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = list(members)

    def step(self) -> None:
        """One optimiser step of every member."""
        for member in self._members:
            member.step()

    def validate(self, due: Sequence[Member]) -> None:
        """Measure the validation loss of these, and let them judge by it."""
        for member in due:
            member.validate()

    def leave(self, ended: Sequence[Member]) -> None:
        """Continue without these."""
        self._members = [member for member in self._members if member not in ended]


def training(
    cohort: Sequence[Trial],
    on_validation: Callable[[Member], None] = lambda member: None,
    device: str = "cpu",
    stack: bool | None = None,
    on_step: Callable[[Sequence[Member]], None] = lambda members: None,
) -> Iterator[tuple[Trial, TrialResult]]:
    """Train every trial of a cohort to its first success or its end; each as it leaves the cohort.

    Stacked they take a step in the time of one where launching is what it costs, on a GPU; there
    that is the default, if the model stacks. A run stops at its first validation loss below eps:
    the verdict, which depends on the minimum, cannot change any more. `on_validation`, which is
    called during tests too, may raise to give the whole cohort up. So may `on_step`, called after
    every step with those that took it.
    """
    start, clock = time.perf_counter(), Clock()
    source = source_of(cohort[0])
    data = [source.splits(t.n_samples, t.seed) for t in cohort]
    in_data = clock.lap()
    active = [Member(t, *splits, device) for t, splits in zip(cohort, data, strict=True)]
    _share(in_data, "data", active)
    engine = _engine(active, stack, device)
    stacked = isinstance(engine, Cohort)
    _share(clock.lap(), "other", active)
    while active:
        engine.step()
        due = [member for member in active if member.due()]
        if due and device == "cuda":
            torch.cuda.synchronize()  # or the steps' time would be the validation's
        _share(clock.lap(), "training", active)
        on_step(active)
        if not due:
            continue
        engine.validate(due)
        _share(clock.lap(), "validation", due)
        for member in due:
            on_validation(member)
        ended = [member for member in due if member.reason is not None]
        engine.leave(ended)
        active = [member for member in active if member.reason is None]
        for member in ended:
            accuracy = member.accuracy(device, partial(on_validation, member))
            _share(clock.lap(), "other", [member])
            wall_s = time.perf_counter() - start
            yield member.trial, _result(member, device, stacked, wall_s, accuracy)
            clock.lap()  # what was done in between is no part of the cohort


class Clock:
    """Time in laps."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap ended."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def _share(seconds: float, name: str, members: Sequence[Member]) -> None:
    """Time that several spent together, in equal parts."""
    for member in members:
        member.seconds[name] += seconds / len(members)


def _engine(members: Sequence[Member], stack: bool | None, device: str) -> Cohort | OneByOne:
    """What takes their steps: a stack where that is asked for, or pays and can be."""
    if stack is None:
        stack = device != "cpu" and len(members) > 1 and _stacks(members)
    return Cohort(members) if stack else OneByOne(members)


def _stacks(members: Sequence[Member]) -> bool:
    tokens_KBT = torch.stack([m.tokens[:1] for m in members[:2]]).long()
    return why_not([m.model for m in members[:2]], tokens_KBT) is None


def train(
    cohort: Sequence[Trial],
    on_validation: Callable[[Member], None] = lambda member: None,
    device: str = "cpu",
    stack: bool | None = None,
    on_step: Callable[[Sequence[Member]], None] = lambda members: None,
) -> list[TrialResult]:
    """The results of training(), in the order of the trials."""
    trained = training(cohort, on_validation, device, stack, on_step)
    results = {t.key(): result for t, result in trained}
    return [results[trial.key()] for trial in cohort]


def _result(
    m: Member, device: str, stacked: bool, wall_s: float, accuracy: Mapping[str, Any]
) -> TrialResult:
    failure = m.failure()
    return TrialResult(
        outcome="passed" if m.reason == "success" else "failed",
        reason=m.reason or "",
        steps=m.steps,
        best_loss=m.best_loss if math.isfinite(m.best_loss) else None,
        best_step=m.best_step,
        histogram={str(n): count for n, count in m.train.histogram.items()},
        data_sha256={"train": m.train.sha256(), "validation": m.validation.sha256()},
        wall_s=round(wall_s, 3),
        environment=environment(m.trial, device) | ({"stacked": True} if stacked else {}),
        seconds={name: round(seconds, 4) for name, seconds in m.seconds.items()},
        accuracy=accuracy,
        failure=failure,
        training_loss=m.best_training_loss if failure in ("memorised", "unfit") else None,
        seen_prefixes=round(seen_prefixes(m.train, m.validation), 4),
        curve=m.curve(),
    )


def seconds_per_step(cohort: Sequence[Trial], device: str = "cpu", steps: int = 4) -> float:
    """The shortest of a few steps of models that are thrown away, by trial of the cohort."""
    members = [Member(t, *source_of(t).splits(t.n_samples, t.seed), device) for t in cohort]
    engine = _engine(members, stack=None, device=device)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        engine.step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times) / len(cohort)


def environment(trial: Trial, device: str = "cpu") -> dict[str, Any]:
    """What a result may depend on besides the trial itself."""
    return {
        # Another backend goes by the name of the package that it comes from.
        trial.backend: importlib.metadata.version(trial.backend),
        "model_source": source_sha256(models, trial.model, trial.model_version),
        "task_source": source_sha256(tasks, trial.task, trial.task_version),
        "kbench": kbench.__version__,
        **revision(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": processor(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        # Which instructions products are made of: another may round otherwise.
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
