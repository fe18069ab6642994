"""A cell under way: which trials its searches want next, and what is known of it."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from kbench.protocol import BracketRule
from kbench.recipe import Recipe
from kbench.statistics.brackets import Bracket, path_for
from kbench.statistics.likelihood import Interval
from kbench.statistics.search import Probe, Search
from kbench.study.cell import Cell, Lengths
from kbench.study.conclusions import Conclusions
from kbench.trial import Ending, Trial, TrialResult, Variant


class SeedSearch:
    """N* at one set of lengths, for one seed: the search, and what only the data knows of it."""

    def __init__(
        self,
        cell: Cell,
        lengths: Lengths,
        guess: float | None = None,
        recipes: Sequence[Recipe] = (),
    ) -> None:
        """To begin above a guess, at the top without one; recipes in the protocol's order."""
        shares = cell.shares(lengths)
        rule = cell.protocol.search
        # Without a validation sample (a universe of four) there is nothing to decide by.
        largest = min(shares.n_training, rule.n_max) if shares.n_validation else 0
        is_bounded = len(lengths) == 1 and not cell.held_out
        self._universe = cell.universes[lengths[0]] if is_bounded else None
        self._has_all = shares.n_training <= rule.n_max
        self.largest = largest
        self.search = Search(recipes or cell.protocol.recipes, path_for(rule, largest, guess))
        self.passes = Counter[Recipe]()
        """Sizes that passed, by recipe."""
        self.errors: list[str] = []
        self._failed: dict[int, list[Ending]] = {}
        """Failing runs by size."""

    def file(self, size: int, recipe: Recipe, ending: Ending) -> None:
        """Keep by what a size passed, and why a run failed."""
        if ending.outcome == "passed":
            self.passes[recipe] += 1
        if ending.outcome == "failed":
            self._failed.setdefault(size, []).append(ending)

    def failures(self) -> Counter[str]:
        """Of sizes that fail, how many by a best run that memorised, did not fit, or diverged."""
        return Counter(
            self._best(size).failure or "unknown"
            for size in self._failed
            if self.search.verdict(size) is False
        )

    def _best(self, size: int) -> Ending:
        """The failing run of least validation loss."""
        return min(
            self._failed[size], key=lambda e: math.inf if e.best_loss is None else e.best_loss
        )

    def bracket(self) -> Bracket:
        """The search's bracket, or what is known of it so far.

        Only where its best run has memorised its training set does a failing size say that N* is
        larger. A search that fails at its largest size without that is `unfit`.

        Where even all training samples fail, N* still does not exceed the universe: whoever has
        seen every sample of a length knows it. For several lengths together that says nothing
        about sharing, so there the bracket stays open; so it does where pairs are held out, since
        whoever has seen every training sample has seen none of these.
        """
        bracket = self.search.bracket or self.search.known()
        if bracket.low is not None and not self._best(bracket.low).tells:
            if bracket.high is None:
                return Bracket(low=None, high=None, censored="unfit")
            below = [
                n
                for n in self._failed
                if n < bracket.high and self.search.verdict(n) is False and self._best(n).tells
            ]
            low = max(below, default=None)
            bracket = Bracket(low=low, high=bracket.high, censored=None if low else "left")
        ended = self.search.bracket is not None and not self.search.broken()
        ran_out = ended and bracket.high is None and self._has_all
        return dataclasses.replace(bracket, high=self._universe) if ran_out else bracket


class CellRun(Conclusions):
    """A cell under way: which trials it wants next, and what is known of it."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.seeds = cell.seeds[: cell.looks[0]]
        """Those in use so far; more are added where the verdict is open (`Cell.looks`)."""
        self.searches: dict[tuple[Lengths, int], SeedSearch] = {}
        self.results: dict[tuple[Lengths, Variant], Ending] = {}
        """Of the trials that the searches have asked for."""
        self.tests: dict[str, TrialResult] = {}
        """Of the trials that are run again for the sake of their models."""
        self.test_errors: list[str] = []
        self._keys = list(self._order())
        self._open_searches()

    def _order(self) -> Iterator[tuple[Lengths, int]]:
        """First those that others wait for, the shortest first for an early κ; then the dearest."""
        first, *others = self.seeds
        alone, together = self.cell.alone, self.cell.together
        by_longest = sorted((*alone, *together), key=lambda lengths: (lengths[-1], len(lengths)))
        yield from ((lengths, first) for lengths in by_longest)
        for lengths in (*reversed(together), *reversed(alone)):
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
            elif shorter := self.cell.shorter(lengths):
                before, growth = (shorter, first), 1.5
            else:
                self.searches[lengths, seed] = SeedSearch(self.cell, lengths)
                continue
            if before in self.searches and (found := self.searches[before].search.bracket):
                guess = found.high * growth if found.high else None
                recipes = self._likeliest_first(self.searches[before])
                self.searches[lengths, seed] = SeedSearch(self.cell, lengths, guess, recipes)

    def _likeliest_first(self, before: SeedSearch) -> list[Recipe]:
        """The recipes as tried there; where the protocol wants that, by the sizes they passed."""
        recipes, rule = list(before.search.recipes), self.cell.protocol.search
        if isinstance(rule, BracketRule) and rule.likeliest_first:
            recipes.sort(key=lambda recipe: -before.passes[recipe])
        return recipes

    def _add_seeds(self) -> bool:
        """Where all searches have ended and the verdict is open: on to the next look, if any.

        By what the outcomes are alone, so that it is the same whatever runs at once.
        """
        more = [look for look in self.cell.looks if look > len(self.seeds)]
        if not more or not self.searched or not self.is_open:
            return False
        self.seeds = self.cell.seeds[: more[0]]
        self._keys = list(self._order())
        self._open_searches()
        return True

    @property
    def violations(self) -> int:
        """Sizes that fail above one that passes."""
        return sum(s.search.violations() for s in self.searches.values())

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
            for seed in self.seeds
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
        """The first recipe that passes at this size, else the one of the least loss.

        A search leaves the recipes after the first to pass; where none passed before, one that was
        not run is tested too, and passed over if it fails.
        """
        best, least = None, math.inf
        for recipe in self.searches[self.cell.joint, seed].search.recipes:
            probe = Probe(n_samples=size, recipe=recipe)
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
        ending = result.ending(trial.key())
        self.results[trial.lengths, trial.variant] = ending
        search.file(trial.n_samples, trial.recipe, ending)
        probe = Probe(n_samples=trial.n_samples, recipe=trial.recipe)
        search.search.tell(probe, result.outcome)
        self._open_searches()
        while self._add_seeds():
            pass

    def ending(self, trial: Trial) -> Ending | None:
        """Of a trial that its search has asked for."""
        return self.results.get((trial.lengths, trial.variant))

    def passed_by(self, lengths: Lengths, seed: int, size: int | None) -> str | None:
        """The first recipe that passed at this size; None where none did."""
        for recipe in self.cell.protocol.recipes if size is not None else ():
            ending = self.results.get((lengths, Variant(seed, size or 0, recipe)))
            if ending and ending.outcome == "passed":
                return recipe.name
        return None

    @property
    def seen_prefixes(self) -> float | None:
        """Of validation positions, the share that the training set holds at N*, mean over seeds.

        Of the lengths that κ is stated for; at the largest size tried where nothing passes.
        """
        lengths, shares = self.up_to, []
        for seed in self.seeds:
            if (lengths, seed) not in self.searches:
                continue
            search = self.searches[lengths, seed].search
            size = search.smallest_passing() or search.largest_tried() or 0
            for recipe in self.cell.protocol.recipes:
                ending = self.results.get((lengths, Variant(seed, size, recipe)))
                if ending and ending.seen_prefixes is not None:
                    shares.append(ending.seen_prefixes)
                    break
        return sum(shares) / len(shares) if shares else None

    def recall(self, endings_of: Callable[[Trial], Mapping[Variant, Ending]]) -> int:
        """Tell every search what it asks for, of endings known by family; how many were told.

        Quicker than one trial after the other where there are thousands.
        """
        before = len(self.results)
        known: dict[Lengths, dict[Variant, Ending]] = {}
        while True:
            for lengths, seed in self._keys:
                self._recall(lengths, seed, endings_of, known)
            self._open_searches()
            if not self._add_seeds():
                return len(self.results) - before

    def _recall(
        self,
        lengths: Lengths,
        seed: int,
        endings_of: Callable[[Trial], Mapping[Variant, Ending]],
        known: dict[Lengths, dict[Variant, Ending]],
    ) -> None:
        """Tell one search; `known` keeps what was looked up for the others of its lengths."""
        if (lengths, seed) not in self.searches:
            self._open_searches()
        if (lengths, seed) not in self.searches:
            return
        own = self.searches[lengths, seed]
        if lengths not in known and own.search.ask():
            known[lengths] = {}
            for recipe in self.cell.protocol.recipes:
                trial = self.cell.trial(lengths, seed, Probe(n_samples=1, recipe=recipe))
                known[lengths].update(endings_of(trial))
        endings = known.get(lengths, {})

        def outcome_of(size: int, recipe: Recipe) -> str | None:
            ending = endings.get(Variant(seed, size, recipe))
            return ending.outcome if ending else None

        for size, recipe in own.search.recall(outcome_of):
            variant = Variant(seed, size, recipe)
            self.results[lengths, variant] = endings[variant]
            own.file(size, recipe, endings[variant])

    def brackets(self, lengths: Lengths) -> list[Bracket]:
        """Per seed, in the cell's order; nothing known where a search has not begun."""
        return [
            self.searches[lengths, seed].bracket()
            if (lengths, seed) in self.searches
            else Bracket(low=None, high=None)
            for seed in self.seeds
        ]

    def failures(self, lengths: Lengths) -> dict[str, int]:
        """Sizes that fail, over seeds, by why their best run did."""
        found: Counter[str] = Counter()
        for seed in self.seeds:
            if (lengths, seed) in self.searches:
                found += self.searches[lengths, seed].failures()
        return dict(sorted(found.items()))

    @property
    def explained(self) -> bool:
        """Is it known of all failing sizes why they fail? Older ones count as too few samples."""
        lengths = [*self.cell.alone, *self.cell.together]
        return not any(self.failures(n).get("unknown") for n in lengths)

    def unopened(self) -> list[Lengths]:
        """Lengths of the searches that wait for others to steer them."""
        return [lengths for lengths, seed in self._keys if (lengths, seed) not in self.searches]

    @property
    def n_searches(self) -> int:
        """Searches in the whole cell; what is tested of a seed counts as one."""
        return len(self._keys) + bool(self.cell.extrapolate) * len(self.seeds)

    @property
    def n_done(self) -> int:
        """Searches that have reached their conclusion."""
        return self._n_ended + sum(
            self.untested(s) == 0 for s in self.seeds if self.cell.extrapolate
        )

    @property
    def _n_ended(self) -> int:
        return sum(s.search.bracket is not None for s in self.searches.values())

    @property
    def searched(self) -> bool:
        """Is everything known that N* and κ need, whether or not the tests are done?"""
        return self._n_ended == len(self._keys)

    def kappa_so_far(self) -> tuple[Lengths, Interval] | None:
        """Bounds on κ of the first seed to have any, for the most lengths that it has them for."""
        for together in reversed(self.cell.together) if self.cell.alone else ():
            needed = [*(n for n in self.cell.alone if n[0] in together), together]
            for seed, kappa in zip(self.seeds, self.kappa_by_seed(together), strict=True):
                searches = [self.searches.get((lengths, seed)) for lengths in needed]
                ended = all(s is not None and s.search.bracket is not None for s in searches)
                if ended and not kappa.is_open:
                    return together, kappa
        return None

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
        f"N = {trial.n_samples}, recipe {trial.recipe.name}"
    )
