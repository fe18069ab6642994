"""Is HEAD what BASE was? Two sets of results against each other: pure, no torch and no files.

First by digest: a trial that came out bit for bit the same is the same, and equal specs must have
had equal data. Where digests differ, by the ratio head / base of N*, κ and the steps that a passing
run takes, paired by seed, against a tolerance: shown to lie within it, beyond it, or neither.
"""

import enum
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kbench.regression import TOLERANCE
from kbench.regression.measured import Measured, Which
from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval, real_interval
from kbench.statistics.sharing import sharing_bounds

ALPHA = 0.05
"""Chance of any alarm in a whole comparison whose ratios all lie at the edge of the tolerance."""
UNIFORM = math.sqrt(12)
"""Width of a uniform distribution, in its standard deviations."""
JUDGED_EVERY = 10
"""Steps between the validations of a run, at the least: its number of steps is known to that."""


class Verdict(enum.IntEnum):
    """The exit code of `kbench compare`. 2 is bad input, as for every command."""

    SAME = 0
    REGRESSION = 1
    INCONCLUSIVE = 3
    BROKEN = 4


GRAVITY = (Verdict.SAME, Verdict.INCONCLUSIVE, Verdict.REGRESSION, Verdict.BROKEN)


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """The one that decides over all of them."""
    return max(verdicts, key=GRAVITY.index, default=Verdict.SAME)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One quantity: the ratio head / base, and what it says."""

    quantity: str
    verdict: Verdict
    finding: str
    low: float
    """Of the 95 % interval."""
    high: float
    seeds: int
    decides: bool
    """Must it be shown to lie within the tolerance? A single length need not be: it can only give
    alarm, and all lengths together are what has to stay the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellComparison:
    """One cell on both sides."""

    name: str
    verdict: Verdict
    notes: tuple[str, ...]
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All cells, and what to do where seeds are too few."""

    cells: tuple[CellComparison, ...]
    notes: tuple[str, ...]
    commands: tuple[str, ...]
    verdict: Verdict


class Reading(NamedTuple):
    """The logarithm of a quantity, or of a ratio, for one seed: the bounds between which it lies.

    Where both are known, `blur` is what rounding to brackets leaves of a ratio, as a standard
    deviation: brackets on one grid round alike, so that their bounds would say far too little.
    """

    low: float
    high: float
    middle: float | None
    """None where a bound is infinite."""
    blur: float = 0.0

    @property
    def is_open(self) -> bool:
        """Does it say nothing at all?"""
        return self.low == -math.inf and self.high == math.inf


def compare(
    base: Sequence[Measured], head: Sequence[Measured], tolerance: float = TOLERANCE
) -> Comparison:
    """Every cell that both sides have; one that only the base has is broken."""
    bases, heads = ({cell.identity: cell for cell in side} for side in (base, head))
    common = [identity for identity in bases if identity in heads]
    notes = [f"only HEAD has {heads[i].name}" for i in heads if i not in bases]
    if not common:
        return Comparison(
            cells=(),
            notes=(_nothing_in_common(base, head), *notes),
            commands=(),
            verdict=Verdict.BROKEN,
        )
    pairs = [(bases[i], heads[i]) for i in common]
    drafts = [_by_digest(b, h) for b, h in pairs]
    ratios = [
        _ratios(b, h) if draft is None else {} for (b, h), draft in zip(pairs, drafts, strict=True)
    ]
    count = sum(map(len, ratios))
    cells, commands = [], []
    for (b, h), draft, of in zip(pairs, drafts, ratios, strict=True):
        cell = draft or _by_statistics(b, h, of, count, tolerance)
        cells.append(cell)
        if cell.verdict == Verdict.INCONCLUSIVE:
            commands.append(f"{b.command} --seeds {2 * max(len(b.seeds), len(h.seeds))}")
    cells += [
        CellComparison(name=bases[i].name, verdict=Verdict.BROKEN, notes=("HEAD lacks it",))
        for i in bases
        if i not in heads
    ]
    return Comparison(
        cells=tuple(cells),
        notes=tuple(notes),
        commands=tuple(dict.fromkeys(commands)),
        verdict=gravest(cell.verdict for cell in cells),
    )


def _nothing_in_common(base: Sequence[Measured], head: Sequence[Measured]) -> str:
    """With what would have to be equal, where that is one thing."""
    for b, h in itertools.product(base, head):
        unlike = [pair for pair in zip(b.identity, h.identity, strict=True) if pair[0] != pair[1]]
        if len(unlike) == 1:
            return f"no cell in common: {unlike[0][0]} against {unlike[0][1]}"
    return "no cell in common"


def _by_digest(base: Measured, head: Measured) -> CellComparison | None:
    """What can be said without statistics; None where behaviour changed."""

    def draft(verdict: Verdict, *notes: str) -> CellComparison:
        return CellComparison(name=base.name, verdict=verdict, notes=notes)

    problems = [
        f"{side}: {problem}"
        for side, of in (("BASE", base), ("HEAD", head))
        for problem in of.problems
    ]
    for name, was in base.versions.items():
        # A number is raised on purpose; the digest of somebody's own class changes by itself.
        if was != (now := head.versions[name]) and not (
            isinstance(was, str) and isinstance(now, str)
        ):
            problems.append(f"version {was} of the {name} against {now}: not the same measurement")
    seeds = {*base.seeds} & {*head.seeds}
    if not seeds:
        problems.append("no seed in common")
    unchanged_source = base.versions == head.versions
    both = [
        (which, base.trials[which], head.trials[which])
        for which in base.trials
        if which in head.trials
    ]
    if unchanged_source and (base.size != head.size or any(b.key != h.key for _, b, h in both)):
        problems.append("one name and version, but two specs of model or protocol")
    if problems:
        return draft(Verdict.BROKEN, *problems)
    same_task = base.versions["task"] == head.versions["task"]
    moved = [which for which, b, h in both if same_task and b.data_sha256 != h.data_sha256]
    if moved:
        return draft(
            Verdict.REGRESSION,
            f"data changed: {len(moved)} of {len(both)} trials with equal specs had other data, "
            f"first {_trial_name(moved[0])}",
        )
    asked = [{w for w in side.trials if w.seed in seeds} for side in (base, head)]
    if both and asked[0] == asked[1] and all(b.digest == h.digest for _, b, h in both):
        return draft(Verdict.SAME, f"all {len(both)} trials bit for bit the same")
    if not both and unchanged_source and base.digest == head.digest:
        return draft(Verdict.SAME, "all trials bit for bit the same")
    return None


def _trial_name(which: Which) -> str:
    lengths = "+".join(map(str, which.lengths))
    return f"lengths {lengths}, seed {which.seed}, N = {which.n_samples}"


def _ratios(base: Measured, head: Measured) -> dict[str, list[Reading]]:
    """log head / base by quantity, one reading for each seed that both sides have."""
    seeds = [seed for seed in base.seeds if seed in head.n_star["joint"]]
    lengths = [name for name in base.n_star if name != "joint"]

    def of(length: str) -> list[Reading]:
        return [
            _minus(_n_star(head.n_star[length][s]), _n_star(base.n_star[length][s])) for s in seeds
        ]

    found = {f"N* n = {n}": of(n) for n in lengths}
    if lengths:
        found["N* alone"] = [_mean(ratios) for ratios in zip(*found.values(), strict=True)]
    found["N* joint"] = of("joint")
    if lengths:
        found["κ"] = [_minus(_kappa(head, s), _kappa(base, s)) for s in seeds]
    if steps := [reading for s in seeds if (reading := _steps(base, head, s))]:
        found["steps"] = steps
    return found


def _n_star(bracket: Bracket) -> Reading:
    if bracket.high is None or bracket.middle is None:
        return Reading(math.log(bracket.floor), math.inf, None)
    low, high = math.log(bracket.floor), math.log(bracket.high)
    return Reading(low, high, math.log(bracket.middle), (high - low) / UNIFORM)


def _kappa(side: Measured, seed: int) -> Reading:
    """log κ_s: its bounds, and what brackets leave of its middle."""
    joint = side.n_star["joint"][seed]
    alone = [of[seed] for length, of in side.n_star.items() if length != "joint"]
    bounds = sharing_bounds(alone, joint)
    low = -math.inf if bounds.low is None else math.log(bounds.low)
    high = math.inf if bounds.high is None else math.log(bounds.high)
    middles = [b.middle for b in alone if b.middle is not None]
    if joint.middle is None or len(middles) < len(alone):
        return Reading(low, high, None)
    total = math.fsum(middles)
    parts = [m / total * _n_star(b).blur for m, b in zip(middles, alone, strict=True)]
    spread = math.hypot(_n_star(joint).blur, *parts)
    return Reading(low, high, math.log(total / joint.middle), spread)


def _minus(head: Reading, base: Reading) -> Reading:
    """The logarithm of a ratio: a point where both sides are known, else bounds."""
    if head.middle is None or base.middle is None:
        return Reading(head.low - base.high, head.high - base.low, None)
    ratio = head.middle - base.middle
    return Reading(ratio, ratio, ratio, math.hypot(head.blur, base.blur))


def _mean(ratios: Sequence[Reading]) -> Reading:
    """Over lengths, but for those that say nothing."""
    said = [r for r in ratios if not r.is_open] or ratios[:1]
    low, high = (
        math.fsum(bounds) / len(said) for bounds in zip(*(r[:2] for r in said), strict=True)
    )
    middle = low if low == high else None
    return Reading(low, high, middle, math.hypot(*(r.blur for r in said)) / len(said))


def _steps(base: Measured, head: Measured, seed: int) -> Reading | None:
    """Mean over the seed's trials that pass on both sides: a change shows here long before N*."""
    pairs = [
        (was.steps, head.trials[which].steps)
        for which, was in base.trials.items()
        if which.seed == seed and which in head.trials
        if was.outcome == head.trials[which].outcome == "passed"
    ]
    if not pairs:
        return None
    mean = math.fsum(math.log(now / was) for was, now in pairs) / len(pairs)
    unsure = math.fsum(math.hypot(JUDGED_EVERY / was, JUDGED_EVERY / now) for was, now in pairs)
    return Reading(mean, mean, mean, unsure / len(pairs) / UNIFORM)


def interval(ratios: Sequence[Reading], confidence: float) -> tuple[float, float]:
    """Of the median log ratio over seeds; infinite where there is no bound, or a single seed.

    A ratio of two brackets lies as far around its middle as their rounding, put together, leaves
    it. A seed that is only bounded stands at its bound, for the end of the interval to which that
    bound applies; the other end is infinite. Seeds that say nothing are left to the caller.
    """
    reach = [UNIFORM / 2 * r.blur for r in ratios]
    low = _end([r.low for r in ratios], reach, confidence).low
    high = _end([r.high for r in ratios], reach, confidence).high
    return -math.inf if low is None else low, math.inf if high is None else high


def _end(bounds: Sequence[float], reach: Sequence[float], confidence: float) -> Interval:
    """Of values that are known but for their rounding; nothing where one is infinite."""
    if math.inf in map(abs, bounds):
        return Interval(low=None, high=None)
    around = list(zip(bounds, reach, strict=True))
    return real_interval([x - r for x, r in around], [x + r for x, r in around], confidence)


WORDS = {"κ": ("better", "worse")}
"""What a larger and a smaller ratio are called. Either is an alarm: what looks like progress that
nobody has worked for is what a leak of validation data looks like."""


def judge(
    quantity: str, ratios: Sequence[Reading], count: int, tolerance: float = TOLERANCE
) -> Row:
    """What the seeds say of one quantity, in a comparison of `count` of them.

    An alarm needs an interval of confidence 1 - ALPHA / count (Bonferroni) beyond the tolerance.
    To be the same takes a 95 % interval within it, for every quantity that decides: as all of them
    must hold at once, that needs no correction.
    """
    telling = [r for r in ratios if not r.is_open]
    larger, smaller = WORDS.get(quantity, ("worse", "better"))
    low, high = interval(telling, 0.95)
    widest = interval(telling, 1 - ALPHA / count)
    limit = math.log(tolerance)
    decides = not quantity.startswith("N* n")
    if not telling:
        verdict, finding = Verdict.SAME, "beyond the largest N on both sides"
    elif widest[0] > limit:
        verdict, finding = Verdict.REGRESSION, larger
    elif widest[1] < -limit:
        verdict, finding = Verdict.REGRESSION, smaller
    elif -limit <= low and high <= limit:
        verdict, finding = Verdict.SAME, "same"
    else:
        verdict = Verdict.INCONCLUSIVE if decides else Verdict.SAME
        finding = "inconclusive" if decides else "no alarm"
    if telling and len(telling) < len(ratios):
        finding += f" ({len(ratios) - len(telling)} of {len(ratios)} seeds beyond the largest N "
        finding += "on both sides)"
    return Row(
        quantity=quantity,
        verdict=verdict,
        finding=finding,
        low=_exp(low),
        high=_exp(high),
        seeds=len(telling),
        decides=decides,
    )


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)


def _by_statistics(
    base: Measured,
    head: Measured,
    ratios: Mapping[str, Sequence[Reading]],
    count: int,
    tolerance: float,
) -> CellComparison:
    rows = tuple(judge(quantity, of, count, tolerance) for quantity, of in ratios.items())
    both = [which for which in base.trials if which in head.trials]
    changed = sum(base.trials[w].digest != head.trials[w].digest for w in both)
    of_those = f" in {changed} of {len(both)} trials that both sides have" if both else ""
    notes = [f"behaviour changed{of_those}"]
    for name in ("model_source", "task_source", "torch", "numpy", "machine", "device", "threads"):
        was, now = base.environment.get(name), head.environment.get(name)
        if was != now:
            source = name.endswith("source")
            notes.append(f"{name.replace('_', ' ')} differs" if source else f"{name} {was} → {now}")
    if base.seeds != head.seeds:
        common = len({*base.seeds} & {*head.seeds})
        notes.append(f"{common} seeds in common, of {len(base.seeds)} and {len(head.seeds)}")
    return CellComparison(
        name=base.name,
        verdict=gravest(row.verdict for row in rows),
        notes=tuple(notes),
        rows=rows,
    )
