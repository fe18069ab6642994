"""Acting step by step: walk on a grid whose walls are hidden."""

import functools
from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Task

ACTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
LARGEST = 1024
"""Cells of the largest grid: every cell is a token."""


@functools.cache
def _world(w: int, h: int, walls: int, seed: int) -> tuple[int, np.ndarray]:
    """The start, and where each action leads from each cell [cells, actions].

    The free cells are carved from rock one beside the other, so that all can be reached.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    ends = [_ends(cell, w, h) for cell in range(w * h)]
    start = int(rng.integers(w * h))
    free = {start}
    while len(free) < w * h - walls:
        near = sorted({end for cell in free for end in ends[cell]} - free)
        free.add(near[int(rng.integers(len(near)))])
    moves = [[end if end in free else c for end in ends[c]] for c in range(w * h)]
    return start, np.array(moves)


def _ends(cell: int, w: int, h: int) -> list[int]:
    """The cell one action away, for each action; at the edge the cell itself."""
    y, x = divmod(cell, w)
    ends = []
    for dx, dy in ACTIONS.values():
        inside = 0 <= x + dx < w and 0 <= y + dy < h
        ends.append((y + dy) * w + x + dx if inside else cell)
    return ends


@tasks.register(
    "gridnav",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "w": 3, "h": 3, "walls": 2},
        "cpu": {"lengths": (2, 7), "w": 3, "h": 3, "walls": 2},
        "paper": {"lengths": (2, 20), "w": 8, "h": 8, "walls": 16},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class GridNavigation(Task):
    """x_k is one of four actions, s_k the cell reached; a wall or the edge leaves one in place.

    The walls and the cell s_0 are drawn from map_seed and are the same for all samples: the model
    never sees the map. Since blocked moves cannot be undone, this is a semigroup and not a group.
    Without walls, from the middle of a 3×3 grid, right right up leads to the cells 5 5 2, counted
    row by row from 0.
    """

    w: int
    h: int
    walls: int = 0
    map_seed: int = 1

    def __post_init__(self) -> None:
        for name in ("w", "h", "walls", "map_seed"):
            if type(value := getattr(self, name)) is not int:
                raise KbenchError(f"gridnav: {name} must be an integer, got {value!r}")
        if min(self.w, self.h) < 1 or not 2 <= self.w * self.h <= LARGEST:
            raise KbenchError(
                f"gridnav: w × h must lie between 2 and {LARGEST:,} cells, got {self.w} × {self.h}"
            )
        if not 0 <= self.walls <= self.w * self.h - 2:
            raise KbenchError(
                f"gridnav: walls must leave two of {self.w * self.h} cells free, got {self.walls}"
            )
        if self.map_seed < 0:
            raise KbenchError(f"gridnav: map_seed must be at least 0, got {self.map_seed}")

    @property
    def vocab_size(self) -> int:
        """The cells, row by row, then the four actions."""
        return self.w * self.h + len(ACTIONS)

    def radices(self, n: int) -> tuple[int, ...]:
        """n free actions."""
        return (len(ACTIONS),) * n

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Each digit is an action."""
        start, moves = _world(self.w, self.h, self.walls, self.map_seed)
        states = np.empty((len(digits), n), dtype=np.int64)
        state = np.full(len(digits), start)
        for k in range(n):
            states[:, k] = state = moves[state, digits[:, k]]
        return digits + self.w * self.h, states

    def token_name(self, token: int) -> str:
        """An action, or column,row of a cell from the upper left."""
        if token >= self.w * self.h:
            return list(ACTIONS)[token - self.w * self.h]
        y, x = divmod(token, self.w)
        return f"{x},{y}"
