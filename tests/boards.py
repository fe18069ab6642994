"""Leaderboard entries without training: searches answered by a made-up threshold."""

import hashlib
import math

from conftest import made_up

from kbench import protocol as protocols
from kbench.leaderboard import entry as entries
from kbench.leaderboard.submission import build
from kbench.study import Cell, CellRun

TASKS = {
    "modadd": ((2, 6), {"m": 3}),
    "permutation": ((2, 5), {"group": "S3"}),
    "lookup": ((2, 5), {"keys": 4}),
}
ENVIRONMENT = {"torch": "2", "kbench": "0.1.0", "dirty": False}


class Answers(dict):
    """Results by key, as submission reads a store."""

    def endings(self, trial):
        return {}


def needs(lengths, seed, kappa=1.0, each=30):
    """A threshold per search that comes to about this κ, with some noise by seed."""
    noise = 1 + 0.15 * math.sin(7 * seed + sum(lengths))
    return each * noise if len(lengths) == 1 else each * len(lengths) / kappa * noise


def make_entry(model="lstm", task="modadd", supervision="aligned", kappa=1.0, *, threshold=None,
               protocol="quick", beyond=0.9, by=None, **changes):  # fmt: skip
    """The entry of a cell whose runs pass from a threshold (lengths, seed → N) on."""
    (first, last), params = TASKS[task]
    chosen = protocols.load(protocol)
    values = {
        "task_params": params, "lengths": tuple(range(first, last + 1)),
        "seeds": chosen.seeds.values(), "extrapolate": (2 * last,),
    } | changes  # fmt: skip
    cell = Cell.of(model=model, task=task, supervision=supervision, protocol=chosen, **values)
    run, answers = CellRun(cell), Answers()
    threshold = threshold or (lambda lengths, seed: needs(lengths, seed, kappa))
    while wanted := run.wanted():
        for trial in wanted:
            passes = trial.n_samples >= threshold(trial.lengths, trial.seed)
            hashed = hashlib.sha256(trial.key().encode()).hexdigest()
            accuracy = {str(n): {"accuracy": beyond, "chance": 0.34} for n in trial.tested}
            answers[trial.key()] = result = made_up(
                "passed" if passes else "failed",
                reason="success" if passes else "futility",
                steps=100 + trial.n_samples,
                best_loss=0.5 / (1 + trial.n_samples),
                data_sha256={"train": hashed, "validation": hashed},
                environment=ENVIRONMENT,
                accuracy=accuracy,
            )
            run.tell(trial, result)
    return build(cell, answers, by)


def put(entry, root):
    """Where it belongs below a folder of leaderboards; the path."""
    path = root / entries.location(entry.cell())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(entries.text_of(entry), "utf-8")
    return path


def never(lengths, seed):
    """All lengths together are not learned at any size."""
    return needs(lengths, seed) if len(lengths) == 1 else math.inf


def small(root):
    """A board of six entries: sharing, interference, a censored one, one of a distribution."""
    for model, kappa in {"lstm": 3.0, "transformer": 0.4}.items():
        put(make_entry(model, kappa=kappa, beyond=0.95 if kappa > 1 else 0.35), root)
        put(make_entry(model, supervision="cot", threshold=never, beyond=0.3), root)
    put(make_entry("lstm", supervision="outcome", kappa=1.02), root)
    put(make_entry("lstm", supervision="aligned", distribution="short-to-long",
                   extrapolate=()), root)  # fmt: skip
    return root
