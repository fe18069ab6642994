"""The entries as boards show them: rows with what their trials come to, and rankings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from kbench.errors import KbenchError
from kbench.leaderboard import trust
from kbench.leaderboard.entry import Entry, parse, read_text
from kbench.leaderboard.place import is_own, model_label, task_label
from kbench.leaderboard.ranking import Score, Shared, rank, shared
from kbench.protocol import newest, repeated
from kbench.registry import models
from kbench.report.readings import answer_beyond, best_kappa, memorised, rounded
from kbench.statistics.likelihood import Interval
from kbench.statistics.sharing import Verdict
from kbench.study.request import PROTOCOL
from kbench.study.searches import CellRun

YOURS = "yours"
DECIDED = ("sharing", "isolated", "interference")
"""Verdicts that say what κ is. Of `not-learned` there is none; of the other it is not known."""
REFERENCE = "transformer"
"""What κ is relative to in a ranking: the architecture that the hypothesis is about."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry, read and computed again from its trials."""

    entry: Entry
    place: PurePosixPath
    """Below the leaderboards' folder."""
    text: str = ""
    """Of the file, as it is handed on."""
    seen: trust.Seen | None = None
    """What the maintainers have done with it."""
    yours: bool = False
    """Is it no entry of the boards, but what your own trial store holds?"""
    curves: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """By trial digest, step and validation loss, where a store has them."""

    @property
    def trust(self) -> str:
        """One of `trust.LEVELS`, or YOURS."""
        return YOURS if self.yours else self.seen.level if self.seen else "submitted"

    @property
    def is_ranked(self) -> bool:
        """Not your own, nor a model whose source the boards do not have and whose runs nobody else
        has seen."""
        return not self.yours and (self.trust != "submitted" or not is_own(self.run.cell))

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
        label = label.removesuffix(f".{distribution}") if distribution else label
        return f"{label} ({YOURS})" if self.yours else label

    @property
    def architecture(self) -> str:
        """The model whatever it runs on: without its backend, and whoever measured it."""
        label, backend = self.model.removesuffix(f" ({YOURS})"), self.run.cell.backend
        return label.removesuffix(f".{backend}")

    @property
    def core_hours(self) -> float:
        """Of its trials, one core each; as long as they took where they ran."""
        return sum(trial.wall_s for trial in self.entry.trials) / 3600

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
            row = Row(entry=entry, place=place, text=text, seen=known)
            complete = row.run.complete
        except KbenchError as error:
            raise KbenchError(f"{path}: {error}") from None
        if not complete:
            raise KbenchError(f"{path}: trials are missing (`kbench validate` says which)")
        rows.append(row)
    return rows


def least_trust(rows: Iterable[Row], model: str) -> str:
    """Of a model's entries, the level of the one that is trusted least."""
    levels = [*trust.LEVELS, YOURS]
    return max((r.trust for r in rows if r.model == model), key=levels.index)


def protocols(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by protocol: results of two never share a table.

    First the last version of the protocol that `kbench run` takes by default, then those of others,
    then what has been superseded. Second runs stand on the board of the first ones
    (`second_runs`), and on none of their own where there is that.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.protocol, []).append(row)
    found = {id: of for id, of in found.items() if repeated(id) not in found}

    def place(id: str) -> tuple[bool, bool, str, int]:
        name, _, version = id.rpartition("-")
        return successor(id) is not None, name != PROTOCOL, name, -int(version)

    return {id: found[id] for id in sorted(found, key=place)}


def successor(protocol: str) -> str | None:
    """The last version of a protocol, as in `quick-2` of `quick-1`; None of the last itself."""
    last = newest().get(protocol.rpartition("-")[0], protocol)
    return None if last == protocol else last


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
    own = [row for row in rows if not row.yours]
    places = {row.place.relative_to(protocol): row for row in own if row.protocol == protocol}
    return [
        SecondRun(first, row)
        for row in own
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


def document(rows: Iterable[Row]) -> dict[str, Any]:
    """The `--json` document of `kbench board`: of every protocol its rows, and what they come to.

    κ and its interval are over seeds, `reach` the longest L (None where the protocol does not ask
    for it, or for none), `core_hours` the time of the trials, with one core for each.
    """
    rows = list(rows)
    return {
        "schema_version": 1,
        "boards": [
            _board(name, of) | {"second_runs": _second_runs(second_runs(rows, name))}
            for name, of in protocols(rows).items()
        ],
    }


def _second_runs(found: Sequence[SecondRun]) -> dict[str, Any]:
    contradictions = sum(of.contradicts for of in found)
    return {
        "cells": len(found),
        "contradictions": contradictions,
        "contradicting_share": rounded(contradictions / len(found)) if found else None,
        "rows": [{"first": str(of.first.place), "second": _row(of.second)} for of in found],
    }


def _board(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    cells = [row for row in rows if row.has_kappa]
    decided = sum(row.verdict in DECIDED for row in cells)
    not_learned = sum(row.verdict == "not-learned" for row in cells)
    return {
        "protocol": name,
        "successor": successor(name),
        "confidence": rows[0].run.cell.protocol.confidence,
        "cells": len(cells),
        "decided": decided,
        "not_learned": not_learned,
        "settled_share": rounded((decided + not_learned) / len(cells)) if cells else None,
        "core_hours": rounded(sum(row.core_hours for row in rows)),
        "rows": [_row(row) for row in cells],
    }


def _row(row: Row) -> dict[str, Any]:
    run = row.run
    return {
        "place": str(row.place),
        "model": row.model,
        "task": row.task,
        "supervision": row.supervision,
        "lengths": list(run.cell.lengths),
        "seeds": len(run.seeds),
        "kappa": {name: rounded(getattr(row.kappa, name)) for name in ("estimate", "low", "high")},
        "up_to": run.up_to[-1],
        "verdict": row.verdict,
        "reach": run.reach,
        "beyond": rounded(row.beyond),
        "trust": row.trust,
        "trials": len(row.entry.trials),
        "core_hours": rounded(row.core_hours),
    }
