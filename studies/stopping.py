"""Budgets and the futility stop, by the runs of the recipe study, none of which was given up.

    python studies/stopping.py adam-0.003 warm-0.001      # of runs with these recipes; seconds

The rule is chosen on the runs of stage 1 and reported on those of the other stages. Curves are kept
at every second validation, about every 110 steps, so that a patience is one of steps to within so
many.
"""

import argparse
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recipes import CANDIDATES, FILE, PLENTY, TRAINING, known
from scipy.stats import beta

from kbench.protocol import FarOff, Futility

NEAR = FILE.with_name("budgets.jsonl")
"""Runs at sizes down to N* and below."""
BUDGETS = (4000, 8000)
LONG_PATIENCES = (900, 1800, 3600)
EPS = TRAINING.eps
PATIENCES = (150, 200, 300, 450, 600, 900)
SLACKS = (1.0, 2.0, 3.0)
MOST_LOST = 0.01
"""Of the passes, by the rule; the upper end of their 95 % interval may be three times that."""


@dataclass(frozen=True)
class Ended:
    """How a run ends under a rule."""

    steps: int
    passed: bool
    failure: str | None


def ended(curve: list[list[float]], rule: Futility | None, budget: int) -> Ended:
    """As `kbench.training.member` decides it, from step, validation and training loss."""
    best_at: list[tuple[int, float, float]] = []
    best = fit_best = math.inf
    not_by_heart = not_far_off = 0
    far_off = rule.far_off if rule else None
    for i, (step, loss, fit) in enumerate(curve):
        if step > budget:
            break
        best, fit_best = min(best, loss), min(fit_best, fit)
        best_at.append((step, best, fit_best))
        if fit >= loss / 2:
            not_by_heart = step
        if far_off and (fit >= far_off.by_heart * loss or best <= far_off.loss):
            not_far_off = step
        if loss < EPS:
            return Ended(step, True, None)
        start = step - rule.patience if rule else -1
        if rule and not_by_heart <= start and best_at[0][0] <= start:
            foreseen = [
                _extrapolated(best_at, rule.patience, *of, budget)
                for of in ((1, rule.slack), (2, 1.0))
            ]
            if foreseen[0] > math.log(EPS):
                memorised = fit_best < EPS or foreseen[1] < math.log(EPS)
                return Ended(step, False, "memorised" if memorised else "unfit")
        if rule and far_off and not_far_off <= step - far_off.patience:
            lately, before = (
                [of for at, of, _ in curve[: i + 1] if end - far_off.patience < at <= end]
                for end in (step, step - far_off.patience)
            )
            fall = min(math.log(min(lately) / min(before)), 0) if before else -math.inf
            pace = rule.slack * fall / far_off.patience
            if math.log(min(lately)) + pace * (budget - step) > math.log(EPS):
                fits = _extrapolated(best_at, rule.shortest, 2, 1.0, budget) < math.log(EPS)
                memorised = fit_best < EPS or fits
                return Ended(step, False, "memorised" if memorised else "unfit")
    return Ended(best_at[-1][0], False, "memorised" if fit_best < EPS else "unfit")


def _extrapolated(
    best_at: list[tuple[int, float, float]], patience: int, which: int, slack: float, budget: int
) -> float:
    """Log of the least loss by the end of the budget, at `slack` times the pace of late."""
    step = best_at[-1][0]
    then = [row for row in best_at if row[0] <= step - patience][-1]
    now = best_at[-1][which]
    pace = math.log(now / then[which]) / (step - then[0])
    return math.log(now) + slack * pace * (budget - step)


def upper(lost: int, passes: int) -> float:
    """Of the share of passes lost, the end of the 95 % interval (Clopper and Pearson 1934)."""
    return float(beta.ppf(0.975, lost + 1, passes - lost)) if passes > lost else 1.0


@dataclass(frozen=True)
class Tally:
    """What a rule does to some runs."""

    passes: int
    lost: int
    used: float
    """Of the failing runs' steps."""
    reasons_kept: float
    """Share of failing runs that end for the same reason as without it."""


def tally(rows: Iterable[dict], rule: Futility | None, budget: int) -> Tally:
    """Over runs that were not given up."""
    passes = lost = used = full = kept = failing = 0
    for row in rows:
        whole, cut = ended(row["curve"], None, budget), ended(row["curve"], rule, budget)
        if whole.passed:
            passes += 1
            lost += not cut.passed
        else:
            failing += 1
            kept += whole.failure == cut.failure
            used, full = used + cut.steps, full + whole.steps
    return Tally(passes, lost, used / max(full, 1), kept / max(failing, 1))


def rules() -> Iterator[Futility]:
    for patience in PATIENCES:
        for slack in SLACKS:
            yield Futility(patience=patience, slack=slack)
    for by_heart in (0.1, 0.03, 0.01):
        for loss in (0.1, 0.3, 1.0):
            for patience in (200, 300, 450):
                far_off = FarOff(patience=patience, loss=loss, by_heart=by_heart)
                yield Futility(patience=900, slack=2.0, far_off=far_off)


def name_of(rule: Futility) -> str:
    """`900, 2`, or with far_off `900, 2; 300, 0.3, 0.1`: its patience, loss and by_heart."""
    far = rule.far_off
    more = f"; {far.patience}, {far.loss:g}, {far.by_heart:g}" if far else ""
    return f"{rule.patience}, {rule.slack:g}{more}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="*", choices=[*CANDIDATES, []], help="default: all")
    recipes = parser.parse_args().recipe or list(CANDIDATES)
    rows = [
        row
        for run, row in known().items()
        if run.recipe in recipes and row["failure"] != "diverged" and row["curve"]
    ]
    first = [row for row in rows if (row["task"], row["n_samples"]) == ("modadd", PLENTY)]
    others = [row for row in rows if row not in first]
    few = [row for row in others if row["n_samples"] < PLENTY]
    print(f"{len(rows):,} runs of {', '.join(recipes)}\n")
    print("| patience, slack | passes lost, stage 1 | other stages (≤) | steps of failing runs | "
          "with few samples | reasons as without |\n|---|---|---|---|---|---|")  # fmt: skip
    for rule in rules():
        chosen, held = tally(first, rule, TRAINING.steps), tally(others, rule, TRAINING.steps)
        print(
            f"| {name_of(rule)} | {chosen.lost} of {chosen.passes} "
            f"| {held.lost} of {held.passes} ({upper(held.lost, held.passes):.1%}) "
            f"| {held.used:.0%} | {tally(few, rule, TRAINING.steps).used:.0%} "
            f"| {held.reasons_kept:.0%} |"
        )
    near = [row for row in known(NEAR).values() if row["curve"]]
    print(f"\n{len(near)} runs of the budget study, near N*\n")
    print("| budget | patience, slack | passes lost | steps of failing runs |\n|---|---|---|---|")
    far_off = FarOff(patience=300, loss=0.3, by_heart=0.1)
    for budget in BUDGETS:
        for patience in LONG_PATIENCES:
            for rule in (
                Futility(patience=patience, slack=2.0, far_off=far_off),
                Futility(patience=patience, slack=2.0),
            ):
                found = tally(near, rule, budget)
                lost = f"{found.lost} of {found.passes}"
                print(f"| {budget:,} | {name_of(rule)} | {lost} | {found.used:.0%} |")
    print("\n| budget | runs that pass within it | cells and seeds learned |\n|---|---|---|")
    for budget in (500, 1000, 1500, 2000, 3000, 4000):
        passing = [row for row in rows if ended(row["curve"], None, budget).passed]
        cells = {
            (row["task"], row["model"], row["supervision"], row["n_samples"], row["seed"])
            for row in passing
        }
        print(f"| {budget:,} | {len(passing):,} | {len(cells):,} |")


if __name__ == "__main__":
    main()
