"""Entity tracking: objects are moved between boxes; what is in one of them in the end?"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import Task

LARGEST = 4096
"""Ways to put the objects into the boxes: every one is a token."""


def _moves(objects: int, boxes: int) -> list[tuple[str, int, int]]:
    """Every move in the order of its token: an object to a box, all that is in a box to another."""
    put = [("put", i, to) for i in range(objects) for to in range(boxes)]
    return [*put, *(("pour", a, to) for a, to in itertools.permutations(range(boxes), 2))]


@functools.cache
def _effects(objects: int, boxes: int) -> tuple[np.ndarray, np.ndarray]:
    """What each move makes of each placement, and what each box of it holds, as a set of bits.

    [moves, boxes^objects] and [boxes, boxes^objects]; a placement says where each object is.
    """
    placements = np.indices((boxes,) * objects).reshape(objects, -1)
    after = []
    for kind, what, to in _moves(objects, boxes):
        moved = placements.copy()
        if kind == "put":
            moved[what] = to
        else:
            moved[placements == what] = to
        after.append(np.ravel_multi_index(tuple(moved), (boxes,) * objects))
    bits = 1 << np.arange(objects)
    contents = [bits @ (placements == box) for box in range(boxes)]
    return np.array(after), np.array(contents)


@tasks.register(
    "tracking",
    version=1,
    presets={
        "quick": {"lengths": (2, 5), "objects": 2, "boxes": 2},
        "cpu": {"lengths": (2, 6), "objects": 2, "boxes": 3},
        "paper": {"lengths": (2, 10), "objects": 4, "boxes": 4},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class EntityTracking(Task):
    """Where each object is, n − 1 moves, then the question what a box holds (arXiv 2305.02363).

    A move puts an object into a box (a>1), or all that is in a box into another (0>1: whoever
    reads it must know what is there). s_1 … s_{n-1} are the placements, the box of each object; the
    question is the last update, and s_n, the answer, is the set of objects in that box. With two
    objects and two boxes, the start 0 0, a>1, 1>0, b>1, ?0 has the states 10 00 01 and the
    answer {a}.
    """

    objects: int
    boxes: int

    def __post_init__(self) -> None:
        for name, least in (("objects", 1), ("boxes", 2)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise KbenchError(
                    f"tracking: {name} must be an integer of at least {least}, got {value!r}"
                )
        if self.objects > 12 or self.boxes**self.objects > LARGEST:
            raise KbenchError(
                f"tracking: boxes^objects must be at most {LARGEST:,} placements, "
                f"got {self.boxes}^{self.objects}"
            )

    def _firsts(self) -> list[int]:
        """The first token of each kind: placements, sets, boxes, moves, questions, none."""
        sizes = (self.boxes**self.objects, 2**self.objects, self.boxes)
        moves = len(_moves(self.objects, self.boxes))
        return [0, *itertools.accumulate((*sizes, moves, self.boxes))]

    @property
    def vocab_size(self) -> int:
        """Placements, sets of objects, boxes, moves, questions."""
        return self._firsts()[-1]

    def radices(self, n: int) -> tuple[int, ...]:
        """The box that each object starts in, n − 1 free moves, the box that is asked for."""
        moves = len(_moves(self.objects, self.boxes))
        return (self.boxes,) * self.objects + (moves,) * (n - 1) + (self.boxes,)

    def simulate(self, digits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The digits are the boxes of the start, the moves and the question."""
        _, sets, boxes, moves, questions, _ = self._firsts()
        after, contents = _effects(self.objects, self.boxes)
        inputs = digits + np.repeat([boxes, moves, questions], [self.objects, n - 1, 1])
        start, updates = digits[:, : self.objects], digits[:, self.objects :]
        state = np.ravel_multi_index(tuple(start.T), (self.boxes,) * self.objects)
        states = np.empty((len(digits), n), dtype=np.int64)
        for k in range(n - 1):
            states[:, k] = state = after[updates[:, k], state]
        states[:, -1] = sets + contents[updates[:, -1], state]
        return inputs, states

    def token_name(self, token: int) -> str:
        """A placement as its boxes, then as in {ab}, @0, a>1 or 0>1, ?0."""
        _, sets, boxes, moves, questions, _ = self._firsts()
        letters = [chr(ord("a") + i) for i in range(self.objects)]
        if token < sets:
            places = np.unravel_index(token, (self.boxes,) * self.objects)
            return ("" if self.boxes <= 10 else ".").join(map(str, places))
        if token < boxes:
            return f"{{{''.join(x for i, x in enumerate(letters) if token - sets >> i & 1)}}}"
        if token >= questions or token < moves:
            return f"?{token - questions}" if token >= questions else f"@{token - boxes}"
        kind, what, to = _moves(self.objects, self.boxes)[token - moves]
        return f"{letters[what] if kind == 'put' else what}>{to}"
