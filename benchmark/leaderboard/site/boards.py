"""What the pages of boards show: the entries of one protocol, and of one task under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import DECIDED, REFERENCE, Row, SecondRun, ranking, successor
from kbench.leaderboard.ranking import Score
from kbench.leaderboard.site import charts, figures
from kbench.leaderboard.site.panels import LengthPanel, kappa_panels, length_panels
from kbench.leaderboard.site.picture import Picture, picture
from kbench.leaderboard.text import second_runs_text
from kbench.report.format import percent, task_name
from kbench.study.parameters import lengths_text


@dataclass(frozen=True, kw_only=True)
class TaskBoard:
    """The κ entries of one task."""

    rows: Sequence[Row]
    models: Sequence[str]

    @property
    def name(self) -> str:
        """With parameters and lengths."""
        return task_text(self.rows[0])

    @property
    def lengths(self) -> Sequence[int]:
        """That κ is over."""
        return self.rows[0].run.cell.lengths

    @property
    def supervisions(self) -> list[str]:
        """Those that have entries."""
        found = {row.supervision for row in self.rows}
        return [way for way in SUPERVISIONS if way in found]

    @cached_property
    def cells(self) -> dict[tuple[str, str], Row]:
        """By model and supervision."""
        return {(row.model, row.supervision): row for row in self.rows}

    @cached_property
    def forests(self) -> list[figures.Forest]:
        """κ by model."""
        return figures.forests(self.rows, self.models)

    @cached_property
    def panels(self) -> list[LengthPanel]:
        """N* by length."""
        return length_panels(self.rows, self.models)

    @cached_property
    def kappa_panels(self) -> list[LengthPanel]:
        """κ by the longest length."""
        return kappa_panels(self.rows, self.models)

    @property
    def has_picture(self) -> bool:
        """Is anything decided?"""
        return any(row.verdict in DECIDED for row in self.rows)

    def cells_of(self, model: str) -> list[Row]:
        """One model's."""
        return [row for row in self.rows if row.model == model]

    @cached_property
    def learning(self) -> list[tuple[str, charts.Chart]]:
        """Of all lengths together, by supervision: where a store has the curves."""
        return [
            (row.supervision, chart)
            for row in self.rows
            for lengths, chart in charts.learning(row).items()
            if lengths == row.run.cell.joint
        ]

    @cached_property
    def by_model(self) -> dict[str, tuple[list[LengthPanel], charts.Chart]]:
        """What is drawn of each model that has an entry: by length, and success."""
        found = {}
        for model in dict.fromkeys(row.model for row in self.rows):
            of = self.cells_of(model)
            drawn = [p for p in (*self.panels, *self.kappa_panels) if p.title == model]
            found[model] = drawn, charts.success_together(of)
        return found

    @cached_property
    def scatter(self) -> figures.Scatter | None:
        """κ against extrapolation."""
        return figures.scatter(self.rows, self.models)


@dataclass(frozen=True, kw_only=True)
class Board:
    """All that one protocol's page shows."""

    name: str
    rows: Sequence[Row]
    reference: str = REFERENCE
    again: Sequence[SecondRun] = ()
    """Cells that were measured a second time."""

    @cached_property
    def shared(self) -> list[Row]:
        """With κ, by task, supervision and rank."""
        order = {model: i for i, model in enumerate(self.models)}
        ways = list(SUPERVISIONS)
        return sorted(
            (row for row in self.rows if row.has_kappa),
            key=lambda r: (r.task, ways.index(r.supervision), order[r.model]),
        )

    @cached_property
    def drawn(self) -> list[Row]:
        """N* under one distribution of lengths."""
        return [row for row in self.rows if not row.has_kappa]

    @cached_property
    def scores(self) -> list[Score]:
        """The ranking over all tasks; empty where there is nothing to rank by."""
        return ranking(self.rows)

    @cached_property
    def rankings(self) -> dict[str, list[Score]]:
        """Over all tasks, where there are several, and over each."""
        found = {"all tasks": self.scores} if len(self.tasks) > 1 else {}
        found |= {task.name: ranking(task.rows) for task in self.tasks}
        return {name: scores for name, scores in found.items() if scores}

    @cached_property
    def models(self) -> list[str]:
        """Best first as far as they are ranked, then by name."""
        ranked = [score.model for score in self.scores]
        return ranked + sorted({row.model for row in self.rows} - set(ranked))

    @cached_property
    def tasks(self) -> list[TaskBoard]:
        """Of the entries with κ."""
        found: dict[str, list[Row]] = {}
        for row in self.shared:
            found.setdefault(row.task, []).append(row)
        return [TaskBoard(rows=of, models=self.models) for of in found.values()]

    def picture_of(self, *, narrow: bool = False) -> Picture | None:
        """Of the task of which most is decided; None where nothing is."""
        if not self.tasks:
            return None
        most = max(self.tasks, key=lambda task: sum(r.verdict in DECIDED for r in task.rows))
        return picture(most.rows, most.name, self.level, narrow=narrow)

    @property
    def has_reach(self) -> bool:
        """Does its protocol search fewer lengths together too?"""
        return any(row.run.reach_by_seed for row in self.rows)

    @property
    def has_yours(self) -> bool:
        """Is there anything from your own store?"""
        return any(row.yours for row in self.rows)

    @property
    def successor(self) -> str | None:
        """The later version of its protocol, if there is one."""
        return successor(self.name)

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last on which an entry was handed in."""
        found = sorted(row.entry.provenance.submitted_at for row in self.rows)
        return found[0], found[-1]

    @property
    def decided(self) -> tuple[int, int]:
        """Of the entries with κ, how many have a verdict that says what κ is, or `not-learned`."""
        verdicts = [row.verdict for row in self.shared]
        return sum(v in DECIDED for v in verdicts), verdicts.count("not-learned")

    @property
    def again_text(self) -> str:
        """What the second runs come to, in a sentence."""
        return second_runs_text(self.again)

    def row(self, model: str) -> Row:
        """Any of a model's."""
        return next(row for row in self.rows if row.model == model)

    @cached_property
    def pair(self) -> tuple[str, str]:
        """The two models that are compared at first: the best, and what the ranking refers to."""
        others = [model for model in self.models if model != self.reference]
        if len(others) == len(self.models):
            return self.models[0], self.models[-1]
        return (others or self.models)[0], self.reference

    @cached_property
    def axis(self) -> figures.Axis:
        """Of κ, the same for the whole table."""
        return figures.kappa_axis([row.kappa for row in self.shared], 2, 102)

    @property
    def level(self) -> str:
        """Of its intervals, as in `96 %`."""
        return level(self.rows[0])

    @property
    def setup(self) -> str:
        """The protocol in one line."""
        return setup(self.rows[0])

    @property
    def filters(self) -> dict[str, list[tuple[str, str]]]:
        """Value and text of what the table may be narrowed to."""
        tasks = {row.task: task_text(row) for row in self.shared}
        names = {"model": sorted({row.model for row in self.shared})}
        names["supervision"] = [
            way for way in SUPERVISIONS if way in {row.supervision for row in self.shared}
        ]
        names["verdict"] = sorted({row.verdict for row in self.shared})
        names["trust"] = sorted({row.trust for row in self.shared})
        plain = {name: [(value, value) for value in values] for name, values in names.items()}
        return {"model": plain.pop("model"), "task": sorted(tasks.items()), **plain}


def task_text(row: Row) -> str:
    """`modadd m=3, n = 2–6`."""
    cell = row.run.cell
    return f"{task_name(cell)}, n = {span_of(cell.lengths)}"


def setup(row: Row) -> str:
    """A protocol's numbers in one line."""
    protocol = row.run.cell.protocol
    recipes = "; ".join(map(str, protocol.recipes))
    training = protocol.training
    return (
        f"success is a validation loss below {training.eps:g} within {training.steps:,} steps; "
        f"{protocol.seeds}; trained by {recipes}"
    )


def span_of(lengths: Sequence[int]) -> str:
    """`2–6`, or `4, 6, 10` where some are left out."""
    return lengths_text(lengths, dash="–", comma=", ")


def level(row: Row) -> str:
    """Of an entry's intervals, as in `96 %`."""
    return percent(row.run.cell.protocol.confidence)
