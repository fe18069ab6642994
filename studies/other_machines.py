"""Do trials near N* end the same way under other instructions, as on another machine?

Trials are drawn from entries as a spot-check draws them, and trained under the environment that
this is called in; then two such environments are held against each other. Resumes:

    cd studies
    python other_machines.py run ../leaderboards/quick-1/modadd
    ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 python other_machines.py run \\
        ../leaderboards/quick-1/modadd
    python other_machines.py report
"""

import argparse
import dataclasses
import itertools
import json
import math
import os
import random
import statistics
from collections import defaultdict
from pathlib import Path

import torch

from kbench.leaderboard.board import load
from kbench.leaderboard.checking import DEFAULT
from kbench.leaderboard.checking.drawing import draw, ends
from kbench.registry import models
from kbench.training.loop import train

FILE = Path(__file__).with_name("other_machines.jsonl")
VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")


def instructions() -> str:
    chosen = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *chosen])


def known() -> dict[tuple[str, str], dict]:
    rows = map(json.loads, FILE.read_text("utf-8").splitlines()) if FILE.exists() else ()
    return {(row["key"], row["instructions"]): row for row in rows}


def run(folders: list[Path], wanted: list[str], count: int) -> None:
    """Models are those of this installation, whatever version the entry is of."""
    torch.set_num_threads(1)
    done, here = known(), instructions()
    trials = {}
    for row in itertools.chain.from_iterable(map(load, folders)):
        model = row.entry.settings.model
        if row.has_kappa and model in wanted:
            for end in draw(ends(row.run), count, random.Random(str(row.place))):
                trial = dataclasses.replace(end.trial, model_version=models[model].version)
                trials[trial.key()] = trial
    left = [trial for key, trial in trials.items() if (key, here) not in done]
    print(f"{here}: {len(left)} of {len(trials)} trials left", flush=True)
    with FILE.open("a") as file:
        for trial in left:
            (result,) = train([trial])
            row = {
                "key": trial.key(), "instructions": here, "model": trial.model,
                "supervision": trial.supervision, "task": trial.task, "lengths": trial.lengths,
                "n_samples": trial.n_samples, "seed": trial.seed, "outcome": result.outcome,
                "failure": result.failure, "steps": result.steps, "best_loss": result.best_loss,
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()


def report() -> None:
    by_key = defaultdict(dict)
    for (key, here), row in known().items():
        by_key[key][here] = row
    names = sorted({here for of in by_key.values() for here in of})
    for a, b in itertools.combinations(names, 2):
        pairs = [(of[a], of[b]) for of in by_key.values() if a in of and b in of]
        ends_otherwise = [(x, y) for x, y in pairs if x["outcome"] != y["outcome"]]
        fails_otherwise = [
            (x, y)
            for x, y in pairs
            if x["outcome"] == y["outcome"] and x["failure"] != y["failure"]
        ]
        print(f"{a} against {b}: {len(pairs)} trials, {len(ends_otherwise)} end otherwise, "
              f"{len(fails_otherwise)} fail for another reason")  # fmt: skip
        for x, y in ends_otherwise:
            ended = [f"{of['outcome']}, {of['best_loss']:.4g}" for of in (x, y)]
            print(f"  {x['model']} {x['supervision']} {x['lengths']} N = {x['n_samples']}: "
                  + "; ".join(ended))  # fmt: skip
        for name in ("steps", "best_loss"):
            for outcome in ("passed", "failed"):
                apart = sorted(
                    abs(math.log(x[name] / y[name]))
                    for x, y in pairs
                    if x["outcome"] == y["outcome"] == outcome
                )
                if len(apart) > 1:
                    high = statistics.quantiles(apart, n=100)
                    print(f"  {name} of {len(apart)} that both {outcome}: a factor of "
                          f"{math.exp(high[49]):.2f} in the median, {math.exp(high[94]):.2f} at "
                          f"95 %, {math.exp(apart[-1]):.2f} at most; "
                          f"{sum(x == 0 for x in apart)} alike")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    does = parser.add_subparsers(dest="does", required=True)
    training = does.add_parser("run")
    training.add_argument("folders", nargs="+", type=Path)
    training.add_argument("--model", action="append", default=[])
    training.add_argument("--count", type=int, default=DEFAULT)
    does.add_parser("report")
    args = parser.parse_args()
    if args.does == "run":
        run(args.folders, args.model or models.names(), args.count)
    else:
        report()


if __name__ == "__main__":
    main()
