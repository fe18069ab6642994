"""What the trials of quick-1's modular addition cost by two commits, and so each decided cell.

The trials are those of the committed entries, the searches of both commits being the same. They are
priced, not run: of every cell (model and supervision) some trials are drawn, a trial of more steps
the oftener, and a step of each and its share of a validation are timed under both commits in
turns, on one thread. The cell's cost is the mean of these times its steps. A cell is decided where
its verdict, by this checkout's rules, is not `not-identified`; `not-learned` is counted apart. On
an idle machine, from a clone that has the base:

    python studies/board_cost.py efe0b3e HEAD           # ten minutes
"""

import argparse
import dataclasses
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

from side_by_side import laid_out

from kbench.leaderboard import board

BOARD = Path(__file__).parents[1] / "leaderboards"
PROTOCOL = "quick-1"
BATCH = 64
DRAWN = 6
"""Trials that are priced of every cell."""


def cells() -> list[board.Row]:
    """Of quick-1's modular addition, each with its κ."""
    return [row for row in board.load(BOARD, "quick-1/modadd") if row.has_kappa]


def drawn(row: board.Row, seed: int) -> list[dict]:
    """Trials of a cell with their model and task, drawn in proportion to their steps."""
    of, trials = row.entry.settings, row.entry.trials
    shared = {
        name: getattr(of, name) for name in ("model", "size", "task", "task_params", "supervision")
    }
    chosen = random.Random(seed).choices(trials, [t.steps for t in trials], k=DRAWN)
    return [
        shared
        | {
            "lengths": list(t.lengths),
            "n_samples": t.n_samples,
            "learning_rate": t.learning_rate,
            "seed": t.seed,
        }
        for t in chosen
    ]


def price(asked: list[dict]) -> list[float]:
    """Seconds a step takes of each of these trials, validations included; run under a commit."""
    import torch

    from kbench import protocol
    from kbench.registry import models, tasks
    from kbench.trial import Trial

    try:
        from kbench.data.splits import source_of
        from kbench.ops.backends import missing
        from kbench.training.member import Member
        from kbench.training.modules import backends
    except ImportError:  # efe0b3e
        from kbench.modules import backends
        from kbench.training import Member, source_of

        def missing(backend: str, device: str) -> str | None:
            return None if backend == "torch" else "asks for CUDA"

    torch.set_num_threads(1)
    training = protocol.load(PROTOCOL).training
    found = []
    for one in asked:
        if "recipe" in {field.name for field in dataclasses.fields(Trial)}:
            from kbench.recipe import plain

            one["recipe"] = plain(one.pop("learning_rate"), BATCH)
        model, task = models[one["model"]], tasks[one["task"]]
        able = [b for b in backends(model) if not missing(b, "cpu")]
        trial = Trial(
            **one | {"lengths": tuple(one["lengths"])}, model_version=model.version,
            backend=able[-1], task_version=task.version,
            distribution="uniform" if len(one["lengths"]) > 1 else "fixed",
            protocol="priced-1", training=training,
        )  # fmt: skip
        splits = source_of(trial).splits(trial.n_samples, trial.seed)
        try:
            member = Member(trial, *splits)
        except TypeError:  # efe0b3e
            member = Member(trial, *splits, "cpu")
        steps = [_seconds(member.step) for _ in range(25)][5:]
        validations = [_seconds(member.validation_loss) for _ in range(4)][1:]
        found.append(statistics.median(steps) + statistics.median(validations) / member.interval)
    return found


def _seconds(function: object) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def priced_by(folder: Path, asked: list[dict]) -> list[float]:
    """`price`, by the commit laid out in a folder."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--price"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", nargs="?")
    parser.add_argument("head", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--price", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.price:
        print(json.dumps(price(json.load(sys.stdin))))
        return
    rows = cells()
    verdicts = Counter(row.verdict for row in rows)
    hours: dict[str, list[float]] = defaultdict(list)
    by_model: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as scratch:
        sides = {c: laid_out(c, Path(scratch) / c) for c in (args.base, args.head)}
        for round_ in range(args.rounds):
            asked = [trial for row in rows for trial in drawn(row, round_)]
            for commit, folder in sides.items():
                seconds = iter(priced_by(folder, asked))
                costs = []
                for row in rows:
                    steps = sum(trial.steps for trial in row.entry.trials)
                    costs.append(steps * statistics.mean(islice(seconds, DRAWN)) / 3600)
                    by_model[row.entry.settings.model][commit] += costs[-1] / args.rounds
                hours[commit].append(sum(costs))
                print(f"round {round_ + 1}, {commit}: {sum(costs):.2f} core-hours", flush=True)
    print(f"\n{len(rows)} cells:", ", ".join(f"{n} {v}" for v, n in verdicts.most_common()))
    decided = len(rows) - verdicts["not-identified"] - verdicts["not-learned"]
    print("\n| core-hours |", " | ".join(sides), "| ratio |\n|---|---|---|---|")
    for model, cost in sorted(by_model.items(), key=lambda pair: -pair[1][args.base]):
        base, head = (cost[c] for c in sides)
        print(f"| {model} | {base:.2f} | {head:.2f} | {base / head:.2f} |")
    base, head = (statistics.mean(hours[c]) for c in sides)
    print(f"| all | {base:.2f} | {head:.2f} | {base / head:.2f} |")
    for words, count in (
        ("decided", decided),
        ("or not-learned", decided + verdicts["not-learned"]),
    ):
        print(f"| {words}, cells an hour: {count} | {count / base:.1f} | {count / head:.1f} | |")


if __name__ == "__main__":
    main()
