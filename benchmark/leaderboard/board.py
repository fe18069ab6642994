"""The entries as boards show them: rows with what their trials come to, and rankings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kbench.errors import KbenchError
from kbench.leaderboard import trust
from kbench.leaderboard.entry import Entry, parse, read_text
from kbench.leaderboard.place import is_own, model_label, task_label
from kbench.leaderboard.ranking import Score, Shared, rank, shared
from kbench.protocol import repeated
from kbench.registry import models
from kbench.report.readings import answer_beyond, best_kappa, memorised
from kbench.statistics.likelihood import Interval
from kbench.statistics.sharing import Verdict
from kbench.study.searches import CellRun

REFERENCE = "transformer"
"""What κ is relative to in a ranking: the architecture that the hypothesis is about."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry, read and computed again from its trials."""

    entry: Entry
    place: PurePosixPath
    """Below the leaderboards' folder."""
    seen: trust.Seen | None = None
    """What the maintainers have done with it."""

    @property
    def trust(self) -> str:
        """One of `trust.LEVELS`."""
        return self.seen.level if self.seen else "submitted"

    @property
    def is_ranked(self) -> bool:
        """Not a model whose source the boards do not have, and whose runs nobody else has seen."""
        return self.trust != "submitted" or not is_own(self.run.cell)

    @cached_property
    def run(self) -> CellRun:
        """The cell, as the trials tell it."""
        return self.entry.run()

    @property
    def protocol(self) -> str:
        """Name and version."""
        return self.entry.settings.protocol

    @cached_property
    def task(self) -> str:
        """As in the place: with what differs from the task's preset."""
        return task_label(self.run.cell)

    @cached_property
    def model(self) -> str:
        """As in the place, without a distribution of lengths."""
        label = model_label(self.run.cell)
        distribution = self.run.cell.distribution
        return label.removesuffix(f".{distribution}") if distribution else label

    @property
    def supervision(self) -> str:
        """`outcome`, `cot` or `aligned`."""
        return self.entry.settings.supervision

    @property
    def is_earlier(self) -> bool:
        """Was it measured with an earlier version of a registered model?"""
        version = self.entry.settings.model_version
        return isinstance(version, int) and version != models[self.entry.settings.model].version

    @property
    def has_kappa(self) -> bool:
        """Or is it N* under one distribution of lengths?"""
        return self.run.cell.distribution is None

    @cached_property
    def kappa(self) -> Interval:
        """Over seeds: the interval that the verdict goes by."""
        return self.run.kappa

    @cached_property
    def best_kappa(self) -> Interval:
        """Of the best of the grid, as the paper has it: for comparison."""
        return best_kappa(self.run)

    @cached_property
    def memorised(self) -> float | None:
        """The part of Σ N*_n that is a universe run out, mean over seeds."""
        return memorised(self.run)

    @cached_property
    def verdict(self) -> Verdict:
        """By the interval over seeds alone."""
        return self.run.verdict

    @cached_property
    def beyond(self) -> float | None:
        """Normalised accuracy at twice the longest length, mean over seeds."""
        values = answer_beyond(self.run)
        return sum(values) / len(values) if values else None


def load(root: Path, below: PurePosixPath | str = "") -> list[Row]:
    """Every entry in the leaderboards' folder, or in one below it, in the order of their places.

    Raises KbenchError where a file is no entry; whether an entry is true is what `kbench validate`
    says.
    """
    if not root.is_dir():
        raise KbenchError(f"no folder of leaderboards at {root}")
    ledger = trust.load(root)
    rows = []
    for path in sorted((root / below).rglob("*.json")):
        place = PurePosixPath(path.relative_to(root))
        if str(place) == trust.LEDGER:
            continue
        try:
            text = read_text(path)
            entry = parse(text)
            known = trust.seen(ledger, place, text.encode("utf-8"))
            row = Row(entry=entry, place=place, seen=known)
            complete = row.run.complete
        except KbenchError as error:
            raise KbenchError(f"{path}: {error}") from None
        if not complete:
            raise KbenchError(f"{path}: trials are missing (`kbench validate` says which)")
        rows.append(row)
    return rows


def least_trust(rows: Iterable[Row], model: str) -> str:
    """Of a model's entries, the level of the one that is trusted least."""
    return max((r.trust for r in rows if r.model == model), key=trust.LEVELS.index)


def protocols(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by protocol: results of two never share a table.

    Without second runs, which are no boards of their own (`second_runs`).
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        if repeated(row.protocol) is None:
            found.setdefault(row.protocol, []).append(row)
    return found


@dataclass(frozen=True)
class SecondRun:
    """A cell that was measured twice, the second time with other seeds."""

    first: Row
    second: Row

    @property
    def contradicts(self) -> bool:
        """Is one `sharing` and the other `interference`?"""
        return {self.first.verdict, self.second.verdict} == {"sharing", "interference"}


def second_runs(rows: Iterable[Row], protocol: str) -> list[SecondRun]:
    """Of the cells of a protocol, those that were measured again, in the order of their places."""
    places = {row.place.relative_to(row.protocol): row for row in rows if row.protocol == protocol}
    return [
        SecondRun(first, row)
        for row in rows
        if repeated(row.protocol) == protocol
        and (first := places.get(row.place.relative_to(row.protocol)))
    ]


def ranking(rows: Sequence[Row], reference: str = REFERENCE) -> list[Score]:
    """The models of one protocol over the cells of the reference; empty where that has none.

    A model of somebody's own is among them once some of its trials were run again.
    """
    kappas: dict[str, dict[str, list[Shared]]] = {}
    for row in rows:
        if not row.has_kappa or not row.is_ranked:
            continue
        run, cell = row.run, row.run.cell
        lengths = [run.brackets(n) for n in cell.alone]
        universes = [cell.universes[n] for n in cell.lengths]
        kappas.setdefault(row.model, {})[f"{row.task} {row.supervision}"] = [
            shared([of[s] for of in lengths], joint, universes)
            for s, joint in enumerate(run.brackets(cell.joint))
        ]
    if reference not in kappas:
        return []
    return rank(kappas, reference, rows[0].run.cell.protocol.confidence)
