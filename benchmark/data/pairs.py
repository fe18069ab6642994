"""Pairs of updates that training never sees, and that every validation sample holds.

After arXiv 2606.07254, where training never has certain ordered pairs of generators and evaluation
always does. Here a pair belongs to a context, the state before it: whoever learned the transition
rule knows what the pair leads to, since training holds either transition in other company; whoever
learned which pieces of text go together does not.
"""

import functools
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kbench.data.leaks import mixed
from kbench.data.splits import PART, SMALL_UNIVERSE, digits_at, generator, universe
from kbench.data.supervision import steps_of
from kbench.errors import KbenchError, one_line
from kbench.registry import tasks
from kbench.tasks import NONE, Steps, Task

START = 0
"""Code of the state before the first update."""
DEEPEST = 20
"""No longer samples are looked at for transitions: with two updates to choose from, there are 2^20
of these, which is SMALL_UNIVERSE."""

Transitions = Mapping[tuple[int, int], int]
"""The state that follows a state and an update; of all three their codes."""


class Pair(NamedTuple):
    """Two updates, one after the other, in their context; of all three their codes."""

    state: int
    """Before the first of them."""
    update: int
    next_update: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldOut:
    """The pairs of a task that training never sees."""

    task: Task
    pairs: Sequence[Pair]
    of: int
    """How many pairs there are."""
    like_start: Sequence[int]
    """Codes of the states from which every update leads where it leads from the first one."""
    tokens: Mapping[int, Sequence[int]]
    """What the codes stand for."""
    _whole: dict[int, np.ndarray] = field(default_factory=dict)

    def first(self, steps: Steps) -> np.ndarray:
        """Which update of each sample completes its first such pair, counted from 0 [N]; n where
        there is none."""
        n = steps.updates.shape[1]
        states, updates = self._states(steps), _codes(steps.updates)
        known = np.array(self.pairs, np.uint64).reshape(-1, 3)
        pairs = _joined(states[:, :-1], updates[:, :-1], updates[:, 1:])
        is_held = np.pad(np.isin(pairs, _joined(*known.T)), ((0, 0), (1, 0)))
        return np.where(is_held.any(axis=1), is_held.argmax(axis=1), n)

    def whole(self, n: int) -> np.ndarray:
        """Of every sample of length n, in the order of its universe: does it hold such a pair? [N].

        Raises KbenchError for a universe too large to go through, and where a transition would
        never be trained: where updates differ by place, as the query that ends a program.
        """
        if n not in self._whole:
            parts, left, trained = [], set[int](), set[int]()
            for steps in _universe(self.task, n):
                parts.append(is_held := self.first(steps) < n)
                seen = _joined(self._states(steps), _codes(steps.updates))
                left.update(np.unique(seen[is_held]).tolist())
                trained.update(np.unique(seen[~is_held]).tolist())
            if left - trained:
                raise KbenchError(
                    f"--hold-out-pairs: at length {n} a transition would stand in no training "
                    "sample; hold fewer pairs out"
                )
            self._whole[n] = np.concatenate(parts)
        return self._whole[n]

    def _states(self, steps: Steps) -> np.ndarray:
        """Codes of the states before each update [N, n]; those like the first one count as it."""
        states = _states_before(steps)
        return np.where(np.isin(states, np.array(self.like_start, np.uint64)), START, states)

    def sizes(self, lengths: Sequence[int]) -> dict[int, int]:
        """How many samples of each length hold such a pair.

        Raises KbenchError for a length of which none does: there is nothing to judge by.
        """
        found = {n: int(self.whole(n).sum()) for n in lengths}
        for n, size in found.items():
            if size == 0:
                raise KbenchError(
                    f"--hold-out-pairs: no sample of length {n} holds a pair that is held out; "
                    "leave that length out with --lengths"
                )
        return found

    def text(self, pair: Pair) -> str:
        """As in `2: 0 1`: the state before, or `start`, and the two updates."""
        state = min(self.like_start, default=START) if pair.state == START else pair.state
        words = [" ".join(map(self.task.token_name, self.tokens[c])) for c in (state, *pair[1:])]
        return f"{words[0] or 'start'}: {' '.join(words[1:])}"


@functools.lru_cache(maxsize=32)
def held_out_of(task: str, version: int | str, params: str, share: float) -> HeldOut:
    """The pairs of a registered task with these parameters, in JSON, that are held out.

    The same for all seeds, lengths and models. The version tells a file of one's own from what it
    was before. Raises KbenchError, also for whatever such a file raises.
    """
    try:
        return hold_out(tasks[task].cls(**json.loads(params)), share)
    except KbenchError:
        raise
    except Exception as error:
        raise KbenchError(f"--hold-out-pairs: task {task}: {one_line(error)}") from None


def hold_out(task: Task, share: float) -> HeldOut:
    """Hold out so many of a task's pairs, at least one.

    Every transition, of a state and an update, stays in training: at each length all that occur in
    samples of that length occur in its training samples. For that the pairs stay by which a
    transition is first reached from the initial state, and of all that may follow a transition at
    least one. One of the pairs held out begins at the initial state, where there is any that may
    be, so that there is something to judge by at length 2.

    Raises KbenchError where states and updates do not tell which state comes next, and where fewer
    pairs may be held out.

    >>> from kbench.tasks.modadd import ModularAddition
    >>> some = hold_out(ModularAddition(m=3), 0.1)
    >>> len(some.pairs), some.of, some.sizes([2, 3])
    (3, 27, {2: 1, 3: 8})
    """
    found, tokens = _transitions(task)
    rows: dict[int, dict[int, int]] = {}
    for (state, update), after in found.items():
        rows.setdefault(state, {})[update] = after
    like_start = [state for state, row in rows.items() if row == rows[START] and state != START]
    known = {(START if s in like_start else s, u): START if t in like_start else t
             for (s, u), t in found.items()}  # fmt: skip
    pairs = [
        Pair(state, update, following)
        for (state, update), after in known.items()
        for following in rows.get(after, ())
    ]
    order = generator(0, "held-out pairs").permutation(len(pairs))
    stay = _first_ways(known, rows)
    free = [pair for i in order if (pair := pairs[i]) not in stay]
    first = next((pair for pair in free if pair.state == START), None)
    free.sort(key=lambda pair: pair != first)
    left = Counter((pair.state, pair.update) for pair in pairs)
    wanted, chosen = max(1, round(share * len(pairs))), list[Pair]()
    for pair in free:
        if len(chosen) < wanted and left[pair[:2]] > 1:
            left[pair[:2]] -= 1
            chosen.append(pair)
    if len(chosen) < wanted:
        raise KbenchError(
            f"--hold-out-pairs {share:g}: that is {wanted} of {len(pairs)} pairs, and at most "
            f"{len(chosen)} can be held out so that every transition stays in training"
        )
    return HeldOut(task=task, pairs=chosen, of=len(pairs), like_start=like_start, tokens=tokens)


def _first_ways(known: Transitions, rows: Mapping[int, Mapping[int, int]]) -> set[Pair]:
    """The pairs by which each transition is first reached, breadth first."""
    reached = {(START, update) for update in rows[START]}
    queue, ways = deque(sorted(reached)), set[Pair]()
    while queue:
        state, update = queue.popleft()
        after = known[state, update]
        for following in rows.get(after, ()):
            if (after, following) not in reached:
                reached.add((after, following))
                queue.append((after, following))
                ways.add(Pair(state, update, following))
    return ways


def _transitions(task: Task) -> tuple[Transitions, dict[int, tuple[int, ...]]]:
    """All that samples show, of ever longer ones as long as there are new ones; and the tokens."""
    found: dict[tuple[int, int], int] = {}
    tokens: dict[int, tuple[int, ...]] = {START: ()}
    for n in range(2, DEEPEST + 1):
        before = len(found)
        if n > 2 and universe(task, n) > SMALL_UNIVERSE:
            break
        for steps in _universe(task, n):
            codes = _states_before(steps), _codes(steps.updates), _codes(steps.states)
            _, index = np.unique(_joined(*codes).ravel(), return_index=True)
            for row, k in zip(*np.unravel_index(index, codes[0].shape), strict=True):
                state, update, after = (int(of[row, k]) for of in codes)
                for code, of in ((update, steps.updates), (after, steps.states)):
                    tokens.setdefault(code, tuple(of[row, k][of[row, k] != NONE].tolist()))
                if found.setdefault((state, update), after) != after:
                    raise _undetermined(task, tokens, state, update)
        if len(found) == before:
            break
    return dict(sorted(found.items())), tokens  # an order that depends on nothing else


def _undetermined(
    task: Task, tokens: Mapping[int, Sequence[int]], state: int, update: int
) -> KbenchError:
    """Of a task whose states are not all that there is to know."""
    named = [" ".join(map(task.token_name, tokens[code])) for code in (state, update)]
    where = f"state {named[0]}" if named[0] else "the first state" if state == START else "a state"
    return KbenchError(
        "--hold-out-pairs needs a task whose state and update say which state comes next; from "
        f"{where}, update {named[1]} leads to several"
    )


def _universe(task: Task, n: int) -> Iterator[Steps]:
    """Every sample of a length, in parts."""
    if (there_are := universe(task, n)) > SMALL_UNIVERSE:
        raise KbenchError(
            f"--hold-out-pairs goes through all samples of a length, up to {SMALL_UNIVERSE:,}; "
            f"length {n} has more"
        )
    for start in range(0, there_are, PART):
        index = np.arange(start, min(start + PART, there_are))
        yield steps_of(task, digits_at(task, n, index), n)


def _states_before(steps: Steps) -> np.ndarray:
    """Codes of the states before each update [N, n]."""
    codes = _codes(steps.states)
    return np.concatenate([np.full_like(codes[:, :1], START), codes[:, :-1]], axis=1)


def _codes(tokens: np.ndarray) -> np.ndarray:
    """tokens [N, n, W] → a hash of 64 bits for each state or update [N, n], whatever its room."""
    codes = np.zeros(tokens.shape[:2], dtype=np.uint64)
    for token in np.moveaxis(tokens, 2, 0):
        more = mixed(codes + token.astype(np.uint64) + np.uint64(1))
        codes = np.where(token == NONE, codes, more)
    return mixed(codes + np.uint64(1))  # that of no token is not START


def _joined(*codes: np.ndarray) -> np.ndarray:
    """One hash of several, in their order."""
    joined = np.zeros_like(codes[0])
    for code in codes:
        joined = mixed(joined ^ mixed(code + np.uint64(1)))
    return joined
