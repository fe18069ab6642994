"""Step-by-step tasks, one file each.

A task is a family of state machines indexed by the length n, the number of state updates. Every
sample is one point of a finite product of choices (its *digits*), which is what lets kbench draw
unique samples from universes of any size without knowing anything else about the task.
"""

from abc import ABC, abstractmethod

import numpy as np


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
    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """digits [N, len(radices(n))] → input tokens [N, T] and states s_1 … s_n [N, n].

        Distinct digits must give distinct inputs. The inputs end with the n update tokens: the
        k-th of them is the position at which s_k becomes known. The answer is s_n.
        """

    def token_name(self, token: int) -> str:
        """What `kbench sample` prints for a token; by default its id."""
        return str(token)
