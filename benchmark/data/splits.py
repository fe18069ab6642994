"""Unique samples, disjoint splits, nested training sets: the data behind every trial.

For one task, length and seed there is one fixed order over the universe (the *stream*). Validation
takes its head, training the samples after it, so the two are disjoint and the training set for N
is a prefix of the one for N' > N. Only NumPy draws here: data never changes with torch's version.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from kbench.data.supervision import IGNORE, read_before, steps_of, supervise
from kbench.registry import tasks
from kbench.tasks import Task
from kbench.trial import Trial, canonical_json

if TYPE_CHECKING:
    from kbench.data.pairs import HeldOut

SMALL_UNIVERSE = 2**20
"""Universes up to this size are permuted whole; larger ones are drawn from, repeats dropped."""
BLOCK = 4096
"""Draws per generator in a large universe: whole blocks make a stream independent of N."""

PART = 2**15
"""Samples that are simulated at once, so that memory holds little more than the data set."""


def universe(task: Task, n: int) -> int:
    """Number of distinct samples of length n (exact, of any size)."""
    return math.prod(task.radices(n))


def generator(seed: int, purpose: str, *path: int) -> np.random.Generator:
    """An independent generator for one purpose; PCG64 under a hashed key."""
    return np.random.Generator(np.random.PCG64([seed, *purpose.encode(), *path]))


def stream(task: Task, n: int, seed: int, count: int) -> np.ndarray:
    """The first `count` samples of length n in the seed's order, as digits [count, digits].

    Raises ValueError where the universe is smaller than `count`.
    """
    radices = task.radices(n)
    if count > universe(task, n):
        raise ValueError(f"length {n} has {universe(task, n)} samples, asked for {count}")
    if universe(task, n) <= SMALL_UNIVERSE:
        return digits_at(task, n, permuted(task, n, seed)[:count])
    rows = np.empty((0, len(radices)), dtype=np.int32)
    block = 0
    while len(rows) < count:
        # Aim at what is missing plus the repeats to expect; the order depends on none of it.
        fresh = []
        for _ in range(max(1, math.ceil((count - len(rows)) / BLOCK))):
            draw = generator(seed, "draw", n, block)
            fresh.append(draw.integers(0, radices, (BLOCK, len(radices)), dtype=np.int32))
            block += 1
        rows = _first_occurrences(np.concatenate([rows, *fresh]))
    return rows[:count]


def permuted(task: Task, n: int, seed: int) -> np.ndarray:
    """The seed's order over a universe that is permuted whole, as places in it."""
    return generator(seed, "order", n).permutation(universe(task, n))


def digits_at(task: Task, n: int, index: np.ndarray) -> np.ndarray:
    """The samples at these places of the universe, as digits [count, digits]."""
    return np.stack(np.unravel_index(index, task.radices(n)), axis=1)


def _first_occurrences(rows: np.ndarray) -> np.ndarray:
    """The distinct rows [N, J], each where it first stood."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    _, first = np.unique(whole[:, 0], return_index=True)
    return rows[np.sort(first)]


ANSWERS = 8 * BLOCK
"""Samples whose answers are counted where there are more."""


def answer_counts(task: Task, n: int) -> np.ndarray:
    """How often each of the answers that occur is the answer at length n, in their order.

    Over the whole universe where it has at most ANSWERS samples, otherwise over as many draws.
    """
    radices, size = task.radices(n), universe(task, n)
    answers = []
    for start in range(0, min(size, ANSWERS), BLOCK):
        if size <= ANSWERS:
            digits = digits_at(task, n, np.arange(start, min(start + BLOCK, size)))
        else:
            draw = generator(0, "answers", n, start)
            digits = draw.integers(0, radices, (BLOCK, len(radices)), dtype=np.int32)
        answers.append(steps_of(task, digits, n).answers)
    return np.unique(np.concatenate(answers), axis=0, return_counts=True)[1]


def chance(task: Task, n: int) -> float:
    """Accuracy of the best constant answer at length n, from the task's own answers."""
    counts = answer_counts(task, n)
    return float(counts.max() / counts.sum())


def draw_lengths(capacity: Mapping[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """`uniform`: a length for each of `count` draws [count], never more of one than its capacity.

    A length that is used up leaves the draw, the others share what remains (the exhaustion rule);
    the sequence ends early when all are used up. The first k draws do not depend on `count`.
    """
    u = rng.random(count)
    left = {n: size for n, size in capacity.items() if size > 0}
    lengths = np.empty(count, dtype=np.int64)
    done = 0
    while done < count and left:
        open_lengths = np.array(sorted(left))
        proposal = open_lengths[(u[done:] * len(open_lengths)).astype(np.int64)]
        # Take the proposal up to and with the first draw that uses up a length.
        end = len(proposal)
        for n, size in left.items():
            hits = np.flatnonzero(proposal == n)
            if len(hits) >= size:
                end = min(end, int(hits[size - 1]) + 1)
        lengths[done : done + end] = proposal[:end]
        done += end
        for n in open_lengths.tolist():
            left[n] -= int(np.count_nonzero(proposal[:end] == n))
            if left[n] == 0:
                del left[n]
    return lengths[:done]


def shortest_first(capacity: Mapping[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """`short-to-long`: all there is of a length before any of the next; nothing is drawn."""
    lengths = np.empty(count, dtype=np.int64)
    done = 0
    for n, size in sorted(capacity.items()):
        end = min(count, done + size)
        lengths[done:end] = n
        done = end
    return lengths[:done]


DISTRIBUTIONS: dict[str, Callable[[Mapping[int, int], int, np.random.Generator], np.ndarray]] = {
    "fixed": draw_lengths,  # of a single length
    "uniform": draw_lengths,
    "short-to-long": shortest_first,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """How many samples of each length go where: known from the sizes of the universes alone."""

    universes: Mapping[int, int]
    """Size of each length's universe."""
    distribution: str
    max_validation: int
    max_validation_fraction: float
    held_out: Mapping[int, int] = field(default_factory=dict)
    """Where pairs of updates are held out: how many samples of each length hold one. These are for
    validation alone, and all others for training."""

    def validation_lengths(self, seed: int) -> np.ndarray:
        """The length of each validation sample; depends on the seed, never on N."""
        draw = DISTRIBUTIONS[self.distribution]
        rng = generator(seed, "validation lengths")
        return draw(self._validation_capacity(), self.max_validation, rng)

    @property
    def n_validation(self) -> int:
        """Validation samples, the same number for every seed."""
        return min(self.max_validation, sum(self._validation_capacity().values()))

    @property
    def n_training(self) -> int:
        """Training samples there are, the same number for every seed."""
        taken = sum(self.held_out.values()) if self.held_out else self.n_validation
        return sum(self.universes.values()) - taken

    def _validation_capacity(self) -> dict[int, int]:
        if self.held_out:
            return dict(self.held_out)
        share = Fraction(str(self.max_validation_fraction))  # exact, for universes of any size
        return {n: int(size * share) for n, size in self.universes.items()}

    def training_capacity(self, seed: int) -> dict[int, int]:
        """How many samples of each length are left for training."""
        taken = self.held_out or _histogram(self.validation_lengths(seed), self.universes)
        return {n: size - taken[n] for n, size in self.universes.items()}

    def training_lengths(self, n_samples: int, seed: int) -> np.ndarray:
        """The length of each training sample; fewer than n_samples where there are no more."""
        draw = DISTRIBUTIONS[self.distribution]
        return draw(self.training_capacity(seed), n_samples, generator(seed, "training lengths"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Samples ready for training: tokens and targets [N, T] int32, padded on the right."""

    tokens: np.ndarray
    targets: np.ndarray
    histogram: dict[int, int]
    """Number of samples of each length."""

    def sha256(self) -> str:
        """Digest of shape and content, the same on every platform."""
        digest = hashlib.sha256(repr(self.tokens.shape).encode())
        for array in (self.tokens, self.targets):
            digest.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One task under one supervision at one set of lengths: where a seed's splits come from."""

    task: Task
    supervision: str
    lengths: tuple[int, ...]
    distribution: str = "uniform"
    max_validation: int
    max_validation_fraction: float
    held_out: "HeldOut | None" = None
    """Pairs of updates that training never sees and every validation sample holds."""

    def shares(self) -> Shares:
        """How the samples are divided."""
        return Shares(
            universes={n: universe(self.task, n) for n in self.lengths},
            distribution=self.distribution,
            max_validation=self.max_validation,
            max_validation_fraction=self.max_validation_fraction,
            held_out=self.held_out.sizes(self.lengths) if self.held_out else {},
        )

    def splits(self, n_samples: int, seed: int) -> tuple[Split, Split]:
        """Training set of n_samples, and validation set.

        Raises ValueError where the training part of the universe is smaller than n_samples.
        """
        shares = self.shares()
        training = shares.training_lengths(n_samples, seed)
        if len(training) < n_samples:
            raise ValueError(f"only {len(training)} training samples, not {n_samples}")
        validation = shares.validation_lengths(seed)
        parts = {
            n: self._parts(n, seed, int((training == n).sum()), int((validation == n).sum()))
            for n in self.lengths
        }
        return (
            self._assemble(training, {n: part[0] for n, part in parts.items()}),
            self._assemble(validation, {n: part[1] for n, part in parts.items()}, judged=True),
        )

    def _parts(
        self, n: int, seed: int, for_training: int, for_validation: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """So many samples of a length for each, as digits."""
        if self.held_out:
            order = permuted(self.task, n, seed)
            is_held = self.held_out.whole(n)[order]
            own = order[~is_held][:for_training], order[is_held][:for_validation]
            return digits_at(self.task, n, own[0]), digits_at(self.task, n, own[1])
        digits = stream(self.task, n, seed, for_validation + for_training)
        return digits[for_validation:], digits[:for_validation]

    def beyond(self, n: int, seed: int, count: int) -> np.ndarray:
        """Up to so many samples, as digits, of a length that is not trained on.

        Where pairs are held out, of those samples that hold one.
        """
        there_are = universe(self.task, n)
        drawn = min(count, there_are)
        while True:
            digits = stream(self.task, n, seed, drawn)
            if self.held_out:
                digits = digits[self.held_out.first(steps_of(self.task, digits, n)) < n]
            if len(digits) >= count or drawn == there_are:
                return digits[:count]
            drawn = min(2 * drawn, there_are)

    def width(self) -> int:
        """T: tokens in the longest sample."""
        longest = max(self.lengths)
        digits = np.zeros((1, len(self.task.radices(longest))), dtype=np.int64)
        return self._supervise(digits, longest)[0].shape[1]

    def vocab_size(self) -> int:
        """The task's tokens and the separator."""
        return self.task.vocab_size + 1

    def _supervise(
        self, digits: np.ndarray, n: int, judged: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and targets; judged, only what is said once a pair held out has been read."""
        steps = steps_of(self.task, digits, n)
        tokens, targets = supervise(self.supervision, steps, self.task.vocab_size)
        if judged and self.held_out:
            start = read_before(self.supervision, steps, self.held_out.first(steps))
            targets = np.where(np.arange(targets.shape[1]) < start[:, None], IGNORE, targets)
        return tokens, targets

    def _assemble(
        self, lengths: np.ndarray, digits: Mapping[int, np.ndarray], judged: bool = False
    ) -> Split:
        """Put each length's samples, in stream order, where the draw of lengths wants them."""
        tokens = np.zeros((len(lengths), self.width()), dtype=np.int32)
        targets = np.full_like(tokens, IGNORE)
        for n in self.lengths:
            rows = np.flatnonzero(lengths == n)
            for start in range(0, len(rows), PART):
                part = slice(start, start + PART)
                own_tokens, own_targets = self._supervise(digits[n][part], n, judged)
                tokens[rows[part], : own_tokens.shape[1]] = own_tokens
                targets[rows[part], : own_targets.shape[1]] = own_targets
        return Split(tokens=tokens, targets=targets, histogram=_histogram(lengths, self.lengths))


def _histogram(lengths: np.ndarray, over: Iterable[int]) -> dict[int, int]:
    return {n: int(np.count_nonzero(lengths == n)) for n in over}


def source_of(trial: Trial) -> Source:
    """Where the trial's data comes from."""
    return Source(
        task=tasks[trial.task].cls(**trial.task_params),
        supervision=trial.supervision,
        lengths=trial.lengths,
        distribution=trial.distribution,
        max_validation=trial.training.max_validation,
        max_validation_fraction=trial.training.max_validation_fraction,
        held_out=_held_out(trial),
    )


def _held_out(trial: Trial) -> "HeldOut | None":
    from kbench.data.pairs import held_out_of  # which needs this module

    if trial.hold_out_pairs is None:
        return None
    params = canonical_json(trial.task_params)
    return held_out_of(trial.task, trial.task_version, params, trial.hold_out_pairs)
