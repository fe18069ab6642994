"""What the pages of boards show: the entries of one protocol, and of one task under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kbench.data.supervision import SUPERVISIONS
from kbench.leaderboard.board import REFERENCE, Row, ranking
from kbench.leaderboard.ranking import Score
from kbench.leaderboard.site import figures, panels
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
    def panels(self) -> list[panels.LengthPanel]:
        """N* by length."""
        return panels.length_panels(self.rows, self.models)

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

    @cached_property
    def axis(self) -> figures.Axis:
        """Of κ, the same for the whole table."""
        return figures.kappa_axis(self.shared, 2, 102)

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
