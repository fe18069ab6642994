"""How fine a grid and how many seeds decide most for their cost; and one run a seed, up and down.

Cells of κ = 2 are drawn as in `simulated.py` and searched with kbench's own path, audit included. A
run costs a share of the step budget: one that passes far above N* little, one that fails far below
it is stopped for futility, and those nearest to N* take longest; a failing size costs as many runs
as there are recipes. The second table is about N* of one search alone: brackets against the
up-and-down design (Dixon and Mood, JASA 43, 1948, 109), one run a seed, one size lower after a pass
and one higher after a failure, whose seeds each bound N* on one side.

    python studies/resolution.py
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from simulated import START, Setting, centres, drawn, needed

from kbench.protocol import CONFIDENCE
from kbench.statistics.brackets import bracket_path, size_grid
from kbench.statistics.profile import intervals

RATIOS, SEEDS, SPREADS = (1.2, 1.35, 1.6, 2.0), (3, 5, 6, 8, 12), (0.25, 0.35, 0.5)
RECIPES = 2
NEAR = 0.3
"""How far from N*, in ln N, runs take longer."""


def cost(size: float, threshold: float, passes: bool) -> float:
    """Of one size, in budgets: 0.1 for a pass far above N*, 0.3 a run for a failure far below."""
    near = math.exp(-abs(math.log(size / threshold)) / NEAR)
    return 0.1 + 0.9 * near if passes else RECIPES * (0.3 + 0.7 * near)


def searched(grid: tuple[int, ...], threshold: float, guess: float) -> tuple[int, int, float]:
    """The bracket, and what it costs, without run noise."""
    path, spent = bracket_path(grid, guess), 0.0
    try:
        size = next(path)
        while True:
            spent += cost(size, threshold, size >= threshold)
            size = path.send(size >= threshold)
    except StopIteration as end:
        return end.value.floor, end.value.high, spent


def cell_cost(setting: Setting, draws: int = 300) -> float:
    """Budgets that one cell's searches take, the first seed's from a guess 2 times too high."""
    rng = np.random.default_rng(5)
    alone, joint = needed(rng, setting, (draws, setting.seeds))
    grid, middles = size_grid(setting.ratio, 100_000), np.exp(centres())
    total = middles.sum() / setting.kappa
    spent = 0.0
    for d in range(draws):
        thresholds = np.concatenate([alone[d], total * np.exp(joint[d])[:, None]], axis=1)
        for i, centre in enumerate((*middles, total)):
            guess = 2 * centre
            for threshold in thresholds[:, i]:
                _, high, run = searched(grid, threshold, guess)
                spent += run
                guess = high if guess == 2 * centre else guess
    return spent / draws


def decided(setting: Setting, draws: int) -> tuple[float, float]:
    """Share of cells found to share, and the cost of one."""
    low, high = drawn(setting, draws, seed=2)
    first, _, _ = intervals(low, high, CONFIDENCE)
    return float(np.mean(first > 0)), cell_cost(setting)


def brackets_of_one(
    spread: float, ratio: float, seeds: int, draws: int = 400
) -> tuple[float, float]:
    """Median width of the interval of N*, as a ratio, and its cost."""
    rng, grid = np.random.default_rng(6), size_grid(ratio, 100_000)
    thresholds = 300 * np.exp(spread * rng.standard_normal((draws, seeds)))
    found = [[searched(grid, t, 300 * START) for t in of] for of in thresholds]
    low, high = (np.log([[one[k] for one in of] for of in found]) for k in (0, 1))
    return _summary(low, high, [sum(one[2] for one in of) for of in found])


def up_and_down(spread: float, ratio: float, seeds: int, draws: int = 400) -> tuple[float, float]:
    """The same, of one run a seed."""
    rng, grid = np.random.default_rng(7), size_grid(ratio, 100_000)
    low, high = np.full((draws, seeds), -np.inf), np.full((draws, seeds), np.inf)
    spent = np.zeros(draws)
    for d in range(draws):
        at = next(i for i, size in enumerate(grid) if size > 300 * START)
        for s in range(seeds):
            threshold, size = 300 * math.exp(spread * rng.standard_normal()), grid[at]
            passes = size >= threshold
            spent[d] += cost(size, threshold, passes)
            (high if passes else low)[d, s] = math.log(size)
            at = max(at - 1, 0) if passes else at + 1
    return _summary(low, high, spent)


def _summary(low: np.ndarray, high: np.ndarray, spent) -> tuple[float, float]:
    first, _, last = intervals(low, high, CONFIDENCE)
    return float(np.exp(np.median(last - first))), float(np.mean(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    settings = [
        Setting(kappa=2.0, ratio=ratio, seeds=n, spread=spread)
        for spread in SPREADS for ratio in RATIOS for n in SEEDS
    ]  # fmt: skip
    with ProcessPoolExecutor(args.workers) as pool:
        found = dict(
            zip(settings, pool.map(decided, settings, [args.draws] * len(settings)), strict=True)
        )
    print("Cells of κ = 2 found to share, and in brackets how many of those 100 budgets buy\n")
    print("| spread | ratio |", " | ".join(f"{n} seeds" for n in SEEDS), "|")
    print("|" + "---|" * (2 + len(SEEDS)))
    for spread in SPREADS:
        for ratio in RATIOS:
            row = []
            for n in SEEDS:
                share, spent = found[Setting(kappa=2.0, ratio=ratio, seeds=n, spread=spread)]
                row.append(f"{share:.0%} ({100 * share / spent:.1f})")
            print(f"| {spread} | {ratio} |", " | ".join(row), "|")
    print("\nN* of one search, spread 0.35: width of its interval, high / low, and budgets spent\n")
    print("| | ratio |", " | ".join(f"{n} seeds" for n in (6, 12, 24, 48)), "|")
    print("|---|---|---|---|---|---|")
    for name, design in (("brackets", brackets_of_one), ("up and down", up_and_down)):
        for ratio in (1.35, 1.6):
            cells = [design(0.35, ratio, n) for n in (6, 12, 24, 48)]
            shown = [f"{w:.2f}, {c:.0f}" if w < 1000 else f"–, {c:.0f}" for w, c in cells]
            print(f"| {name} | {ratio} |", " | ".join(shown), "|")


if __name__ == "__main__":
    main()
