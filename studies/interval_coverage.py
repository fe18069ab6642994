"""How often the interval over seeds holds a known κ, and how often a verdict is wrong.

Cells are drawn and measured as in `simulated.py`. Every setting below differs from one base, alone
or, in the second table, in all ways at once (drawn from all combinations). About eight minutes on
two cores.

    python studies/interval_coverage.py > coverage.txt
"""

import argparse
import itertools
import math
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
from simulated import Setting, drawn

from kbench.protocol import CONFIDENCE
from kbench.statistics import profile

SEEDS = (3, 5, 6, 8, 12)
DISTRIBUTIONS = ("normal", "heavy", "skewed", "skewed left")
ALONE = (
    [{"distribution": d, "spread": s} for d in DISTRIBUTIONS for s in (0.25, 0.5, 1.0)]
    + [{"ratio": ratio} for ratio in (1.2, 2.0)]
    + [{"ratio": 2.0, "spread": 0.25}]
    + [{side: share} for side in ("right", "left") for share in (0.3, 0.6)]
    + [{"together": 0.5}, {"noise": 0.0}, {"noise": 0.3}, {"near": True}]
    + [{"kappa": kappa} for kappa in (0.5, 2.0, 4.0)]
)
FACTORS = {
    "kappa": (1.0, 0.5, 2.0, 4.0),
    "distribution": DISTRIBUTIONS,
    "spread": (0.25, 0.5, 1.0),
    "ratio": (1.2, 1.35, 2.0),
    "censored": ({}, {"right": 0.3}, {"right": 0.6}, {"left": 0.3}, {"left": 0.6}),
    "together": (0.0, 0.5),
    "noise": (0.0, 0.1, 0.3),
    "near": (False, True),
    "seeds": SEEDS[1:],
}


def figures(setting: Setting, draws: int, confidence: float) -> dict[str, float]:
    """Of the intervals and verdicts over many draws."""
    low, high = drawn(setting, draws)
    first, _, last = profile.intervals(low, high, confidence)
    truth = math.log(setting.kappa)
    sharing, interference = first > 0, last < 0
    wrong = {1.0: sharing | interference}.get(
        setting.kappa, sharing if setting.kappa < 1 else interference
    )
    return {
        "coverage": float(np.mean((first <= truth) & (truth <= last))),
        "wrong": float(np.mean(wrong)),
        "decided": float(np.mean(sharing | interference)),
        "width": float(np.exp(np.median(last - first))),
    }


def mixed(count: int) -> list[Setting]:
    """Some of all combinations, the same every time."""
    every = list(itertools.product(*FACTORS.values()))
    chosen = random.Random(0).sample(every, count)
    settings = []
    for values in chosen:
        named = dict(zip(FACTORS, values, strict=True))
        settings.append(Setting(**named.pop("censored"), **named))
    return sorted(settings, key=lambda s: (s.seeds, s.name()))


def lines(
    settings: list[Setting], draws: int, workers: int, confidence: float
) -> list[dict[str, float]]:
    """The figures of each, printed as they come."""
    found, many = [], len(settings)
    print("| seeds | setting | coverage | wrong verdicts | decided | median width |")
    print("|---|---|---|---|---|---|")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        results = pool.map(figures, settings, [draws] * many, [confidence] * many)
        for setting, of in zip(settings, results, strict=True):
            print(
                f"| {setting.seeds} | {setting.name()} | {of['coverage']:.1%} | {of['wrong']:.1%} "
                f"| {of['decided']:.1%} | {of['width']:.3g} |",
                flush=True,
            )
            found.append(of)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--mixed", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--confidence", type=float, default=CONFIDENCE)
    parser.add_argument("--floor", type=float, help="in place of profile.ONE_SEED")
    parser.add_argument("--only", default="", help="settings with this in their name")
    args = parser.parse_args()
    if args.floor is not None:
        profile.ONE_SEED = args.floor  # the pool's processes are forked from here
    base = [replace(Setting(**of), seeds=n) for of in ALONE for n in SEEDS]
    base = [setting for setting in base if args.only in setting.name()]
    settings = [*base, *mixed(args.mixed)]
    found = lines(base, args.draws, args.workers, args.confidence)
    if args.mixed:
        print("\nIn all ways at once:\n")
        found += lines(settings[len(base) :], args.draws, args.workers, args.confidence)
    held = [(s, f) for s, f in zip(settings, found, strict=True) if s.seeds >= 5]
    below = [(s, f) for s, f in held if f["coverage"] < 0.93]
    wrong = [(s, f) for s, f in held if s.kappa == 1 and f["wrong"] > 0.05]
    print(
        f"\n{len(held)} settings with at least 5 seeds, {args.draws} draws each, "
        f"intervals of {args.confidence:.0%}."
    )
    print(f"Least coverage {min(f['coverage'] for _, f in held):.1%}; below 93 %:")
    print(*(f"- {s.seeds} seeds, {s.name()}: {f['coverage']:.1%}" for s, f in below), sep="\n")
    most = max((f["wrong"] for s, f in held if s.kappa == 1), default=0.0)
    print(f"Most wrong verdicts at κ = 1: {most:.1%}; above 5 %:")
    print(*(f"- {s.seeds} seeds, {s.name()}: {f['wrong']:.1%}" for s, f in wrong), sep="\n")


if __name__ == "__main__":
    main()
