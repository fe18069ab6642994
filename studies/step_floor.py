"""How far a training step of every model is from its floor, and which operations the time goes to.

The floor is the time that the step's matrix products would take, forward and backward, at the speed
of one product of 1024 x 64 x 256, measured in turns with the steps. The products are those of the
plain form, which answers at every position, multiplies the input of every token, and whose dense
SSM makes a matrix for every token: what a faster form leaves out may take a step below its floor.
Every model is trained in the backend that a run on this machine takes. Modular addition under
`cot`, where an input of length n has 2 n tokens, in batches of 64, on one thread; the fastest of
many steps. The last column has the operations that take most, by torch's profiler. On an idle
machine:

    python studies/step_floor.py
    python studies/step_floor.py --model lstm --model mamba --presets cpu
"""

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from kbench.data.splits import source_of
from kbench.errors import KbenchError, unknown
from kbench.models.dense_ssm import DenseSSM
from kbench.models.gru import GRU
from kbench.models.rnn import RNN
from kbench.ops.backends import missing
from kbench.protocol import Training
from kbench.recipe import plain
from kbench.registry import models
from kbench.training.loss import cross_entropy
from kbench.training.member import Member
from kbench.training.modules import backends
from kbench.trial import Trial

LONGEST = (3, 8, 20)
"""Lengths of which inputs have 6, 16 and 40 tokens."""
PRODUCT = (1024, 64, 256)
TRAINING = Training(
    eps=1e-9, steps=10**9, max_validation=64, max_validation_fraction=0.2,
    futility=None,
)  # fmt: skip


def member(model: str, presets: str, longest: int, backend: str = "") -> Member:
    """A trial that never ends; by default in the backend that a run here takes."""
    able = [b for b in backends(models[model]) if not missing(b, "cpu")]
    trial = Trial(
        model=model, model_version=models[model].version, size=models[model].preset(presets),
        backend=backend or able[-1], task="modadd", task_version=1, task_params={"m": 10},
        supervision="cot", lengths=tuple(range(2, longest + 1)), distribution="uniform",
        n_samples=256, recipe=plain(1e-3, 64), seed=1, protocol="floor-1", training=TRAINING,
    )  # fmt: skip
    return Member(trial, *source_of(trial).splits(trial.n_samples, trial.seed))


def product_flops(of: Member) -> int:
    """In matrix products of a step in its plain form; an LSTM is taken apart for it."""
    batch, model, plain = of.next_batch(), of.model, of.model
    if isinstance(model, DenseSSM):
        model.by_table = False
    if isinstance(model, GRU | RNN):  # whose first layer is a table of every token's input
        plain = lambda x: model.head(model.recurrence(model.embedding(x))[0])  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of flags that are for other devices
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as count:
            logits = plain(of.tokens.index_select(0, batch).long())
            cross_entropy(logits, of.targets.index_select(0, batch)).backward()
    if isinstance(model, DenseSSM):
        model.by_table = True
    return count.get_total_flops()


def seconds(function: Callable[[], object], times: int) -> float:
    """The fastest of so many calls."""
    fastest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        function()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def top(of: Member, steps: int = 5) -> str:
    """The three operations that take most of a step by themselves."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            of.step()
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    most = sorted(events, key=lambda event: -event.self_cpu_time_total)[:3]
    return ", ".join(
        f"{e.key.removeprefix('aten::')} {e.self_cpu_time_total / total:.0%}" for e in most
    )


def measure(of: Member, rounds: int, steps: int) -> tuple[float, float]:
    """Milliseconds of a step, and how many floors that is."""
    n, k, m = PRODUCT
    a, b = torch.randn(n, k), torch.randn(k, m)
    for _ in range(3):
        of.step()
    fastest = product = float("inf")
    for _ in range(rounds):
        product = min(product, seconds(lambda: a @ b, 20))
        fastest = min(fastest, seconds(of.step, steps))
    floor = product_flops(of) * product / (2 * n * k * m)
    return 1000 * fastest, fastest / floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="repeatable; default: all")
    parser.add_argument("--presets", action="append", choices=["quick", "cpu"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="in each round")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.model or models.names()
    for name in names:
        if name not in models.names():
            raise unknown("model", name, models.names())
    for presets in args.presets or ["quick", "cpu"]:
        print(f"\nSizes of `{presets}`: milliseconds a step, and × floor\n")
        print("| model |", " | ".join(f"T = {2 * n}" for n in LONGEST), "| most of it, T = 16 |")
        print("|" + "---|" * (2 + len(LONGEST)))
        for name in names:
            cells, most = [], ""
            for longest in LONGEST:
                of = member(name, presets, longest)
                ms, floors = measure(of, args.rounds, args.steps)
                cells.append(f"{ms:.1f}, × {floors:.1f}")
                most = top(of) if longest == 8 else most
            print(f"| {name} |", " | ".join(cells), f"| {most} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KbenchError as error:
        raise SystemExit(f"{error}") from None
