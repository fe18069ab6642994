"""A cohort whose members train together, as one stack of models, each on its own batches."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from kbench.data.supervision import IGNORE
from kbench.protocol import Recipe
from kbench.training.stack import Stack

AHEAD = 64
"""Steps whose batches are drawn at once, so that the device is sent few large pieces."""
CHUNK = 2048
"""Samples of all members together per forward pass of a validation."""


class Learner(Protocol):
    """What a cohort needs of each of its members."""

    model: nn.Module
    recipe: Recipe
    steps: int
    n_targets: int
    tokens: Tensor
    targets: Tensor
    validation_tokens: Tensor
    validation_targets: Tensor

    def next_batch(self) -> Tensor:
        """Indices of the training samples of its next step, on the CPU."""

    def judge(self, loss: float, fit_sum: float) -> None:
        """Take the validation loss, and the sum of the training losses since the last one."""


class Rows:
    """The samples of all members in one table, and an ignored one to fill up with."""

    def __init__(self, parts: Sequence[tuple[Tensor, Tensor]]) -> None:
        tokens, targets = zip(*parts, strict=True)
        self._tokens = torch.cat([*tokens, torch.zeros_like(tokens[0][:1])])
        self._targets = torch.cat([*targets, torch.full_like(targets[0][:1], IGNORE)])
        sizes = [len(t) for t in tokens]
        self.starts = [sum(sizes[:k]) for k in range(len(sizes))]
        self.filler = len(self._tokens) - 1

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """tokens and targets of these rows, of any shape [..., T]."""
        return self._tokens[index], self._targets[index]

    def padded(self, batches: Sequence[Tensor], members: Sequence[int]) -> Tensor:
        """The members' own indices as rows of the table [K, B], filled up to the longest."""
        rows = torch.full((len(batches), max(map(len, batches))), self.filler)
        for row, batch, k in zip(rows, batches, members, strict=True):
            row[: len(batch)] = batch + self.starts[k]
        return rows


class Cohort:
    """Learners that step together until they leave; on CUDA the step is one captured graph."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._learners = list(learners)
        self._numbers = list(range(len(learners)))
        """The rows of each learner that is left."""
        self._stack = Stack([m.model for m in learners], [m.recipe for m in learners])
        self._training = Rows([(m.tokens, m.targets) for m in learners])
        self._validation = Rows([(m.validation_tokens, m.validation_targets) for m in learners])
        self._device = learners[0].tokens.device
        self._fit_K = torch.zeros(len(learners), device=self._device)
        self._queue: list[Tensor] = []
        self._index_KB = torch.zeros((0, 0), dtype=torch.int64, device=self._device)
        self._captures = self._device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        """One optimiser step of every learner."""
        if not self._queue:
            self._queue = self._draw()
        index_KB = self._queue.pop()
        if index_KB.shape != self._index_KB.shape:
            self._index_KB, self._graph = index_KB.clone(), None
        self._index_KB.copy_(index_KB)
        if self._captures:
            self._graph = self._graph or self._capture()
        if self._graph:
            self._graph.replay()
        else:
            self._advance()
        for m in self._learners:
            m.steps += 1

    def validate(self, due: Sequence[Learner]) -> None:
        """Measure the validation loss of these, and let them judge by it."""
        for m, nats, fit in zip(due, self.validation_nats(due), self.take_fit(due), strict=True):
            m.judge(nats / m.n_targets, fit)

    def validation_nats(self, learners: Sequence[Learner]) -> list[float]:
        """The sum of each one's cross-entropy over the supervised positions of its validation."""
        members = torch.tensor([self._learners.index(m) for m in learners], device=self._device)
        rows = self._validation.padded(
            [torch.arange(len(m.validation_tokens)) for m in learners],
            [self._numbers[k] for k in members.tolist()],
        ).to(self._device)
        total = torch.zeros(len(learners), dtype=torch.float64, device=self._device)
        for chunk in rows.split(max(32, CHUNK // len(learners)), dim=1):
            total += self._stack.nats(*self._validation[chunk], members)
        return total.tolist()

    def take_fit(self, learners: Sequence[Learner]) -> list[float]:
        """The sum of each one's training losses since it was last taken."""
        members = torch.tensor([self._learners.index(m) for m in learners], device=self._device)
        fit = self._fit_K[members].tolist()
        self._fit_K[members] = 0.0
        return fit

    def leave(self, learners: Sequence[Learner]) -> None:
        """Give these their trained models, and continue without them."""
        if not learners:
            return
        stay = [k for k, m in enumerate(self._learners) if m not in learners]
        for k, m in enumerate(self._learners):
            if m in learners:
                self._stack.unstack(k, m.model)
        members = torch.tensor(stay, dtype=torch.int64, device=self._device)
        self._stack.keep(members)
        self._fit_K = self._fit_K[members]
        self._queue = [index_KB[members] for index_KB in self._queue]
        self._learners = [self._learners[k] for k in stay]
        self._numbers = [self._numbers[k] for k in stay]

    def _draw(self) -> list[Tensor]:
        """The batches of the next steps, the last step's first."""
        steps = [
            self._training.padded([m.next_batch() for m in self._learners], self._numbers)
            for _ in range(AHEAD)
        ]
        return list(torch.stack(steps[::-1]).to(self._device).unbind())

    def _advance(self) -> None:
        self._fit_K += self._stack.step(*self._training[self._index_KB])

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """The step as a CUDA graph, after steps in which libraries set themselves up, undone.

        None for a model whose step cannot be captured, because it looks at what it computes.
        """
        state = [*self._stack.state(), self._fit_K]
        before = [tensor.clone() for tensor in state]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._advance()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._advance()
        except RuntimeError:
            self._captures = False
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        return graph if self._captures else None
