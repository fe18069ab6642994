"""Does N* hang on the budget of steps? The same searches at a half, one and two budgets.

Each cell (model, supervision) is trained on modular addition, m = 5, lengths 2 to 5 together, with
the two recipes of `quick-2` for up to 8,000 steps, no run given up early: from all samples there
are down a grid of ratio 1.6, until two sizes in a row fail. No schedule depends on the budget, so
what a shorter budget finds follows from the step at which a run passed. Runs go into
`budgets.jsonl`, each as it ends: broken off, the same command resumes.

    python studies/budgets.py run       # about two core-hours, on two workers of one thread
    python studies/budgets.py table     # the table of docs/recipes.md
"""

import argparse
import json
import math
import multiprocessing
import signal
import statistics
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import recipes
from recipes import Run

FILE = Path(__file__).with_name("budgets.jsonl")
MODELS = ("lstm", "transformer", "dense-ssm", "mamba", "gru", "deltanet")
RECIPES = ("warm-decay-0.1-0.003", "warm-decay-0.1-0.001")
BUDGETS = (2000, 4000, 8000)
SIZES = (3120, 1845, 1153, 721, 450, 281, 176, 110, 69, 43, 27)
"""All training samples there are, and the sizes of `quick-2` below."""
TRAINING = replace(recipes.TRAINING, steps=BUDGETS[-1])
POINTS = 120
"""Of a curve that are kept: futility rules are tried on them."""


def wanted(cell: Run, known: dict[Run, dict]) -> list[Run]:
    """The size that comes next of this model, supervision and seed, with each recipe it needs.

    A recipe is skipped where one before it passes within half a budget: no budget needs it.
    """
    failed = 0
    for size in SIZES:
        passed = []
        for recipe in RECIPES:
            run = cell._replace(n_samples=size, recipe=recipe)
            if run not in known:
                return [run]
            if known[run]["outcome"] == "passed":
                passed.append(known[run]["steps"])
                if passed[-1] <= BUDGETS[0]:
                    break
        failed = 0 if passed else failed + 1
        if failed == 2:
            break
    return []


def cells(seeds: int) -> list[Run]:
    """Seed by seed, so that what is there is even."""
    return [
        Run("modadd", model, supervision, 0, "", seed)
        for seed, model, supervision in product(range(1, seeds + 1), MODELS, recipes.SUPERVISIONS)
    ]


def finished(cell: Run) -> list[dict]:
    """All rows of a cell that are missing."""
    known, rows = recipes.known(FILE), []
    while runs := wanted(cell, known):
        row = recipes.trained(runs[0], TRAINING, POINTS)
        known[runs[0]] = row
        with FILE.open("a") as file:  # a line is written at once, whoever else writes
            file.write(json.dumps(row) + "\n")
        rows.append(row)
    return rows


def n_star(cell: Run, budget: int, known: dict[Run, dict]) -> float:
    """The smallest size to pass next to one that fails; infinite where all there is fails."""
    found = math.inf
    for size in SIZES:
        rows = [known.get(cell._replace(n_samples=size, recipe=recipe)) for recipe in RECIPES]
        if not any(r and r["outcome"] == "passed" and r["steps"] <= budget for r in rows):
            break
        found = size
    return found


def table(known: dict[Run, dict]) -> None:
    """N* of each seed at each budget, and by how many sizes it moves."""
    print("| model | supervision |", " | ".join(f"{b:,} steps" for b in BUDGETS), "|")
    print("|---|---|" + "---|" * len(BUDGETS))
    moved: dict[tuple[int, int], list[float]] = defaultdict(list)
    done = [cell for cell in cells(9) if not wanted(cell, known)]
    by_cell = defaultdict(list)
    for cell in done:
        found = [n_star(cell, budget, known) for budget in BUDGETS]
        by_cell[cell.model, cell.supervision].append(found)
        for i in (0, 1):
            if math.isfinite(found[i + 1]):
                moved[BUDGETS[i], BUDGETS[i + 1]].append(found[i] / found[i + 1])
    for (model, supervision), seeds in by_cell.items():
        columns = (", ".join(f"{x:,.0f}" if x < math.inf else "–" for x in of)
                   for of in zip(*seeds, strict=True))  # fmt: skip
        print(f"| {model} | {supervision} |", " | ".join(columns), "|")
    for (short, long), ratios in moved.items():
        print(
            f"\nof {len(ratios)} searches that end within {long:,} steps, "
            f"{ratios.count(1)} end alike "
            f"with {short:,}, {ratios.count(math.inf)} not at all; the median ratio is "
            f"{statistics.median(ratios):.3g}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("does", choices=("run", "table"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    known = recipes.known(FILE)
    if args.does == "table":
        table(known)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        left = [cell for cell in cells(args.seeds) if wanted(cell, known)]
        for i, _ in enumerate(pool.imap_unordered(finished, left), 1):
            print(f"{i} of {len(left)} searches have ended", flush=True)


if __name__ == "__main__":
    main()
