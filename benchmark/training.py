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
from torch import Tensor

import kbench
from kbench.cohort import Cohort
from kbench.data import Source, Split, chance, generator
from kbench.errors import KbenchError
from kbench.extrapolation import accuracy, longest_input
from kbench.loss import cross_entropy
from kbench.modules import build, lengthened
from kbench.protocol import Futility
from kbench.provenance import revision, source_sha256
from kbench.registry import models, tasks
from kbench.stack import why_not
from kbench.supervision import IGNORE
from kbench.trial import Trial, TrialResult

VALIDATION_CHUNK = 512
"""Samples per forward pass of a validation: large enough for speed, small enough for memory."""


def source_of(trial: Trial) -> Source:
    """Where the trial's data comes from."""
    return Source(
        task=tasks[trial.task].cls(**trial.task_params),
        supervision=trial.supervision,
        lengths=trial.lengths,
        distribution=trial.distribution,
        max_validation=trial.training.max_validation,
        max_validation_fraction=trial.training.max_validation_fraction,
    )


def validation_interval(n_validation: int, batch_size: int) -> int:
    """Steps between validations, so that these cost less than a tenth of the run.

    A forward pass takes 0.3 to 0.45 of a training step of equal size (`tests/benchmarks`), and
    steps of fewer than 32 samples hardly get cheaper.
    """
    return max(10, math.ceil(4.5 * n_validation / max(batch_size, 32)))


class Member:
    """One trial of a cohort: its model, optimiser, data order and verdict."""

    def __init__(self, trial: Trial, train: Split, validation: Split, device: str = "cpu") -> None:
        self.trial, self.train, self.validation = trial, train, validation
        source, entry = source_of(trial), models[trial.model]
        for now, name, version in (
            (entry.version, trial.model, trial.model_version),
            (tasks[trial.task].version, trial.task, trial.task_version),
        ):
            if now != version:
                raise KbenchError(f"the source of {name} has changed since the run began")
        self.model = build(
            entry, source.vocab_size(), source.width(), trial.size,
            backend=trial.backend, seed=trial.seed,
        ).to(device)  # fmt: skip
        self.learning_rate = trial.learning_rate
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=trial.learning_rate, fused=True
        )
        self.tokens, self.targets = _tensors(train, device)
        self.validation_tokens, self.validation_targets = _tensors(validation, device)
        self.n_targets = int((self.validation_targets != IGNORE).sum())
        self.batch_size = min(trial.training.batch_size, trial.n_samples)
        self.interval = validation_interval(len(self.validation_tokens), self.batch_size)
        self._rng = generator(trial.seed, "batches")
        self._epoch: Iterator[Tensor] = iter(())
        self.steps = 0
        self.best_loss, self.best_step = math.inf, 0
        self._best_at: list[tuple[int, float]] = []
        self._not_by_heart = 0
        self._fit_sum, self._judged_at = torch.zeros((), device=device), 0
        self.last_validation_loss = self.last_training_loss = math.inf
        self.reason: str | None = None
        self.seconds = dict.fromkeys(("data", "training", "validation", "other"), 0.0)

    def next_batch(self) -> Tensor:
        """Indices of the next batch: epochs in a new order each, an incomplete last batch left."""
        batch = next(self._epoch, None)
        if batch is None:
            order = torch.from_numpy(self._rng.permutation(len(self.tokens)))
            self._epoch = iter(order.split(self.batch_size)[: len(order) // self.batch_size])
            batch = next(self._epoch)
        return batch

    def step(self) -> None:
        """One optimiser step on the mean cross-entropy over the batch's supervised positions."""
        batch = self.next_batch().to(self.tokens.device)
        self.optimizer.zero_grad()  # first of all: its memory is used again at once
        logits_BTV = self.model(self.tokens.index_select(0, batch).long())
        loss = cross_entropy(logits_BTV, self.targets.index_select(0, batch))
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        self._fit_sum += loss.detach()

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean cross-entropy in nats over all supervised positions of the validation set."""
        total = 0.0
        for tokens, targets in zip(
            self.validation_tokens.split(VALIDATION_CHUNK),
            self.validation_targets.split(VALIDATION_CHUNK),
            strict=True,
        ):
            total += cross_entropy(self.model(tokens.long()), targets, "sum").item()
        return total / self.n_targets

    def validate(self) -> None:
        """Measure the validation loss and decide whether the run ends here."""
        self.judge(self.validation_loss(), self._fit_sum.item())
        self._fit_sum = torch.zeros_like(self._fit_sum)

    def judge(self, loss: float, fit_sum: float) -> None:
        """Decide by the validation loss, and the sum of training losses since the one before."""
        self.last_validation_loss = loss
        self.last_training_loss = fit = fit_sum / (self.steps - self._judged_at)
        self._judged_at = self.steps
        training = self.trial.training
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.steps
        self._best_at.append((self.steps, self.best_loss))
        if fit >= loss / 2:
            self._not_by_heart = self.steps
        if loss < training.eps:
            self.reason = "success"
        elif not math.isfinite(loss):
            # A weight is no longer a number, and none of its successors will be.
            self.reason = "diverged"
        elif self.steps >= training.steps:
            self.reason = "budget"
        elif training.futility and self._is_futile(training.futility):
            self.reason = "futility"

    def _is_futile(self, rule: Futility) -> bool:
        """Learned by heart, and too slow to be below eps by the end of the budget?

        While the training set is learned no better than the validation set, a plateau is no sign
        of failure.
        """
        start = self.steps - rule.patience
        before = [loss for step, loss in self._best_at if step <= start]
        if self._not_by_heart > start or not before:
            return False
        training = self.trial.training
        speed = math.log(self.best_loss / before[-1]) / rule.patience
        end = math.log(self.best_loss) + rule.slack * speed * (training.steps - self.steps)
        return end > math.log(training.eps)

    def accuracy(self, device: str, on_word: Callable[[], None]) -> dict[str, dict[str, float]]:
        """Of the model as it is now, at each length that the trial is tested at."""
        found = {}
        source, trial = source_of(self.trial), self.trial
        for n in trial.tested:
            max_len = max(longest_input(source, n), source.width())
            longer = build(
                models[trial.model], source.vocab_size(), max_len, trial.size,
                backend=trial.backend, seed=trial.seed,
            )  # fmt: skip
            model = lengthened(self.model, longer).to(device)
            found[str(n)] = {
                "accuracy": accuracy(model, source, n, trial.seed, device, on_word),
                "chance": chance(source.task, n),
            }
        return found

    def due(self) -> bool:
        """Is a validation due at this step?"""
        return self.steps % self.interval == 0 or self.steps >= self.trial.training.steps


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
        """Go on without these."""
        self._members = [member for member in self._members if member not in ended]


def training(
    cohort: Sequence[Trial],
    on_validation: Callable[[Member], None] = lambda member: None,
    device: str = "cpu",
    stack: bool | None = None,
) -> Iterator[tuple[Trial, TrialResult]]:
    """Train every trial of a cohort to its first success or its end; each as it leaves the cohort.

    Stacked they take a step in the time of one where launching is what it costs, on a GPU; there
    that is the default, if the model stacks. A run stops at its first validation loss below eps:
    the verdict, which depends on the minimum, cannot change any more. `on_validation`, which is
    called during tests too, may raise to give the whole cohort up.
    """
    start, clock = time.perf_counter(), Clock()
    source = source_of(cohort[0])
    data = [source.splits(t.n_samples, t.seed) for t in cohort]
    in_data = clock.lap()
    active = [Member(t, *splits, device) for t, splits in zip(cohort, data, strict=True)]
    _share(in_data, "data", active)
    if stack is None:
        stack = device != "cpu" and len(active) > 1 and _stacks(active)
    engine = Cohort(active) if stack else OneByOne(active)
    _share(clock.lap(), "other", active)
    while active:
        engine.step()
        due = [member for member in active if member.due()]
        if due and device == "cuda":
            torch.cuda.synchronize()  # or the steps' time would be the validation's
        _share(clock.lap(), "training", active)
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
            yield member.trial, _result(member, device, bool(stack), wall_s, accuracy)
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


def _stacks(members: Sequence[Member]) -> bool:
    tokens_KBT = torch.stack([m.tokens[:1] for m in members[:2]]).long()
    return why_not([m.model for m in members[:2]], tokens_KBT) is None


def train(
    cohort: Sequence[Trial],
    on_validation: Callable[[Member], None] = lambda member: None,
    device: str = "cpu",
    stack: bool | None = None,
) -> list[TrialResult]:
    """The results of training(), in the order of the trials."""
    results = {t.key(): result for t, result in training(cohort, on_validation, device, stack)}
    return [results[trial.key()] for trial in cohort]


def _result(
    m: Member, device: str, stacked: bool, wall_s: float, accuracy: Mapping[str, Any]
) -> TrialResult:
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
    )


def seconds_per_step(trial: Trial, device: str = "cpu", steps: int = 4) -> float:
    """The shortest of a few steps of a model that is thrown away."""
    member = Member(trial, *source_of(trial).splits(trial.n_samples, trial.seed), device)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        member.step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


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
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
    }


def _tensors(split: Split, device: str) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.tokens).to(device), torch.from_numpy(split.targets).to(device)
