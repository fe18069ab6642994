"""What the published grid of 190,000 runs would cost on this machine's device.

    python studies/paper_cost.py [cpu|cuda]

Times training steps of the `paper` sizes on modadd, m = 5, at the published longest lengths, on
one core or one GPU, and multiplies. On CUDA also a cohort of 15: the learning rates × seeds of a
size.
"""

import sys
import time

import torch

from kbench import protocol as protocols
from kbench.data.splits import source_of
from kbench.data.supervision import SUPERVISIONS
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.executors.local import one_thread
from kbench.training.cohort import Cohort
from kbench.training.member import Member
from kbench.training.stack import why_not

RUNS, COHORT = 190_000, 15
MODELS, LENGTHS = ("lstm", "dense-ssm", "transformer"), (5, 10, 20, 30)


def member(protocol, model, supervision, length, device, seed=1):
    cell = Cell.of(
        model=model,
        task="modadd",
        task_params={"m": 5},
        supervision=supervision,
        protocol=protocol,
        lengths=tuple(range(2, length + 1)),
        seeds=(seed,),
    )
    trial = cell.trial(cell.lengths, seed, Probe(n_samples=512, recipe=cell.protocol.recipes[0]))
    return Member(trial, *source_of(trial).splits(512, seed), device)


def seconds(step, device, repeats=5):
    best = float("inf")
    for _ in range(repeats + 2):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def per_run_step(protocol, model, supervision, length, device):
    """Seconds of one step of one run: alone, or its share of a cohort's where that is less."""
    members = [
        member(protocol, model, supervision, length, device, seed)
        for seed in range(1, COHORT + 1 if device == "cuda" else 2)
    ]
    alone = seconds(members[0].step, device)
    tokens = torch.stack([m.tokens[:1].long() for m in members])
    if len(members) == 1 or why_not([m.model for m in members], tokens):
        return alone
    return min(alone, seconds(Cohort(members).step, device) / COHORT)


def main(device):
    protocol = protocols.load("paper")
    budget = protocol.training.steps
    print(f"{torch.cuda.get_device_name() if device == 'cuda' else 'one core'}: ms per step")
    print(f"{'model':12} {'supervision':12}" + "".join(f"{f'L = {n}':>9}" for n in LENGTHS))
    found = []
    with one_thread():
        for model in MODELS:
            for supervision in SUPERVISIONS:
                row = [per_run_step(protocol, model, supervision, n, device) for n in LENGTHS]
                found += row
                print(f"{model:12} {supervision:12}" + "".join(f"{1e3 * s:9.1f}" for s in row))
    mean = sum(found) / len(found)
    hours = RUNS * budget * mean / 3600
    print(f"mean {1e3 * mean:.1f} ms; {RUNS:,} runs of {budget:,} steps: {hours:,.0f} hours")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
