"""A cell under way: which trials its searches want next, and what is known of it."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kbench.statistics.brackets import Bracket, path_for
from kbench.statistics.search import Probe, Search
from kbench.study.cell import Cell, Lengths
from kbench.trial import Ending, Trial, TrialResult, Variant


class SeedSearch:
    """N* at one set of lengths, for one seed: the search, and what only the data knows of it."""

    def __init__(self, cell: Cell, lengths: Lengths, guess: float | None) -> None:
        shares = cell.shares(lengths)
        rule = cell.protocol.search
        n_validation = shares.n_validation
        available = sum(shares.universes.values()) - n_validation
        # Without a validation sample (a universe of four) there is nothing to decide by.
        largest = min(available, rule.n_max) if n_validation else 0
        self._universe = cell.universes[lengths[0]] if len(lengths) == 1 else None
        self._has_all = available <= rule.n_max
        self.largest = largest
        self.search = Search(cell.protocol.learning_rates, path_for(rule, largest, guess))
        self.errors: list[str] = []

    def bracket(self) -> Bracket:
        """The search's bracket, or what is known of it so far.

        Where even all training samples fail, N* still does not exceed the universe: whoever has
        seen every sample of a length knows it. For several lengths together that says nothing
        about sharing, so there the bracket stays open.
        """
        bracket = self.search.bracket
        if bracket is None:
            return self.search.known()
        ran_out = bracket.high is None and self._has_all and not self.search.broken()
        return dataclasses.replace(bracket, high=self._universe) if ran_out else bracket


class CellRun:
    """A cell under way: which trials it wants next, and what is known of it."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.searches: dict[tuple[Lengths, int], SeedSearch] = {}
        self.results: dict[tuple[Lengths, Variant], Ending] = {}
        """Of the trials that the searches have asked for."""
        self.tests: dict[str, TrialResult] = {}
        """Of the trials that are run again for the sake of their models."""
        self.test_errors: list[str] = []
        self._keys = list(self._order())
        self._open_searches()

    def _order(self) -> Iterator[tuple[Lengths, int]]:
        """Every search: first those that others wait for, then the dearest."""
        first, *others = self.cell.seeds
        alone, joint = self.cell.alone, self.cell.joint
        yield from ((lengths, first) for lengths in (*alone, joint))
        for lengths in (joint, *reversed(alone)):
            yield from ((lengths, seed) for seed in others)

    def _open_searches(self) -> None:
        """Open each search whose starting point is known.

        What a shorter length, or the first seed, needed steers where a search starts. Which search
        waits for which is fixed, so what is asked for is the same whatever happens to run at once.
        """
        first = self.cell.seeds[0]
        for lengths, seed in self._keys:
            if (lengths, seed) in self.searches:
                continue
            if seed != first:
                before, growth = (lengths, first), 1.0
            elif lengths in self.cell.alone[1:]:
                shorter = self.cell.alone[self.cell.alone.index(lengths) - 1]
                before, growth = (shorter, first), 1.5
            else:
                self.searches[lengths, seed] = SeedSearch(self.cell, lengths, None)
                continue
            if before in self.searches and (found := self.searches[before].search.bracket):
                guess = found.high * growth if found.high else None
                self.searches[lengths, seed] = SeedSearch(self.cell, lengths, guess)

    def wanted(self, k: int = 1) -> list[Trial]:
        """The next trial of every search that is open, most urgent first; then the tests.

        With k above 1, then as many as k of each search that it may come to want.
        """
        asked = {
            (lengths, seed): self.searches[lengths, seed].search.ask(k)
            for lengths, seed in self._keys
            if (lengths, seed) in self.searches
        }
        searching = [
            self.cell.trial(*key, probes[i])
            for i in range(k)
            for key, probes in asked.items()
            if i < len(probes)
        ]
        testing = {
            trial.key(): trial
            for seed in self.cell.seeds
            for trial in self.tested(seed).values()
            if trial.key() not in self.tests
        }
        n_needed = sum(bool(probes) for probes in asked.values())
        return [*searching[:n_needed], *testing.values(), *searching[n_needed:]]

    def tested(self, seed: int) -> dict[str, Trial]:
        """The joint search's model at the smallest N to pass, and at the largest N tried.

        Empty where no test was asked for, or the search has not ended.
        """
        search = self.searches.get((self.cell.joint, seed))
        if not self.cell.extrapolate or search is None or search.search.bracket is None:
            return {}
        sizes = {
            "smallest to pass": search.search.smallest_passing(),
            "largest tried": search.search.largest_tried(),
        }
        return {name: self._tested(seed, size) for name, size in sizes.items() if size is not None}

    def _tested(self, seed: int, size: int) -> Trial:
        """The first learning rate that passes at this size, else the one of the least loss.

        A search leaves the rates after the first to pass; where none passed before, one that was
        not run is tested too, and passed over if it fails.
        """
        best, least = None, math.inf
        for rate in self.cell.protocol.learning_rates:
            probe = Probe(n_samples=size, learning_rate=rate)
            trial = self.cell.trial(self.cell.joint, seed, probe)
            test = dataclasses.replace(trial, tested=self.cell.extrapolate)
            found = self.ending(trial) or self.tests.get(test.key())
            if found is None or found.outcome == "passed":
                return test
            loss = math.inf if found.best_loss is None else found.best_loss
            if best is None or loss < least:
                best, least = test, loss
        assert best is not None
        return best

    def tell(self, trial: Trial, result: TrialResult) -> None:
        """The outcome of a trial of this cell."""
        if trial.tested:
            self.tests[trial.key()] = result
            if result.outcome == "error":
                self.test_errors.append(f"test of {_where(trial)}: {result.reason}")
            return
        search = self.searches[trial.lengths, trial.seed]
        if result.outcome == "error":
            search.errors.append(f"{_where(trial)}: {result.reason}")
        self.results[trial.lengths, trial.variant] = result.ending(trial.key())
        probe = Probe(n_samples=trial.n_samples, learning_rate=trial.learning_rate)
        search.search.tell(probe, result.outcome)
        self._open_searches()

    def ending(self, trial: Trial) -> Ending | None:
        """Of a trial that its search has asked for."""
        return self.results.get((trial.lengths, trial.variant))

    def recall(self, endings_of: Callable[[Trial], Mapping[Variant, Ending]]) -> int:
        """Tell every search what it asks for, of endings known by family; how many were told.

        Quicker than one trial after the other where there are thousands.
        """
        before, known = len(self.results), {}
        for lengths, seed in self._keys:
            if (lengths, seed) not in self.searches:
                self._open_searches()
            if (lengths, seed) not in self.searches:
                continue
            search = self.searches[lengths, seed].search
            if lengths not in known and (probes := search.ask()):
                known[lengths] = endings_of(self.cell.trial(lengths, seed, probes[0]))
            endings = known.get(lengths, {})

            def outcome_of(
                size: int, rate: float, seed: int = seed, endings: Any = endings
            ) -> str | None:
                ending = endings.get((seed, size, rate))
                return ending.outcome if ending else None

            for size, rate in search.recall(outcome_of):
                variant = Variant(seed, size, rate)
                self.results[lengths, variant] = endings[variant]
        self._open_searches()
        return len(self.results) - before

    def brackets(self, lengths: Lengths) -> list[Bracket]:
        """Per seed, in the cell's order; nothing known where a search has not begun."""
        return [
            self.searches[lengths, seed].bracket()
            if (lengths, seed) in self.searches
            else Bracket(low=None, high=None)
            for seed in self.cell.seeds
        ]

    def unopened(self) -> list[Lengths]:
        """Lengths of the searches that wait for others to steer them."""
        return [lengths for lengths, seed in self._keys if (lengths, seed) not in self.searches]

    @property
    def n_searches(self) -> int:
        """Searches in the whole cell; what is tested of a seed counts as one."""
        return len(self._keys) + bool(self.cell.extrapolate) * len(self.cell.seeds)

    @property
    def n_done(self) -> int:
        """Searches that have reached their conclusion."""
        return self._n_ended + sum(
            self.untested(s) == 0 for s in self.cell.seeds if self.cell.extrapolate
        )

    @property
    def _n_ended(self) -> int:
        return sum(s.search.bracket is not None for s in self.searches.values())

    @property
    def searched(self) -> bool:
        """Is everything known that N* and κ need, whether or not the tests are done?"""
        return self._n_ended == len(self._keys)

    def untested(self, seed: int) -> int:
        """Models of a seed still to be tested, at most."""
        search = self.searches.get((self.cell.joint, seed))
        if self.cell.extrapolate and (search is None or search.search.bracket is None):
            return 2
        return len({trial.key() for trial in self.tested(seed).values()} - set(self.tests))

    @property
    def complete(self) -> bool:
        """Has every search reached its conclusion, and every test been made?"""
        return self.n_done == self.n_searches


def _where(trial: Trial) -> str:
    return (
        f"lengths {'+'.join(map(str, trial.lengths))}, seed {trial.seed}, "
        f"N = {trial.n_samples}, learning rate {trial.learning_rate:g}"
    )
