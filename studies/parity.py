"""Which models carry parity beyond the lengths they were trained on.

    python studies/parity.py MODEL…         (two workers; two seeds, both learning rates of `quick`)

Trains on parity (`modadd` with m = 2), aligned, at lengths 2 to 20 together, from 20,000 samples,
until the validation loss falls below 1e-3 or 3,000 steps have passed; then measures the accuracy of
the last state on 500 new sequences of each length, chance-normalised: (accuracy − ½) / ½.
"""

import dataclasses
import json
import multiprocessing
import sys

from kbench import protocol as protocols
from kbench.statistics.search import Probe
from kbench.study.cell import Cell

TRAINED = tuple(range(2, 21))
TESTED = (20, 40, 80, 160, 320, 500)
SAMPLES = 20_000


def trials(model):
    quick = protocols.load("quick-1")
    training = dataclasses.replace(quick.training, eps=1e-3, steps=3000, futility=None)
    cell = Cell.of(
        model=model,
        task="modadd",
        task_params={"m": 2},
        supervision="aligned",
        protocol=dataclasses.replace(quick, training=training),
        lengths=TRAINED,
        seeds=quick.seeds.values(2),
    )
    for seed in cell.seeds:
        for recipe in quick.recipes:
            yield cell.trial(TRAINED, seed, Probe(n_samples=SAMPLES, recipe=recipe))


def measure(trial):
    import torch

    from kbench.study.executors.local import one_thread
    from kbench.training.loop import train

    last = []

    def keep(member):
        last[:] = [member]

    with one_thread(), torch.no_grad():
        with torch.enable_grad():
            (result,) = train([trial], keep)
        model, generator = last[0].model, torch.Generator().manual_seed(0)
        accuracy = {}
        for n in TESTED:
            x = torch.randint(2, (500, n), generator=generator)
            # In parts: some models need gigabytes for 500 sequences of 500 tokens.
            answers = torch.cat([model(part)[:, -1].argmax(-1) for part in x.split(20)])
            right = answers == x.sum(1) % 2
            accuracy[n] = round(2 * right.double().mean().item() - 1, 3)
    return {
        "model": trial.model,
        "seed": trial.seed,
        "learning_rate": trial.recipe.learning_rate,
        "steps": result.steps,
        "validation_loss": result.best_loss,
        "accuracy": accuracy,
    }


if __name__ == "__main__":
    print("model         seed  rate   steps  validation " + " ".join(f"{n:>6}" for n in TESTED))
    todo = [trial for model in sys.argv[1:] for trial in trials(model)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for row in pool.imap(measure, todo):
            print(json.dumps(row), file=sys.stderr)
            print(
                f"{row['model']:13} {row['seed']:4}  {row['learning_rate']:.0e}  {row['steps']:4}  "
                f"{row['validation_loss']:10.1e} "
                + " ".join(f"{a:6.2f}" for a in row["accuracy"].values()),
                flush=True,
            )
