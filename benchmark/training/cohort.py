"""A cohort whose members train together, as one stack of models, each on its own batches."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from kbench.data.supervision import IGNORE
from kbench.recipe import Recipe
from kbench.training.graph import captured
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

    def padded(
        self, batches: Sequence[Tensor], members: Sequence[int], multiple: int = 1
    ) -> Tensor:
        """The members' own indices as rows of the table [K, B], filled up to the longest.

        And from there to a multiple of so many.
        """
        longest = max(map(len, batches))
        rows = torch.full((len(batches), -(-longest // multiple) * multiple), self.filler)
        for row, batch, k in zip(rows, batches, members, strict=True):
            row[: len(batch)] = batch + self.starts[k]
        return rows


class Judge:
    """The validation of some members on some rows as a CUDA graph, from tensors of its own."""

    def __init__(self, stack: Stack, table: Rows, rows_KC: Tensor, members: Tensor) -> None:
        self._rows, self._members = rows_KC.clone(), members.clone()
        self._nats = stack.nats(*table[self._rows], self._members)

        def judge() -> None:
            self._nats.copy_(stack.nats(*table[self._rows], self._members))

        self.graph = captured(judge, [])
        """None where it cannot be captured."""

    def __call__(self, rows_KC: Tensor, members: Tensor) -> Tensor:
        """Cross-entropy summed over the supervised positions, by member [K]; gone with the next."""
        assert self.graph is not None
        self._rows.copy_(rows_KC)
        self._members.copy_(members)
        self.graph.replay()
        return self._nats


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
        self._judges: dict[torch.Size, Judge] = {}
        """Validations as CUDA graphs, by the shape of what they judge at once."""

    def step(self) -> None:
        """One optimiser step of every learner."""
        if not self._queue:
            self._queue = self._draw()
        index_KB = self._queue.pop()
        if index_KB.shape != self._index_KB.shape:
            self._index_KB, self._graph = index_KB.clone(), None
        self._index_KB.copy_(index_KB)
        if self._captures and not self._graph:
            self._graph = captured(self._advance, [*self._stack.state(), self._fit_K])
            self._captures = self._graph is not None
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
        size = max(32, CHUNK // len(learners))
        rows = self._validation.padded(
            [torch.arange(len(m.validation_tokens)) for m in learners],
            [self._numbers[k] for k in members.tolist()],
            multiple=size if self._captures else 1,
        ).to(self._device)
        total = torch.zeros(len(learners), dtype=torch.float64, device=self._device)
        for chunk in rows.split(size, dim=1):
            total += self._nats(chunk, members)
        return total.tolist()

    def _nats(self, rows_KC: Tensor, members: Tensor) -> Tensor:
        """Cross-entropy of these members, each on its own rows, summed up [K]."""
        if self._captures and rows_KC.shape not in self._judges:
            judge = Judge(self._stack, self._validation, rows_KC, members)
            self._judges[rows_KC.shape] = judge
            self._captures = judge.graph is not None
        if not self._captures:
            return self._stack.nats(*self._validation[rows_KC], members)
        return self._judges[rows_KC.shape](rows_KC, members)

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
        self._judges.clear()  # of tensors that are no more
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
