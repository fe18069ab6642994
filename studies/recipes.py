"""Which recipes learn what: every candidate on every cell, trained again and again.

The rule by which recipes are chosen stands in docs/recipes.md, and was committed before the first
run. Runs go into `recipes.jsonl` beside this script, each as it ends: broken off, the same command
resumes. Trained with two workers, one thread each:

    python studies/recipes.py run                 # all stages; says what is left and how long
    python studies/recipes.py run --stage plenty
    python studies/recipes.py table               # the tables of docs/recipes.md
    python studies/recipes.py choose              # the rule, applied to what there is
    python studies/recipes.py again lstm aligned  # one row of the table, trained again
"""

import argparse
import json
import math
import multiprocessing
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch

from kbench.ops.backends import missing
from kbench.protocol import Training
from kbench.recipe import plain
from kbench.registry import models, tasks
from kbench.training.loop import train
from kbench.training.member import Member
from kbench.training.modules import backends
from kbench.trial import Trial

FILE = Path(__file__).with_name("recipes.jsonl")
RATES = (1e-3, 3e-3, 3e-4)
WARM = {"warmup": 500, "clip": 1.0}
FAMILIES = {
    "adam": {},
    "warm": WARM,
    "warm-decay-0.1": WARM | {"weight_decay": 0.1},
    "warm-decay-1": WARM | {"weight_decay": 1.0},
}
CANDIDATES = {
    f"{family}-{rate:g}": replace(plain(rate, 64), name=f"{family}-{rate:g}", **more)
    for rate in RATES
    for family, more in FAMILIES.items()
}
TRAINING = Training(
    eps=1e-2, steps=4000, max_validation=2000, max_validation_fraction=0.2, futility=None
)
"""No run is given up: it is to be seen how each one ends."""
FIRST = ("lstm", "transformer", "mamba", "gru", "dense-ssm", "transformer-rope", "deltanet")
OTHERS = ("rnn", "xlstm", "mamba-neg", "deltaproduct", "transformer-alibi", "transformer-nope")
SUPERVISIONS = ("aligned", "cot", "outcome")
SETTINGS = {"modadd": {"m": 5}, "permutation": {"group": "S3"}}
LENGTHS = (2, 3, 4, 5)
PLENTY = 3000
"""Samples: of modular addition there are 3,120 beside the validation set."""
FEW, FEWER = 375, 94
"""For those cells that some candidate learns from plenty: an eighth, and a quarter of that."""
CURVE_POINTS = 40
LEFT = 6
"""Candidates that go on after stage 1: those that learn most by themselves there."""


class Run(NamedTuple):
    """One training run."""

    task: str
    model: str
    supervision: str
    n_samples: int
    recipe: str
    seed: int


def survivors(known: dict[Run, dict]) -> tuple[str, ...]:
    """The half of the candidates that goes on, in the order of all: stage 1 must be there."""
    of = cells_of(known, plenty("modadd", FIRST, CANDIDATES))
    best = sorted(CANDIDATES, key=lambda recipe: score((recipe,), of), reverse=True)[:LEFT]
    return tuple(recipe for recipe in CANDIDATES if recipe in best)


def plenty(task: str, of: Iterable[str], recipes: Iterable[str]) -> Iterator[Run]:
    """Each recipe on every cell; seeds and rates in turns, so that what is there is even."""
    recipes = tuple(recipes)
    for seed in range(1, 6):
        for recipe in recipes:
            for model in of:
                for supervision in SUPERVISIONS:
                    yield Run(task, model, supervision, PLENTY, recipe, seed)


def few(task: str, known: dict[Run, dict], recipes: Iterable[str], n_samples: int) -> Iterator[Run]:
    """Each recipe on fewer samples, of cells that some candidate learns in most seeds."""
    recipes = tuple(recipes)
    learned = defaultdict(set)
    for run, row in known.items():
        if run.task == task and run.n_samples == PLENTY and row["outcome"] == "passed":
            learned[run.model, run.supervision].add(run.seed)
    for seed in (1, 2, 3):
        for recipe in recipes:
            for (model, supervision), seeds in sorted(learned.items()):
                if len(seeds) >= 3:
                    yield Run(task, model, supervision, n_samples, recipe, seed)


STAGES = {
    "plenty": lambda known: plenty("modadd", FIRST, CANDIDATES),
    "few": lambda known: few("modadd", known, survivors(known), FEW),
    "permutation": lambda known: plenty("permutation", FIRST, survivors(known)),
    "looped": lambda known: plenty("modadd", ["looped-transformer"], survivors(known)),
    "others": lambda known: plenty("modadd", OTHERS, survivors(known)),
    "fewer": lambda known: few("modadd", known, survivors(known), FEWER),
}
"""In the order of what they tell."""


def trial_of(run: Run, training: Training = TRAINING) -> Trial:
    """As the study trains it; sizes are the presets of `quick`."""
    model, task = models[run.model], tasks[run.task]
    able = [b for b in backends(model) if not missing(b, "cpu")]
    return Trial(
        model=run.model, model_version=model.version, size=model.preset("quick"),
        backend=able[-1], task=run.task, task_version=task.version,
        task_params=SETTINGS[run.task], supervision=run.supervision, lengths=LENGTHS,
        distribution="uniform", n_samples=run.n_samples, recipe=CANDIDATES[run.recipe],
        seed=run.seed, protocol="recipes-1", training=training,
    )  # fmt: skip


def trained(run: Run, training: Training = TRAINING, points: int = CURVE_POINTS) -> dict:
    """A run's row."""
    torch.set_num_threads(1)
    curve: list[tuple[int, float, float]] = []

    def look(member: Member) -> None:
        losses = member.last_validation_loss, member.last_training_loss
        curve.append((member.steps, *(float(f"{x:.3g}") for x in losses)))

    (result,) = train([trial_of(run, training)], look)
    step = max(1, math.ceil((len(curve) - 1) / (points - 1)))
    thin = [*curve[:-1:step], curve[-1]]
    return {
        **run._asdict(),
        "outcome": result.outcome,
        "steps": result.steps,
        "failure": result.failure,
        "best_loss": result.best_loss,
        "training_loss": min((fit for *_, fit in curve if math.isfinite(fit)), default=1e9),
        "seconds": round(result.wall_s, 1),
        "curve": [point for point in thin if all(map(math.isfinite, point))],
    }


def known(path: Path = FILE) -> dict[Run, dict]:
    """Every run that there is; a line that was broken off is none."""
    found = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[Run(*(row[name] for name in Run._fields))] = row
    return found


def run(stages: Iterable[str], workers: int, seeds: int) -> None:
    """Train what is left of these stages; a polite kill ends the workers too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with multiprocessing.get_context("spawn").Pool(workers) as pool, FILE.open("a") as file:
        for stage in stages:
            done = known()
            asked = (run for run in STAGES[stage](done) if run.seed <= seeds)
            left = [run for run in asked if run not in done]
            print(f"{stage}: {len(left):,} runs left", flush=True)
            start = said = time.monotonic()
            for i, row in enumerate(pool.imap_unordered(trained, left), 1):
                file.write(json.dumps(row) + "\n")
                file.flush()
                if time.monotonic() - said > 60:
                    said = time.monotonic()
                    hours = (said - start) / i * (len(left) - i) / 3600
                    print(f"{stage}: {i:,} of {len(left):,}, about {hours:.1f} h left", flush=True)


def table(rows: dict[Run, dict]) -> None:
    """Of each cell, by candidate: seeds that learn it, the median of their steps, else why not."""
    cells = defaultdict(lambda: defaultdict(list))
    for run, row in rows.items():
        cells[run.task, run.n_samples, run.model, run.supervision][run.recipe].append(row)
    last = None
    for (task, n, model, supervision), by_recipe in sorted(cells.items()):
        if (task, n) != last:
            last = task, n
            tried = {recipe for cell, of in cells.items() if cell[:2] == last for recipe in of}
            shown = [recipe for recipe in CANDIDATES if recipe in tried]
            print(f"\n### {task} {SETTINGS[task]}, lengths 2–5, N = {n:,}\n")
            print("| model | supervision |", " | ".join(shown), "|")
            print("|---|---|" + "---|" * len(shown))
        texts = (summary(by_recipe.get(recipe, [])) for recipe in shown)
        print(f"| {model} | {supervision} |", " | ".join(texts), "|")


def summary(rows: list[dict]) -> str:
    """`4/5 900 1u`: four of five seeds pass, after 900 steps in the median; one did not fit."""
    passed = [row["steps"] for row in rows if row["outcome"] == "passed"]
    why = [row["failure"][0] for row in rows if row["outcome"] != "passed"]
    words = [f"{len(passed)}/{len(rows)}"] if rows else ["–"]
    words += [f"{statistics.median_low(passed):,}"] if passed else []
    words += [f"{why.count(letter)}{letter}" for letter in "mud" if letter in why]
    return " ".join(words)


class Score(NamedTuple):
    """What the rule goes by, in this order: the largest wins."""

    learned: int
    fitted: int
    steps: int
    """Negative."""


Cells = dict[Run, dict[str, dict]]
"""A combination of task, cell, samples and seed, and what each recipe made of it."""


def cells_of(rows: dict[Run, dict], of: Iterable[Run], recipes: Iterable[str] = ()) -> Cells:
    """Those of these runs, by combination, that every one of the recipes has trained."""
    cells: Cells = defaultdict(dict)
    for run in of:
        if run in rows:
            cells[run._replace(recipe="")][run.recipe] = rows[run]
    return {cell: found for cell, found in cells.items() if found.keys() >= set(recipes)}


def score(recipes: tuple[str, ...], cells: Cells) -> Score:
    """Of recipes tried one after the other until one passes."""
    learned = fitted = steps = 0
    for by_recipe in cells.values():
        rows = [by_recipe[recipe] for recipe in recipes]
        fitted += any(r["outcome"] == "passed" or r["training_loss"] < TRAINING.eps for r in rows)
        for row in rows:
            steps += row["steps"]
            if row["outcome"] == "passed":
                learned += 1
                break
    return Score(learned, fitted, -steps)


def choose(rows: dict[Run, dict]) -> None:
    """The best single recipe, pair and triple, by the rule of docs/recipes.md."""
    recipes = survivors(rows)
    cells = cells_of(rows, rows, recipes)
    everyone = score(recipes, cells)
    print(f"{len(cells):,} combinations with all {len(recipes)} candidates; some candidate learns "
          f"{everyone.learned:,} and fits {everyone.fitted:,}")  # fmt: skip
    alone = {recipe: score((recipe,), cells) for recipe in recipes}
    for count in (1, 2, 3):
        sets = [
            tuple(sorted(of, key=lambda recipe: alone[recipe], reverse=True))
            for of in combinations(recipes, count)
        ]
        ranked = sorted(((score(of, cells), of) for of in sets), reverse=True)
        print(f"\n| {count} of {len(recipes)} | learned | fitted | steps |\n|---|---|---|---|")
        for found, of in ranked[: 12 if count == 1 else 5]:
            print(f"| {', '.join(of)} | {found.learned:,} | {found.fitted:,} | {-found.steps:,} |")


def again(model: str, supervision: str, task: str, seeds: int) -> None:
    """A row of the table from plenty, trained once more beside the one that is kept."""
    asked = [
        r
        for r in plenty(task, [model], CANDIDATES)
        if r.supervision == supervision and r.seed <= seeds
    ]
    fresh = {run: trained(run) for run in asked}
    kept = {run: row for run, row in known().items() if run in fresh}
    table(kept)
    table(fresh)
    same = sum(kept[run]["steps"] == row["steps"] for run, row in fresh.items() if run in kept)
    print(f"\n{same} of {len(fresh)} runs end at the very same step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    does = parser.add_subparsers(dest="does", required=True)
    training = does.add_parser("run")
    training.add_argument("--stage", choices=STAGES, action="append")
    training.add_argument("--workers", type=int, default=2)
    training.add_argument("--seeds", type=int, default=5)
    does.add_parser("table")
    does.add_parser("choose")
    one = does.add_parser("again")
    one.add_argument("model", choices=models.names())
    one.add_argument("supervision", choices=SUPERVISIONS)
    one.add_argument("--task", choices=SETTINGS, default="modadd")
    one.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    if args.does == "run":
        run(args.stage or STAGES, args.workers, args.seeds)
    elif args.does == "again":
        again(args.model, args.supervision, args.task, args.seeds)
    else:
        {"table": table, "choose": choose}[args.does](known())


if __name__ == "__main__":
    main()
