"""Where what was measured here would stand on the boards, committed entries beside it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kbench.errors import KbenchError
from kbench.leaderboard.board import load
from kbench.leaderboard.place import model_label, task_label
from kbench.report.format import kappa_text
from kbench.report.readings import memorised
from kbench.study.searches import CellRun

HERE = "measured here"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One model on a board."""

    model: str
    kappa: str
    verdict: str
    origin: str
    """Trust of the entry, or HERE."""
    middle: float
    """Of the interval, which the lines are ordered by; -1 where κ is not identified."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One board: a protocol, a task with its lengths, a supervision."""

    board: str
    lines: Sequence[Line]
    """Largest κ first."""

    @property
    def has_entries(self) -> bool:
        """Is there anything to compare with?"""
        return any(line.origin != HERE for line in self.lines)


def standings(runs: Iterable[CellRun], root: Path) -> list[Standing]:
    """The boards that measured cells with κ belong on; raises KbenchError for a missing folder."""
    if not root.is_dir():
        raise KbenchError(
            f"--board: no folder of leaderboards at {root}; name a clone's with --leaderboards"
        )
    boards: dict[PurePosixPath, list[Line]] = {}
    for run in runs:
        cell = run.cell
        if cell.distribution is None and run.searched:
            place = PurePosixPath(cell.protocol.id, task_label(cell), cell.supervision)
            line = _line(model_label(cell), run, HERE)
            boards.setdefault(place, []).append(line)
    return [
        Standing(board=str(place), lines=_ordered([*own, *_entries(root, place)]))
        for place, own in boards.items()
    ]


def _entries(root: Path, place: PurePosixPath) -> list[Line]:
    """Of the board's entries, those that have κ."""
    rows = load(root, place) if (root / place).is_dir() else []
    return [_line(row.model, row.run, row.trust) for row in rows if row.has_kappa]


def _line(model: str, run: CellRun, origin: str) -> Line:
    kappa = run.kappa
    ends = [end for end in (kappa.low, kappa.high) if end is not None]
    return Line(
        model=model,
        kappa=kappa_text(kappa, memorised(run)),
        verdict=run.verdict,
        origin=origin,
        middle=math.prod(ends) ** (1 / len(ends)) if ends else -1.0,
    )


def _ordered(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (-line.middle, line.model, line.origin))
