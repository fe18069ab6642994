"""State tracking in a finite group: compose the elements one after the other."""

import functools
import re
from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError, unknown
from kbench.registry import tasks
from kbench.tasks import Task

Permutation = tuple[int, ...]
LARGEST = 1024
"""Elements of the largest group: every element is a token."""
KNOWN = (
    "S3", "S4", "S5", "A4", "A5", "Z5", "Z60", "D8", "Q8", "and products such as A4xZ5",
    f"and all S, A, Z by degree, D by even order from 6, of at most {LARGEST:,} elements",
)  # fmt: skip
ALPHABETS = ("elements", "generators")


def _cycle(points: tuple[int, ...], degree: int) -> Permutation:
    """The permutation of 0 … degree − 1 that sends each of the points to the next."""
    image = dict(zip(points, (*points[1:], points[0]), strict=True))
    return tuple(image.get(i, i) for i in range(degree))


def _factor(name: str) -> list[Permutation] | None:
    """Generators of one group by name: S, A, Z of degree n, D of order n, Q8; None for others."""
    letter, n = name[:1], int(name[1:]) if re.fullmatch("[SAZDQ][1-9][0-9]{,5}", name) else 0
    if {"S": 2, "A": 3, "Z": 2}.get(letter, n + 1) <= n <= LARGEST:
        if letter == "A":
            return [_cycle((0, 1, i), n) for i in range(2, n)]
        rotation = _cycle(tuple(range(n)), n)
        return [rotation, _cycle((0, 1), n)] if letter == "S" and n > 2 else [rotation]
    if letter == "D" and n >= 6 and n % 2 == 0 and n <= 2 * LARGEST:
        corners = n // 2
        return [_cycle(tuple(range(corners)), corners), tuple(-i % corners for i in range(corners))]
    if name == "Q8":  # i and j times 1, i, −1, −i, j, k, −j, −k
        return [(1, 2, 3, 0, 5, 6, 7, 4), (4, 7, 6, 5, 2, 1, 0, 3)]
    return None


@dataclass(frozen=True, slots=True)
class Group:
    """Elements in the order in which the generators reach them; the identity is number 0."""

    elements: tuple[Permutation, ...]
    generators: tuple[int, ...]
    table: np.ndarray
    """The Cayley table: table[x, s] = x ∘ s, first s and then x."""


@functools.cache
def group(name: str) -> Group:
    """A group by name: S5, A4, Z60, D8 (of order 8), Q8, or a product of such, as in A4xZ5."""
    generators: list[Permutation] = []
    degree = 0
    for factor in name.split("x"):
        if not (own := _factor(factor)):
            raise unknown("group", name, KNOWN)
        before, here = tuple(range(degree)), len(own[0])
        generators = [g + tuple(range(degree, degree + here)) for g in generators]
        generators += [before + tuple(degree + i for i in g) for g in own]
        degree += here
    index = {tuple(range(degree)): 0}
    elements = list(index)
    left: list[list[int]] = [[] for _ in generators]  # left[g][e] = g ∘ e
    parents: list[tuple[int, int]] = [(0, 0)]
    for e, element in enumerate(elements):  # which grows meanwhile
        for g, generator in enumerate(generators):
            product = tuple(generator[i] for i in element)
            if product not in index:
                index[product] = len(elements)
                elements.append(product)
                parents.append((g, e))
            left[g].append(index[product])
        if len(elements) > LARGEST:
            raise KbenchError(f"group {name} has more than {LARGEST:,} elements")
    steps = np.array(left)
    table = np.empty((len(elements), len(elements)), dtype=np.int64)
    table[0] = np.arange(len(elements))
    for e, (g, parent) in list(enumerate(parents))[1:]:
        table[e] = steps[g, table[parent]]
    return Group(tuple(elements), tuple(index[g] for g in generators), table)


@tasks.register(
    "permutation",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "group": "S3"},
        "cpu": {"lengths": (2, 6), "group": "S3"},
        "paper": {"lengths": (2, 10), "group": "S5"},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class GroupComposition(Task):
    """x_k in a group G;  s_k = x_k ∘ s_{k-1},  s_0 the identity  (arXiv 2404.08819).

    Tokens are the elements of G. With tokens="generators" the inputs are only the identity, the
    generators and their inverses: of S_n a cycle of all points and (12), of A_n the cycles (12i),
    of Z_n one step, of D_n a rotation and a reflection, of Q8 i and j. In S3, (12) and then (123)
    make (13).
    """

    group: str
    tokens: str = "elements"

    def __post_init__(self) -> None:
        if self.tokens not in ALPHABETS:
            raise unknown("permutation: tokens", str(self.tokens), ALPHABETS)
        group(str(self.group))

    @property
    def vocab_size(self) -> int:
        """The elements, as inputs and as states."""
        return len(group(self.group).elements)

    def _alphabet(self) -> np.ndarray:
        """The elements that occur as inputs."""
        whole = group(self.group)
        if self.tokens == "elements":
            return np.arange(len(whole.elements))
        inverses = [int(np.flatnonzero(whole.table[g] == 0)[0]) for g in whole.generators]
        return np.unique([0, *whole.generators, *inverses])

    def radices(self, n: int) -> tuple[int, ...]:
        """n free elements."""
        return (len(self._alphabet()),) * n

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The digits are the inputs, the states their products."""
        inputs, table = self._alphabet()[digits], group(self.group).table
        states = np.zeros((len(digits), n), dtype=np.int64)
        state = np.zeros(len(digits), dtype=np.int64)
        for k in range(n):
            states[:, k] = state = table[inputs[:, k], state]
        return inputs, states

    def token_name(self, token: int) -> str:
        """Cycles, as in (123)(45), where single figures are enough to name the points."""
        element = group(self.group).elements[token]
        if len(element) > 9:
            return str(token)
        cycles, seen = "", set[int]()
        for start in range(len(element)):
            cycle = []
            while start not in seen:
                seen.add(start)
                cycle.append(str(start + 1))
                start = element[start]
            cycles += f"({''.join(cycle)})" if len(cycle) > 1 else ""
        return cycles or "id"
