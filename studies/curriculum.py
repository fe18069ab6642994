"""Does a curriculum over lengths change who learns?

The cells of the recipe study that at most one seed of five learns with either recipe of `quick-2`
(docs/recipes.md), trained again with short samples first: those of length 2 only for 500 steps, to
length 3 until step 1,000, to length 4 until step 1,500, then all. By numbers of steps, not by the
budget, so that a longer budget would repeat the shorter one. The training set and the validation
set are those of the recipe study. Runs go into `curriculum.jsonl`, each as it ends: broken off,
the same command resumes.

    python studies/curriculum.py run       # half an hour on one core
    python studies/curriculum.py table
"""

import argparse
import json
import multiprocessing
import signal
import sys
from pathlib import Path

import numpy as np
import recipes
import torch
from recipes import PLENTY, Run, summary

from kbench.data.supervision import IGNORE
from kbench.training import loop
from kbench.training.member import Member

FILE = Path(__file__).with_name("curriculum.jsonl")
RECIPES = ("warm-decay-0.1-0.003", "warm-decay-0.1-0.001")
CELLS = (
    ("transformer-rope", "aligned"), ("transformer-rope", "cot"), ("transformer-rope", "outcome"),
    ("transformer", "outcome"), ("lstm", "cot"), ("gru", "cot"), ("deltanet", "outcome"),
    ("deltanet", "aligned"), ("gru", "outcome"), ("lstm", "outcome"),
)  # fmt: skip
STAGE = 500
"""Steps until the next length joins."""


class Staged(Member):
    """Draws its batches from short samples first."""

    def next_batch(self) -> torch.Tensor:
        """As ever, of the samples that the stage has."""
        if self.steps % STAGE == 0 and self.steps <= STAGE * len(recipes.LENGTHS):
            self._epoch = iter(())
            ends = (self.train.targets != IGNORE).cumsum(1).argmax(1)
            rank = np.unique(ends, return_inverse=True)[1]  # 0 for the shortest
            self._allowed = np.flatnonzero(rank <= self.steps // STAGE)
        batch = next(self._epoch, None)
        if batch is None:
            order = torch.from_numpy(self._rng.permutation(self._allowed))
            size = min(self.batch_size, len(order))
            self._epoch = iter(order.split(size)[: len(order) // size])
            batch = next(self._epoch)
        return batch


def trained(run: Run) -> dict:
    """A run's row."""
    loop.Member = Staged  # type: ignore[misc]
    return recipes.trained(run)


def wanted(seeds: int) -> list[Run]:
    return [
        Run("modadd", model, supervision, PLENTY, recipe, seed)
        for seed in range(1, seeds + 1)
        for recipe in RECIPES
        for model, supervision in CELLS
    ]


def table(rows: dict[Run, dict], before: dict[Run, dict]) -> None:
    """Of each cell, by recipe: seeds that learn it, without a curriculum and with it."""
    print(
        "| model | supervision |",
        " | ".join(f"{r}: all at once | short first" for r in RECIPES),
        "|",
    )
    print("|---|---|" + "---|---|" * len(RECIPES))
    for model, supervision in CELLS:
        texts = []
        for recipe in RECIPES:
            runs = [
                r
                for r in rows
                if (r.model, r.supervision, r.recipe) == (model, supervision, recipe)
            ]
            texts += [summary([of[r] for r in runs]) for of in (before, rows)]
        print(f"| {model} | {supervision} |", " | ".join(texts), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("does", choices=("run", "table"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows = recipes.known(FILE)
    if args.does == "table":
        table(rows, recipes.known())
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    left = [run for run in wanted(args.seeds) if run not in rows]
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool, FILE.open("a") as file:
        for i, row in enumerate(pool.imap_unordered(trained, left), 1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{i} of {len(left)}", flush=True)


if __name__ == "__main__":
    main()
