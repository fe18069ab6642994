"""What the futility stop and each learning rate are worth: full-budget runs around thresholds.

    python studies/futility.py run quick curves.jsonl      (resumes; two workers)
    python studies/futility.py report quick curves.jsonl

`run` trains every cell below to its full budget without a futility stop and records the curves of
training and validation loss. `report` applies stopping rules to those curves and counts the
successes that each would have lost, and the steps that it would have used; and it counts which
learning rates pass where any does.
"""

import collections
import dataclasses
import json
import math
import multiprocessing
import random
import sys
from pathlib import Path

from kbench import protocol as protocols
from kbench.statistics.search import Probe
from kbench.study.cell import Cell

CELLS = {
    "quick-1": [
        ("lstm", "aligned", (5,), (20, 27)),
        ("lstm", "aligned", (7,), (20, 27, 36)),
        ("lstm", "aligned", range(2, 8), (49, 66)),
        ("lstm", "outcome", (5,), (195,)),
        ("lstm", "outcome", (6,), (584,)),
        ("lstm", "outcome", (7,), (1060, 1750)),
        ("lstm", "outcome", range(2, 8), (1060, 1932)),
        ("lstm", "cot", (6,), (584,)),
        ("lstm", "cot", range(2, 8), (2600,)),
        ("transformer", "cot", (5,), (49, 66, 89)),
        ("transformer", "cot", (6,), (66, 89, 120)),
        ("transformer", "cot", (7,), (89, 120, 162)),
        ("transformer", "cot", range(2, 8), (1431, 2600)),
        ("transformer", "aligned", (5,), (195,)),
        ("transformer", "aligned", (7,), (1750,)),
        ("transformer", "outcome", (6,), (584,)),
        ("mamba", "cot", (5,), (89,)),
        ("mamba", "cot", (6,), (120,)),
        ("mamba", "cot", (7,), (220, 300)),
        ("mamba", "cot", range(2, 8), (2600,)),
        ("mamba", "aligned", (6,), (584,)),
        ("mamba", "aligned", (7,), (1750,)),
        ("mamba", "outcome", (6,), (584,)),
    ],
    "cpu": [
        ("lstm", "aligned", (6,), (20, 27)),
        ("lstm", "aligned", (10,), (20, 27, 36)),
        ("lstm", "aligned", range(2, 11), (49, 66)),
        ("lstm", "outcome", (6,), (400, 584)),
        ("lstm", "outcome", (8,), (1060, 2600)),
        ("lstm", "outcome", (10,), (4000, 9000)),
        ("lstm", "outcome", range(2, 9), (1932, 3500)),
        ("lstm", "outcome", range(2, 11), (9000,)),
        ("lstm", "cot", (6,), (584,)),
        ("lstm", "cot", range(2, 11), (9000,)),
        ("transformer", "cot", (6,), (66, 89, 120)),
        ("transformer", "cot", (8,), (120, 220)),
        ("transformer", "cot", (10,), (220, 400)),
        ("transformer", "cot", range(2, 9), (2600, 6000)),
        ("transformer", "aligned", (6,), (400, 584)),
        ("transformer", "aligned", (8,), (3500,)),
        ("transformer", "outcome", (6,), (584,)),
        ("mamba", "cot", (6,), (66, 89)),
        ("mamba", "cot", (8,), (162,)),
        ("mamba", "cot", range(2, 9), (3500,)),
        ("mamba", "aligned", (6,), (584,)),
        ("mamba", "outcome", (6,), (584,)),
    ],
}
"""By protocol, on modadd with m = 3: (model, supervision, lengths, sizes N), around and below the
thresholds."""
# (patience, slack, whether the training set must be learned by heart)
RULES = [(w, k, h) for h in (True, False) for w in (100, 150, 200) for k in (1.0, 2.0, 3.0)]


def jobs(protocol, seeds=2):
    for model, supervision, lengths, sizes in CELLS[protocol.name]:
        cell = Cell.of(
            model=model,
            task="modadd",
            task_params={"m": 3},
            supervision=supervision,
            protocol=dataclasses.replace(
                protocol, training=dataclasses.replace(protocol.training, futility=None)
            ),
            lengths=tuple(lengths),
            seeds=protocol.seeds.values(seeds),
        )
        for seed in cell.seeds:
            for size in sizes:
                for recipe in protocol.recipes:
                    yield cell.trial(cell.lengths, seed, Probe(n_samples=size, recipe=recipe))


def curve(trial):
    """(step, validation loss, training loss) at every validation."""
    from kbench.study.executors.local import one_thread
    from kbench.training.loop import train

    points = []
    with one_thread():
        train(
            [trial],
            lambda m: points.append(
                (m.steps, _figures(m.last_validation_loss), _figures(m.last_training_loss))
            ),
        )
    return {"key": trial.key(), "spec": trial.spec(), "curve": points}


def _figures(loss):
    """Six of them, for files of a size that can be kept."""
    return float(f"{loss:.6g}")


def run(protocol, path):
    done = {json.loads(line)["key"] for line in path.open()} if path.exists() else set()
    todo = [trial for trial in jobs(protocol) if trial.key() not in done]
    random.Random(0).shuffle(todo)  # a part of the runs is a fair part of the cells
    with multiprocessing.get_context("spawn").Pool(2) as pool, path.open("a") as out:
        for i, row in enumerate(pool.imap_unordered(curve, todo), 1):
            print(json.dumps(row), file=out, flush=True)
            print(f"{i} of {len(todo)}", file=sys.stderr)


def stopped(points, training, patience, slack, by_heart):
    """(passed, steps used) under a rule; `kbench.training.loop.Member` has the same rule."""
    best, best_at, start = math.inf, [], 0
    for step, loss, fit in points:
        if loss < training.eps:
            return True, step
        best = min(best, loss)
        best_at.append((step, best))
        if by_heart and fit >= loss / 2:
            start = step
        before = [b for s, b in best_at if s <= step - patience]
        if before and step - start >= patience:
            speed = math.log(best / before[-1]) / patience
            end = math.log(best) + slack * speed * (training.steps - step)
            if end > math.log(training.eps):
                return False, step
    return False, points[-1][0]


def report(protocol, path):
    rows = [json.loads(line) for line in path.open()]
    print(f"{len(rows)} runs at full budget ({protocol.training.steps} steps)")
    print("a run counts as lost when it passes at full budget and the rule ends it first")
    print(f"{'rule':32} {'cell':20} {'lost of passes':>15} {'steps used':>11}")
    for patience, slack, by_heart in RULES:
        lost, passed, used, full = (collections.Counter() for _ in range(4))
        for row in rows:
            ok, steps = stopped(row["curve"], protocol.training, patience, slack, by_heart)
            would, budget = stopped(row["curve"], protocol.training, math.inf, 1.0, False)
            for name in (f"{row['spec']['model']} {row['spec']['supervision']}", "all"):
                passed[name] += would
                lost[name] += would and not ok
                used[name] += steps
                full[name] += budget
        rule = f"{patience} steps, slack {slack:g}" + ", by heart" * by_heart
        for name in passed:
            share = used[name] / full[name]
            print(f"{rule:32} {name:20} {lost[name]:7} of {passed[name]:4} {share:11.0%}")
    passes = collections.defaultdict(set)
    for row in rows:
        spec = row["spec"]
        where = (spec["model"], spec["supervision"], tuple(spec["lengths"]))
        key = (*where, spec["n_samples"], spec["seed"])
        if stopped(row["curve"], protocol.training, math.inf, 1.0, False)[0]:
            passes[key].add(spec["learning_rate"])
    print(f"\nof {len(passes)} (size, seed) at which a learning rate passes, there pass")
    for rates, count in collections.Counter(frozenset(p) for p in passes.values()).items():
        print(f"{count:4}  {', '.join(f'{rate:g}' for rate in sorted(rates))}")


if __name__ == "__main__":
    action, name, file = sys.argv[1:]
    {"run": run, "report": report}[action](protocols.load(name), Path(file))
