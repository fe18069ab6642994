"""What the page of one model shows: its entries on every board, and the model itself."""

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from kbench.leaderboard.board import Row, protocols
from kbench.leaderboard.site.boards import Board, task_text
from kbench.registry import Entry, models
from kbench.report.figures.palette import OTHER, colour, kind
from kbench.report.format import parameters_text


class Size(NamedTuple):
    """A model as it is built for one board, and the task that it is built for."""

    board: str
    task: str
    settings: str
    parameters: int
    state: str


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One model, on whatever it ran and whoever measured it."""

    name: str
    rows: Sequence[Row]

    @property
    def colour(self) -> str:
        """The same everywhere."""
        return colour(self.name)

    @property
    def kind(self) -> str:
        """As in `linear recurrent`."""
        found = kind(self.name)
        return "a model of somebody's own" if found == OTHER else found

    @property
    def entry(self) -> Entry | None:
        """Of the registry; None for a model in a file of somebody's own, which is never loaded."""
        is_kbenchs = isinstance(self.rows[0].entry.settings.model_version, int)
        return models[self.rows[0].entry.settings.model] if is_kbenchs else None

    @property
    def version(self) -> str:
        """Of the registry's, or the digest of a file."""
        return str(self.entry.version if self.entry else self.rows[0].entry.settings.model_version)

    @property
    def what(self) -> str:
        """The first paragraph of its file's docstring."""
        doc = self.entry and inspect.getdoc(sys.modules[self.entry.cls.__module__])
        return " ".join(doc.split("\n\n")[0].split()) if doc else ""

    @property
    def expressivity(self) -> str:
        """What is known of it, and by whom."""
        return self.entry.expressivity if self.entry else ""

    @property
    def path(self) -> str | None:
        """Of its file in the repository."""
        if not self.entry:
            return None
        return self.entry.cls.__module__.removeprefix("kbench.").replace(".", "/") + ".py"

    @property
    def source(self) -> str | None:
        """Its file, as it is here or as it was handed in."""
        if self.entry:
            return inspect.getsource(sys.modules[self.entry.cls.__module__])
        return self.rows[0].entry.source

    @cached_property
    def sizes(self) -> list[Size]:
        """As measured, for the first task of every board."""
        return list(self._sizes()) if self.entry else []

    def _sizes(self) -> Iterator[Size]:
        for name, rows in protocols(self.rows).items():
            cell = rows[0].run.cell
            # An entry may state any size, and what it states is not built before it is validated.
            if self.entry and dict(cell.size) == dict(self.entry.preset(cell.protocol.presets)):
                measured = _measured(cell.model, tuple(cell.size.items()), *_shape(rows[0]))
                yield Size(name, task_text(rows[0]), parameters_text(cell.size), *measured)

    @cached_property
    def boards(self) -> list[Board]:
        """Its entries, by protocol."""
        return [Board(name=name, rows=of) for name, of in protocols(self.rows).items()]

    def recipes(self, rows: Sequence[Row]) -> list[tuple[str, int]]:
        """Of each recipe, how many searches of these rows end in a size that it passed."""
        found: Counter[str] = Counter()
        for row in rows:
            cell = row.run.cell
            for lengths in (*cell.alone, *cell.together):
                for seed, bracket in zip(row.run.seeds, row.run.brackets(lengths), strict=True):
                    if by := row.run.passed_by(lengths, seed, bracket.most):
                        found[by] += 1
        recipes = rows[0].run.cell.protocol.recipes
        return [(str(recipe), found[recipe.name]) for recipe in recipes]


def architectures(rows: Sequence[Row]) -> list[Architecture]:
    """Every model that has an entry, by name."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.architecture, []).append(row)
    return [Architecture(name=name, rows=of) for name, of in sorted(found.items())]


def _shape(row: Row) -> tuple[int, int]:
    """Tokens there are, and the longest input."""
    from kbench.study.subjects import subject_of

    cell = row.run.cell
    subject = subject_of(cell, models[cell.model], cell.size)
    return subject.vocab_size, subject.max_len


@functools.cache
def _measured(
    model: str, size: tuple[tuple[str, Any], ...], vocab_size: int, max_len: int
) -> tuple[int, str]:
    """Parameters and state."""
    from kbench.study.executors.local import one_thread
    from kbench.training.conformance import Subject, state_text
    from kbench.training.modules import parameter_count, state_size

    subject = Subject(entry=models[model], size=dict(size), vocab_size=vocab_size, max_len=max_len)
    with one_thread():
        built = subject.model()
        state = state_text(state_size(built, vocab_size, max_len))
    return parameter_count(built), state
