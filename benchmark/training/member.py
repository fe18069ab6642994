"""One trial in training: its model, optimiser, data order and verdict."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from kbench.data.leaks import only_new
from kbench.data.splits import Split, chance, generator, source_of
from kbench.data.supervision import IGNORE
from kbench.errors import KbenchError
from kbench.protocol import FarOff, Futility
from kbench.registry import models, tasks
from kbench.training.extrapolation import accuracy, longest_input
from kbench.training.loss import cross_entropy, supervised
from kbench.training.modules import answers_at, build, lengthened
from kbench.training.optimizer import AdamW
from kbench.trial import Trial

CURVE_POINTS = 64
"""Of a learning curve that are kept: enough for a picture, and half a kilobyte when stored."""
VALIDATION_CHUNK = 512
"""Samples per forward pass of a validation: large enough for speed, small enough for memory."""


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
        self._answers_at = answers_at(self.model)
        self.recipe = trial.recipe
        self.optimizer = AdamW(self.model.parameters(), trial.recipe)
        self.tokens, self.targets = _tensors(train, device)
        judged = only_new(train, validation) if trial.training.only_new_positions else validation
        self.validation_tokens, self.validation_targets = _tensors(judged, device)
        self.n_targets = int((self.validation_targets != IGNORE).sum())
        self.batch_size = min(trial.recipe.batch_size, trial.n_samples)
        self.interval = validation_interval(len(self.validation_tokens), self.batch_size)
        self._rng = generator(trial.seed, "batches")
        self._epoch: Iterator[Tensor] = iter(())
        self.steps = 0
        self.best_loss, self.best_step = math.inf, 0
        self.best_training_loss = math.inf
        self._best_at: list[tuple[int, float, float]] = []
        """Step, and the smallest validation and training loss until then."""
        self._curve: list[tuple[int, float]] = []
        self._not_by_heart = self._not_far_off = 0
        """The last steps at which these did not hold."""
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
        loss = self._loss(self.tokens.index_select(0, batch), self.targets.index_select(0, batch))
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        self._fit_sum += loss.detach()

    def _loss(self, tokens_BT: Tensor, targets_BT: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy, of a model that can answer at some positions only where it is asked."""
        if not self._answers_at:
            return cross_entropy(self.model(tokens_BT.long()), targets_BT, reduction)
        at_P = supervised(targets_BT)
        targets_P = targets_BT.flatten().index_select(0, at_P)
        return cross_entropy(self.model(tokens_BT.long(), at_P), targets_P, reduction)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean cross-entropy in nats over all supervised positions of the validation set."""
        total = 0.0
        for tokens, targets in zip(
            self.validation_tokens.split(VALIDATION_CHUNK),
            self.validation_targets.split(VALIDATION_CHUNK),
            strict=True,
        ):
            total += self._loss(tokens, targets, "sum").item()
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
        self.best_training_loss = min(self.best_training_loss, fit)
        self._best_at.append((self.steps, self.best_loss, self.best_training_loss))
        if math.isfinite(loss):
            self._curve.append((self.steps, loss))
        if fit >= loss / 2:
            self._not_by_heart = self.steps
        far_off = training.futility and training.futility.far_off
        if far_off and (fit >= far_off.by_heart * loss or self.best_loss <= far_off.loss):
            self._not_far_off = self.steps
        if loss < training.eps:
            self.reason = "success"
        elif not math.isfinite(loss):
            # A weight is no longer a number, and none of its successors will be.
            self.reason = "diverged"
        elif self.steps >= training.steps:
            self.reason = "budget"
        elif training.futility and self._is_futile(training.futility):
            self.reason = "futility"

    def curve(self) -> list[tuple[int, float]]:
        """Step and validation loss: CURVE_POINTS at most, the first, best and last among them."""
        points, last = self._curve, len(self._curve) - 1
        if last < CURVE_POINTS:
            return list(points)
        kept = {round(i * last / (CURVE_POINTS - 2)) for i in range(CURVE_POINTS - 1)}
        kept.add(min(range(last + 1), key=lambda i: points[i][1]))
        return [points[i] for i in sorted(kept)]

    def failure(self) -> str | None:
        """Why the run failed: `memorised`, `unfit` or `diverged`; None for one that passed.

        It has memorised its training set where its training loss came below eps, the loss that
        counts as success. A run ended by futility, with its training loss still above, has where
        that loss would come below eps within the budget at the pace of its last steps.
        """
        if self.reason in (None, "success", "diverged"):
            return "diverged" if self.reason == "diverged" else None
        futility, eps = self.trial.training.futility, self.trial.training.eps
        memorised = self.best_training_loss < eps
        if self.reason == "futility" and futility and not memorised:
            memorised = self._extrapolated(futility.shortest, which=2) < math.log(eps)
        return "memorised" if memorised else "unfit"

    def _is_futile(self, rule: Futility) -> bool:
        """Learned by heart, and too slow to be below eps by the end of the budget?

        While the training set is learned no better than the validation set, a plateau is no sign
        of failure.
        """
        start = self.steps - rule.patience
        if self._not_by_heart <= start and self._best_at[0][0] <= start:
            least = self._extrapolated(rule.patience, which=1, slack=rule.slack)
            if least > math.log(self.trial.training.eps):
                return True
        return rule.far_off is not None and self._is_far_off(rule.far_off, rule.slack)

    def _is_far_off(self, rule: FarOff, slack: float) -> bool:
        """Far from eps, and not coming nearer as fast as it would have to?"""
        start = self.steps - rule.patience
        before = [loss for step, loss in self._curve if start - rule.patience < step <= start]
        if self._not_far_off > start or not before:
            return False
        now = min(loss for step, loss in self._curve if step > start)
        pace = min(math.log(now / min(before)), 0.0) / rule.patience
        left = self.trial.training.steps - self.steps
        return math.log(now) + slack * pace * left > math.log(self.trial.training.eps)

    def _extrapolated(self, patience: int, which: int, slack: float = 1.0) -> float:
        """Log of the smallest validation (1) or training loss (2) by the end of the budget.

        Were it to fall on `slack` times as fast as over the last `patience` steps.
        """
        start = self.steps - patience
        before = [row[which] for row in self._best_at if row[0] <= start][-1]
        now = self._best_at[-1][which]
        speed = math.log(now / before) / patience
        return math.log(now) + slack * speed * (self.trial.training.steps - self.steps)

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


def _tensors(split: Split, device: str) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split.tokens).to(device), torch.from_numpy(split.targets).to(device)
