"""Is HEAD as fast as BASE? Two sets of files of pytest-benchmark against each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kbench.errors import KbenchError
from kbench.regression.compare import CellComparison, Comparison, Row, Verdict, gravest

SLOWER = 1.25
"""A benchmark that takes as many times as long in every pair of runs is a regression."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One run of pytest-benchmark."""

    began: str
    """As ISO 8601, which sorts by time."""
    machine: tuple[str, ...]
    seconds: Mapping[str, float]
    """The fastest round of each benchmark."""


def compare_speed(base: Sequence[Timing], head: Sequence[Timing]) -> Comparison:
    """The k-th run of BASE with the k-th of HEAD, in the order of time.

    Slower in a single pair is inconclusive, and asks for a repeat; so are runs that were not taken
    in turns. Faster is no alarm.
    """
    base, head = (sorted(side, key=lambda t: t.began) for side in (base, head))
    pairs = list(zip(base, head, strict=False))
    problems = []
    if len({t.machine for t in (*base, *head)}) > 1:
        problems.append("times of different machines")
    common = [n for n in base[0].seconds if all(n in t.seconds for t in (*base, *head))]
    if not common:
        problems.append("no benchmark in common")
    if len(base) != len(head):
        problems.append(f"{len(base)} runs against {len(head)}")
    if problems:
        return Comparison(cells=(), notes=tuple(problems), commands=(), verdict=Verdict.BROKEN)
    sides = [
        side for _, side in sorted([(t.began, "b") for t in base] + [(t.began, "h") for t in head])
    ]
    in_turns = all(set(sides[i : i + 2]) == {"b", "h"} for i in range(0, len(sides), 2))
    rows = []
    for name in common:
        ratios = [h.seconds[name] / b.seconds[name] for b, h in pairs]
        if min(ratios) <= SLOWER:
            verdict, finding = Verdict.SAME, "same"
            if max(ratios) < 1 / SLOWER:
                finding = "faster"
            elif max(ratios) > SLOWER:
                finding = "same (slower in some runs only)"
        elif len(ratios) > 1 and in_turns:
            verdict, finding = Verdict.REGRESSION, "slower"
        else:
            verdict, finding = Verdict.INCONCLUSIVE, "slower, not confirmed"
        rows.append(
            Row(
                quantity=name,
                verdict=verdict,
                finding=finding,
                low=min(ratios),
                high=max(ratios),
                seeds=len(ratios),
                decides=True,
            )
        )
    cell = CellComparison(
        name="seconds of the fastest round",
        verdict=gravest(row.verdict for row in rows),
        notes=() if in_turns else ("runs of BASE and HEAD were not taken in turns",),
        rows=tuple(rows),
    )
    again = "once more each, in turns, and then compare two folders of files"
    unsure = cell.verdict == Verdict.INCONCLUSIVE
    return Comparison(
        cells=(cell,), notes=(), commands=(again,) if unsure else (), verdict=cell.verdict
    )


def read_timing(document: Mapping[str, Any]) -> Timing:
    """One file of pytest-benchmark; raises KbenchError where it is none."""
    try:
        machine = document["machine_info"]
        seconds = {str(b["fullname"]): float(b["stats"]["min"]) for b in document["benchmarks"]}
        if not all(0 < s < math.inf for s in seconds.values()):
            raise ValueError("a time that is none")
        return Timing(
            began=str(document["datetime"]),
            machine=(
                str(machine["node"]),
                str(machine["cpu"].get("brand_raw")),
                str(machine["python_version"]),
            ),
            seconds=seconds,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KbenchError(
            f"not a file of pytest-benchmark: {type(error).__name__}: {error}"
        ) from None
