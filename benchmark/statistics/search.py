"""The search for N*, per seed: pure, ask and tell, no torch and no files.

A search follows its path over sizes as far as it knows their verdicts, so that its conclusion
depends on what the outcomes are and never on the order in which they arrived.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kbench.recipe import Recipe
from kbench.statistics.brackets import Bracket, PathOver

NEAR = 1.15
"""How far apart, as a ratio, the N* of two seeds are taken to be at most, for estimates of time."""


class Probe(NamedTuple):
    """One run that a search asks for."""

    n_samples: int
    recipe: Recipe


class Search:
    """N* of one seed.

    A size passes when any recipe passes, and fails when all of them fail. A size whose
    verdict hangs on a run that broke down is left out, which can only widen the bracket.
    """

    def __init__(self, recipes: Sequence[Recipe], path_over: PathOver) -> None:
        self.recipes = tuple(recipes)
        """In the order in which they are tried."""
        self._path_over = path_over
        self._outcomes: dict[int, dict[Recipe, str]] = {}
        self._verdicts: dict[int, bool] = {}
        self._broken: list[int] = []
        self._begin()

    def tell(self, probe: Probe, outcome: str) -> None:
        """File an outcome (`passed`, `failed`, `error`). Repeats, and late answers, do no harm."""
        outcomes = self._outcomes.setdefault(probe.n_samples, {})
        if outcomes.get(probe.recipe, "error") == "error":
            outcomes[probe.recipe] = outcome
            self._judge(probe.n_samples, outcomes)
        self._go_on(outcomes)

    def recall(self, outcome_of: Callable[[int, Recipe], str | None]) -> list[Probe]:
        """File all that the search asks for, one after the other, as far as outcomes are known.

        The same as asking and telling, for thousands at once; returns what was filed.
        """
        filed: list[Probe] = []
        while (size := self._waits_for) is not None:
            outcomes = self._outcomes.setdefault(size, {})
            for recipe in self.recipes:
                if recipe in outcomes:
                    continue
                if (outcome := outcome_of(size, recipe)) is None:
                    return filed
                outcomes[recipe] = outcome
                filed.append(Probe(size, recipe))
                if outcome == "passed":
                    break
            self._judge(size, outcomes)
            self._go_on(outcomes)
        return filed

    def _go_on(self, outcomes: Mapping[Recipe, str]) -> None:
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

    def _judge(self, size: int, outcomes: Mapping[Recipe, str]) -> None:
        if "passed" in outcomes.values():
            self._verdicts[size] = True
        elif len(outcomes) == len(self.recipes) and "error" not in outcomes.values():
            self._verdicts[size] = False

    def verdict(self, size: int) -> bool | None:
        """Does this size pass? None while that is not known."""
        return self._verdicts.get(size)

    def broken(self) -> list[int]:
        """Sizes without a verdict because a run at them broke down and none passed."""
        return [
            size
            for size, outcomes in sorted(self._outcomes.items())
            if len(outcomes) == len(self.recipes) and self.verdict(size) is None
        ]

    def ask(self, k: int = 1) -> list[Probe]:
        """Up to k runs: the one that is needed next, then those that may come to be needed.

        None when the search has ended.
        """
        probes: list[Probe] = []
        for size in self._ahead():
            known = self._outcomes.get(size, {})
            missing = [recipe for recipe in self.recipes if recipe not in known]
            probes += [Probe(n_samples=size, recipe=recipe) for recipe in missing]
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

    def futures(self, largest: int, near: Bracket | None = None) -> list[tuple[int, int]]:
        """(passing, failing) sizes still to be tried, for each way the search may yet go.

        Walks the path once for every threshold up to `largest`, in steps of a tenth, that agrees
        with the verdicts known; with `near`, what another seed came to, once for those not further
        from it than NEAR, if there are any.
        """
        steps = math.ceil(math.log(max(largest, 1), 1.1)) + 2
        known = {s: v for s in self._outcomes if (v := self.verdict(s)) is not None}
        thresholds = sorted({round(1.1**i) for i in range(steps)})
        if near:
            low, high = (near.low or 1) / NEAR, (near.high or math.inf) * NEAR
            close = [t for t in thresholds if low <= t <= high]
            return self._ways(close, known) or self.futures(largest)
        return self._ways(thresholds, known)

    def _ways(self, thresholds: Sequence[int], known: Mapping[int, bool]) -> list[tuple[int, int]]:
        ways = []
        for threshold in thresholds:
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
