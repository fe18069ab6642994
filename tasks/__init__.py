"""Step-by-step tasks, one file each.

A task is a family of state machines indexed by the length n, the number of state updates. Every
sample is one point of a finite product of choices (its *digits*), which is what lets kbench draw
unique samples from universes of any size without knowing anything else about the task.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

NONE = -1
"""In `Steps`, where there is no token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """Samples of one length, where an update, a state or the answer is not just one token.

    Each has its room, the same for all samples of a length; NONE stands wherever less is needed.
    The room that is left over is closed up before a model reads the sample.
    """

    prompt: np.ndarray
    """What comes before the updates [N, P]; P may be 0."""
    updates: np.ndarray
    """The tokens of each update, at least one [N, n, U]."""
    states: np.ndarray
    """The tokens of the state after each update [N, n, S]; a state without any is not asked for."""
    answer: np.ndarray | None = None
    """What is read out after the last update [N, A]; None where it is the last state."""

    @property
    def answers(self) -> np.ndarray:
        """The answer of each sample, however it is given [N, A]."""
        return self.states[:, -1] if self.answer is None else self.answer


class Task(ABC):
    """The whole contract of a task; a subclass is a frozen dataclass of the task's parameters."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of token ids used by inputs and states together: 0 … vocab_size − 1."""

    @abstractmethod
    def radices(self, n: int) -> tuple[int, ...]:
        """How many choices each digit of a length-n sample has; their product is universe(n)."""

    @abstractmethod
    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray] | Steps:
        """digits [N, len(radices(n))] → input tokens [N, T] and states s_1 … s_n [N, n].

        Distinct digits must give distinct inputs. The inputs end with the n update tokens: the
        k-th of them is the position at which s_k becomes known. The answer is s_n. Where updates,
        states or the answer are not one token each: `Steps`.
        """

    def token_name(self, token: int) -> str:
        """What `kbench sample` prints for a token; by default its id."""
        return str(token)
