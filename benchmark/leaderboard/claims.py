"""The observations, checked against the leaderboard entries: claims with their verdicts."""

import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from kbench.leaderboard import hypotheses, observations
from kbench.leaderboard.board import Row
from kbench.leaderboard.observations import REFUTED, SUPPORTED, TASK, UNDECIDED, Board
from kbench.protocol import repeated
from kbench.study.parameters import lengths_text

JUDGES = observations.JUDGES | hypotheses.JUDGES
OTHER_RECIPES = "5.5"
"""The claim about the others."""
FEWEST = 3
"""Claims that must be decided under two sets of recipes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A rule applied to one board."""

    board: str
    verdict: str
    figures: Mapping[str, Any]
    entries: tuple[str, ...]
    """Their places below the leaderboards' folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An observation and what the entries at hand say to it."""

    id: str
    observation: str
    rule: str
    verdict: str
    board: str | None
    """The one that the verdict goes by."""
    findings: tuple[Finding, ...]
    """By board, those that decide nothing included where they have figures."""

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "id": self.id,
            "verdict": self.verdict,
            "observation": self.observation,
            "rule": self.rule,
            "board": self.board,
            "figures": {
                f.board: {"verdict": f.verdict, **f.figures} for f in self.findings
            },
            "entries": sorted({place for f in self.findings for place in f.entries}),
        }  # fmt: skip


def boards(rows: Iterable[Row]) -> list[Board]:
    """Largest step budget first, then longest lengths; tasks of the observations first of all.

    Second runs are none: they say how far a board can be trusted.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if repeated(row.protocol):
            continue
        cell = row.run.cell
        names = [cell.task, *(f"{k}={v}" for k, v in sorted(cell.task_params.items()))]
        # Nearly always lengths are all from 2 on, and what is not is another board.
        span = lengths_text(cell.lengths)
        if "," in span:
            names.append(f"lengths {span}")
        elif cell.lengths[0] != 2:
            names.append(f"from {cell.lengths[0]}")
        groups.setdefault((row.protocol, " ".join(names)), []).append(row)
    found = []
    for (protocol, name), group in groups.items():
        for longest in {row.run.cell.lengths[-1] for row in group}:
            own = [row for row in group if row.run.cell.lengths[-1] == longest]
            found.append(Board(f"{protocol} {name} L={longest}", own, group))
    return sorted(
        found,
        key=lambda b: (
            b.cell.task != TASK, -b.cell.protocol.training.steps, -b.cell.lengths[-1], b.name
        ),
    )  # fmt: skip


def evaluate(rows: Iterable[Row]) -> list[Claim]:
    """Every observation, checked against these entries."""
    everywhere = boards(rows)
    claims: list[Claim] = []
    for rule in rules():
        task = rule.pop("task", TASK)
        if rule["id"] == OTHER_RECIPES:
            claims.append(_under_other_recipes(rule, claims, everywhere))
            continue
        findings = []
        for board in everywhere:
            part = JUDGES[rule["id"]](board)
            if part.rows:
                verdict = {True: SUPPORTED, False: REFUTED, None: UNDECIDED}[part.holds]
                places = sorted({str(row.place) for row in part.rows})
                findings.append(
                    Finding(board=board.name, verdict=verdict, figures=part.figures,
                            entries=tuple(places))
                )  # fmt: skip
        names = {board.name for board in everywhere if board.cell.task == task}
        deciding = [f for f in findings if f.board in names and f.verdict != UNDECIDED]
        claims.append(
            Claim(
                **rule,
                verdict=deciding[0].verdict if deciding else UNDECIDED,
                board=deciding[0].board if deciding else None,
                findings=tuple(findings),
            )
        )
    return claims


def _under_other_recipes(
    rule: Mapping[str, str], claims: Sequence[Claim], everywhere: Sequence[Board]
) -> Claim:
    """Do the claims come out alike under protocols that differ in their recipes?"""
    recipes = {b.name: b.cell.protocol.recipes for b in everywhere if b.cell.task == TASK}
    protocols = {b.name: b.cell.protocol.id for b in everywhere}
    findings, agree = [], []
    for claim in claims:
        decided: dict[Any, Finding] = {}  # by recipes, the first board of each, which counts most
        for finding in claim.findings:
            if finding.board in recipes and finding.verdict != UNDECIDED:
                decided.setdefault(recipes[finding.board], finding)
        if len(decided) > 1:
            verdicts = {protocols[f.board]: f.verdict for f in decided.values()}
            agree.append(len(set(verdicts.values())) == 1)
            findings.append(
                Finding(
                    board=claim.id, verdict=SUPPORTED if agree[-1] else REFUTED, figures=verdicts,
                    entries=tuple(sorted({e for f in decided.values() for e in f.entries})),
                )
            )  # fmt: skip
    verdict = REFUTED if False in agree else SUPPORTED if len(agree) >= FEWEST else UNDECIDED
    return Claim(**rule, verdict=verdict, board=None, findings=tuple(findings))


def rules() -> list[dict[str, str]]:
    """`id`, `observation` and `rule` of each, as in docs/claims.md; `task` if it is not modadd."""
    file = importlib.resources.files("kbench.leaderboard") / "observations.yaml"
    return yaml.safe_load(file.read_text("utf-8"))
