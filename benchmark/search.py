"""The search for N*, per seed: pure, ask and tell, no torch and no files.

The set of sizes to look at is walked by a *path*, a generator that yields a size, is sent that
size's verdict and returns a bracket. A search follows its path as far as it knows the verdicts, so
that its conclusion depends on what the outcomes are and never on the order in which they arrived.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from kbench.protocol import BracketRule, PaperRule

Path = Generator[int, bool, "Bracket"]


class PathOver(Protocol):
    """Makes the path that avoids `broken`, the sizes whose runs broke down."""

    def __call__(self, *, broken: Collection[int]) -> Path:
        """A path not begun yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bracket:
    """N* lies in (low, high]: `low` is the largest N known to fail, `high` the smallest to pass.

    low = None: no N is known to fail. high = None: unbounded. `censored` is `right` where the
    largest size fails (high is then the universe, if it is the universe that ran out), `left`
    where the smallest one passes, None for a bracket between two sizes tried.
    """

    low: int | None
    high: int | None
    censored: str | None = None

    @property
    def floor(self) -> int:
        """The smallest value that N* may have."""
        return (self.low or 0) + 1

    @property
    def middle(self) -> float | None:
        """Geometric middle of the values that N* may have; None where unbounded."""
        return None if self.high is None else math.sqrt(self.floor * self.high)


def size_grid(resolution: float, largest: int) -> tuple[int, ...]:
    """1, …, largest in steps of about `resolution`, the same for every seed; () for largest = 0.

    A size too near to the largest to be told from it (within √resolution) is left out.
    """
    sizes = set()
    step = 0
    while (size := round(resolution**step)) * math.sqrt(resolution) < largest:
        sizes.add(size)
        step += 1
    return (*sorted(sizes), largest) if largest > 0 else ()


def bracket_path(
    grid: Sequence[int], guess: float | None = None, broken: Collection[int] = ()
) -> Path:
    """Two neighbours on the grid, the smaller failing, the larger passing, looked for from a guess.

    It starts at the smallest size above the guess (without one, at the largest size of all),
    moves away in doubling strides until the verdict changes, and closes in from the passing side,
    since a pass costs a few hundred steps and a failure the whole budget. A bracket found from
    below is audited by one size two further up; a failure there is a monotonicity violation and
    does not move the bracket.
    """
    sizes = [size for size in grid if size not in broken]
    low, high = -1, len(sizes)
    tried = set()
    probe = len(sizes) - 1
    if guess is not None:
        probe = next((i for i, size in enumerate(sizes) if size > guess), probe)
    stride = 1
    while high - low > 1:
        tried.add(probe)
        if (yield sizes[probe]):
            high = probe
        else:
            low = probe
        if low == -1:
            probe = max(high - stride, 0)
            stride *= 2
        elif high == len(sizes):
            probe = min(low + stride, len(sizes) - 1)
            stride *= 2
        else:
            probe = low + math.ceil((high - low) * 2 / 3) if high - low > 2 else low + 1
    audit = min(high + 2, len(sizes) - 1)
    if high < audit and not tried & set(range(high + 1, len(sizes))):
        yield sizes[audit]
    return _bracket(sizes[low] if low >= 0 else None, sizes[high] if high < len(sizes) else None)


def paper_path(n_max: int, multiplier: int, max_sizes: int, broken: Collection[int] = ()) -> Path:
    """The paper's search: n_max, n_max / multiplier, … to the first failure, then bisection."""
    low, high = 0, n_max + 1
    size = n_max
    for _ in range(max_sizes):
        while size in broken and size < high:
            size += 1
        if size >= high:
            break
        if (yield size):
            high = size
        else:
            low = size
        size = max(1, high // multiplier) if low == 0 else (low + high) // 2
        if high - low == 1:
            break
    return _bracket(low or None, high if high <= n_max else None)


def path_for(rule: BracketRule | PaperRule, largest: int, guess: float | None) -> PathOver:
    """The path that a protocol's rule asks for, over sizes up to `largest` (0: none at all)."""
    if isinstance(rule, PaperRule):
        return partial(paper_path, largest, rule.multiplier, rule.max_sizes)
    return partial(bracket_path, size_grid(rule.resolution, largest), guess)


def _bracket(low: int | None, high: int | None) -> Bracket:
    censored = "right" if high is None else "left" if low is None else None
    return Bracket(low=low, high=high, censored=censored)


class Probe(NamedTuple):
    """One run that a search asks for."""

    n_samples: int
    learning_rate: float


class Search:
    """N* of one seed.

    A size passes when any learning rate passes, and fails when all of them fail. A size whose
    verdict hangs on a run that broke down is left out, which can only widen the bracket.
    """

    def __init__(self, learning_rates: Sequence[float], path_over: PathOver) -> None:
        self._learning_rates = tuple(learning_rates)
        self._path_over = path_over
        self._outcomes: dict[int, dict[float, str]] = {}
        self._verdicts: dict[int, bool] = {}
        self._broken: list[int] = []
        self._begin()

    def tell(self, probe: Probe, outcome: str) -> None:
        """File an outcome (`passed`, `failed`, `error`). Repeats, and late answers, do no harm."""
        outcomes = self._outcomes.setdefault(probe.n_samples, {})
        if outcomes.get(probe.learning_rate, "error") == "error":
            outcomes[probe.learning_rate] = outcome
            self._judge(probe.n_samples, outcomes)
        self._go_on(outcomes)

    def recall(self, outcome_of: Callable[[int, float], str | None]) -> list[Probe]:
        """File all that the search asks for, one after the other, as far as outcomes are known.

        The same as asking and telling, for thousands at once; returns what was filed.
        """
        filed: list[Probe] = []
        while (size := self._waits_for) is not None:
            outcomes = self._outcomes.setdefault(size, {})
            for rate in self._learning_rates:
                if rate in outcomes:
                    continue
                if (outcome := outcome_of(size, rate)) is None:
                    return filed
                outcomes[rate] = outcome
                filed.append(Probe(size, rate))
                if outcome == "passed":
                    break
            self._judge(size, outcomes)
            self._go_on(outcomes)
        return filed

    def _go_on(self, outcomes: Mapping[float, str]) -> None:
        """After news of a size: along the path, or from the start of one that avoids that size."""
        if ("error" in outcomes.values() or self._broken) and self._broken != self.broken():
            self._begin()
        else:
            self._walk()

    def _begin(self) -> None:
        """Set out on the path from its start."""
        self._broken = self.broken()
        self._path = self._path_over(broken=self._broken)
        self.bracket: Bracket | None = None
        """The conclusion, or None while the search goes on."""
        self._waits_for: int | None = None
        try:
            self._waits_for = next(self._path)
        except StopIteration as end:
            self.bracket = end.value
        self._walk()

    def _walk(self) -> None:
        """Follow the path as far as the verdicts are known."""
        while (
            self._waits_for is not None and (verdict := self.verdict(self._waits_for)) is not None
        ):
            try:
                self._waits_for = self._path.send(verdict)
            except StopIteration as end:
                self._waits_for, self.bracket = None, end.value

    def _judge(self, size: int, outcomes: Mapping[float, str]) -> None:
        if "passed" in outcomes.values():
            self._verdicts[size] = True
        elif len(outcomes) == len(self._learning_rates) and "error" not in outcomes.values():
            self._verdicts[size] = False

    def verdict(self, size: int) -> bool | None:
        """Does this size pass? None while that is not known."""
        return self._verdicts.get(size)

    def broken(self) -> list[int]:
        """Sizes without a verdict because a run at them broke down and none passed."""
        return [
            size
            for size, outcomes in sorted(self._outcomes.items())
            if len(outcomes) == len(self._learning_rates) and self.verdict(size) is None
        ]

    def ask(self, k: int = 1) -> list[Probe]:
        """Up to k runs: the one that is needed next, then those that may come to be needed.

        None when the search has ended.
        """
        probes: list[Probe] = []
        for size in self._ahead():
            known = self._outcomes.get(size, {})
            missing = [rate for rate in self._learning_rates if rate not in known]
            probes += [Probe(n_samples=size, learning_rate=rate) for rate in missing]
            if len(probes) >= k:
                break
        return probes[:k]

    def _ahead(self) -> Iterator[int]:
        """The size that the path waits for, then those it would wait for after either verdict."""
        if self._waits_for is None:
            return
        yield self._waits_for
        suppositions: deque[dict[int, bool]] = deque([{}])
        seen = {self._waits_for}
        while suppositions:
            supposed = suppositions.popleft()
            size = self._after(supposed)
            if size is None:
                continue
            if size not in seen:
                yield size
                seen.add(size)
            suppositions += [{**supposed, size: True}, {**supposed, size: False}]

    def known(self) -> Bracket:
        """What the verdicts so far say, whether or not the search has ended."""
        high = self.smallest_passing()
        failing = [
            size
            for size in self._outcomes
            if self.verdict(size) is False and (high is None or size < high)
        ]
        return Bracket(low=max(failing, default=None), high=high)

    def smallest_passing(self) -> int | None:
        """The smallest size known to pass."""
        return min((size for size in self._outcomes if self.verdict(size)), default=None)

    def largest_tried(self) -> int | None:
        """The largest size with a verdict."""
        judged = (size for size in self._outcomes if self.verdict(size) is not None)
        return max(judged, default=None)

    def violations(self) -> int:
        """Sizes that fail above a size that passes."""
        smallest = self.smallest_passing()
        return sum(
            1
            for s in self._outcomes
            if smallest is not None and s > smallest and self.verdict(s) is False
        )

    def _after(self, supposed: Mapping[int, bool]) -> int | None:
        """The size that the path waits for if these verdicts were known too; None at its end."""
        path = self._path_over(broken=self._broken)
        try:
            size = next(path)
            while (verdict := supposed.get(size, self.verdict(size))) is not None:
                size = path.send(verdict)
        except StopIteration:
            return None
        return size

    def futures(self, largest: int) -> list[tuple[int, int]]:
        """(passing, failing) sizes still to be tried, for each way the search may yet go.

        Walks the path once for every threshold up to `largest`, in steps of a tenth, that agrees
        with the verdicts known.
        """
        steps = math.ceil(math.log(max(largest, 1), 1.1)) + 2
        known = {s: v for s in self._outcomes if (v := self.verdict(s)) is not None}
        ways = []
        for threshold in sorted({round(1.1**i) for i in range(steps)}):
            if any(passes != (size >= threshold) for size, passes in known.items()):
                continue
            path, tried = self._path_over(broken=self.broken()), [0, 0]
            try:
                size = next(path)
                while True:
                    passes = size >= threshold
                    tried[not passes] += size not in known
                    size = path.send(passes)
            except StopIteration:
                ways.append((tried[0], tried[1]))
        return ways
