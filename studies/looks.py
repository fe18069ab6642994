"""Seeds added where a verdict is open: how often the looks together err, and what they decide.

A cell is looked at after so many seeds, and gets more until its verdict stands or the last look is
over. Each look has the same confidence; every additional one is another chance to be wrong, so it
must be above 95 % for all looks together to err at most once in twenty. Cells are drawn as in
`simulated.py`. The second table is about `isolated`: an interval inside 1/margin to margin.

    python studies/looks.py
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
from simulated import Setting, drawn

from kbench.statistics.profile import intervals

SCHEMES = ((5,), (12,), (4, 6, 9, 12), (5, 8, 12), (6, 9, 12))
CONFIDENCES = (0.96, 0.985, 0.99)
MARGINS = (1.25, 1.5, 1.75, 2.0)
CASES = {
    "spread 0.25": Setting(spread=0.25),
    "spread 0.5": Setting(),
    "spread 1": Setting(spread=1.0),
    "heavy tails": Setting(distribution="heavy"),
    "skewed": Setting(distribution="skewed left"),
    "noise 0.3": Setting(noise=0.3, spread=0.25),
    "brackets of 2": Setting(ratio=2.0, spread=0.25),
    "right 0.3": Setting(right=0.3),
    "right 0.6": Setting(right=0.6),
    "left 0.3": Setting(left=0.3),
}


def looked(setting: Setting, draws: int, confidence: float, counts: tuple[int, ...]) -> dict:
    """Lower and upper ends after so many seeds, by count."""
    low, high = drawn(replace(setting, seeds=12), draws, seed=1)
    return {n: intervals(low[:, :n], high[:, :n], confidence)[::2] for n in counts}


def outcomes(
    ends: dict, scheme: tuple[int, ...], margin: float = 1.5
) -> tuple[np.ndarray, np.ndarray]:
    """Verdict (1 sharing, -1 interference, 2 isolated, 0 open) and seeds used, of each draw."""
    draws = len(next(iter(ends.values()))[0])
    verdict, used = np.zeros(draws, int), np.zeros(draws, int)
    for n in scheme:
        low, high = ends[n]
        inside = (low >= -math.log(margin)) & (high <= math.log(margin))
        found = np.where(low > 0, 1, np.where(high < 0, -1, np.where(inside, 2, 0)))
        is_open = verdict == 0
        verdict, used = np.where(is_open, found, verdict), np.where(is_open, n, used)
    return verdict, used


def row(case: str, confidence: float, draws: int) -> dict:
    """Of one case at one confidence: by scheme, what comes out at each κ."""
    counts = tuple(sorted({n for scheme in SCHEMES for n in scheme}))
    found = {}
    for kappa in (1.0, 2.0):
        ends = looked(replace(CASES[case], kappa=kappa), draws, confidence, counts)
        for scheme in SCHEMES:
            verdict, used = outcomes(ends, scheme)
            found[scheme, kappa] = (
                np.mean(abs(verdict) == 1), np.mean(verdict == 1), np.mean(verdict == -1),
                np.mean(verdict == 2), np.mean(used),
            )  # fmt: skip
            if scheme == (5, 8, 12) or len(scheme) == 1:
                for margin in MARGINS:
                    of = outcomes(ends, scheme, margin)[0]
                    found[scheme, kappa, margin] = np.mean(of == 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    tasks = [(case, confidence) for confidence in CONFIDENCES for case in CASES]
    with ProcessPoolExecutor(args.workers) as pool:
        rows = pool.map(row, *zip(*tasks, strict=True), [args.draws] * len(tasks))
        found = dict(zip(tasks, rows, strict=True))
    print("| looks | confidence | most wrong at κ = 1 | in | mean wrong | decided at κ = 2 | "
          "seeds at κ = 1 | at 2 |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for scheme in SCHEMES:
        for confidence in CONFIDENCES:
            of = {case: found[case, confidence] for case in CASES}
            wrong = {case: f[scheme, 1.0][0] for case, f in of.items()}
            worst = max(wrong, key=wrong.__getitem__)
            mean = {k: np.mean([f[scheme, k] for f in of.values()], axis=0) for k in (1.0, 2.0)}
            looks = ", ".join(map(str, scheme))
            print(
                f"| {looks} | {confidence:.1%} | {wrong[worst]:.1%} | {worst} "
                f"| {np.mean([*wrong.values()]):.1%} | {mean[2.0][1]:.0%} "
                f"| {mean[1.0][4]:.1f} | {mean[2.0][4]:.1f} |"
            )
    print("\nShare `isolated`, at κ = 1 and (wrongly) at κ = 2, by margin:\n")
    print("| seeds | confidence | case |", " | ".join(f"×/÷ {m}" for m in MARGINS), "|")
    print("|" + "---|" * (3 + len(MARGINS)))
    for scheme, confidence in (((5,), 0.96), ((12,), 0.96), ((5, 8, 12), 0.985)):
        for case in ("spread 0.25", "spread 0.5", "noise 0.3", "brackets of 2"):
            f = found[case, confidence]
            cells = [f"{f[scheme, 1.0, m]:.0%}, {f[scheme, 2.0, m]:.1%}" for m in MARGINS]
            print(f"| {', '.join(map(str, scheme))} | {confidence:.1%} | {case} |",
                  " | ".join(cells), "|")  # fmt: skip


if __name__ == "__main__":
    main()
