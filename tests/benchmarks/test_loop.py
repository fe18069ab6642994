"""The training loop against what one would write without it, cohorts, and the machine's limit."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from test_speed import a_member, bare_step
from torch.utils.data import DataLoader, TensorDataset

from kbench.training.cohort import Cohort
from kbench.training.loop import train
from kbench.training.modules import flops_per_token

THREE = ["lstm", "transformer", "mamba"]


@pytest.mark.parametrize("length", [6, 14])
@pytest.mark.parametrize("model", THREE)
def test_loop_against_bare_pytorch(benchmark, compare, report, model, length):
    """A step of a whole run without its validations, by a bare step. Expected: below 1.05."""
    member = a_member(model, length)
    steps = 2 * member.interval if benchmark.disabled else 150
    training = dataclasses.replace(member.trial.training, steps=steps)
    trial = dataclasses.replace(member.trial, training=training)
    per_step = []

    def ours():
        """Without the steps up to the first validation, in which everything is set up."""
        at = []
        train([trial], lambda m: at.append((m.steps, m.seconds["training"])))
        (first, before), (last, after) = at[0], at[-1]
        per_step.append((after - before) / (last - first))

    bare = bare_step(copy.deepcopy(member.model), member)
    seconds = compare(10, ours=ours, bare=lambda: [bare() for _ in range(steps)])
    report(ratio=min(per_step) * steps / seconds.bare)
    benchmark.pedantic(bare, rounds=1)


@pytest.mark.parametrize("length", [6, 14])
@pytest.mark.parametrize("model", THREE)
def test_step_against_a_data_loader(benchmark, compare, report, model, length):
    """The loop that one would write, over a DataLoader, by our step. Expected: above 1."""
    member = a_member(model, length)
    other = copy.deepcopy(member.model)
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-3)
    data = TensorDataset(member.tokens.long(), member.targets.long())
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)

    def batches():
        while True:
            yield from loader

    stream = batches()

    def usual():
        tokens, targets = next(stream)
        optimizer.zero_grad()
        F.cross_entropy(other(tokens).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()

    seconds = compare(ours=member.step, usual=usual)
    report(usual_per_ours=seconds.usual / seconds.ours)
    benchmark.pedantic(member.step, rounds=1)


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", ["transformer", "rnn", "dense-ssm"])
def test_cohort_of_15_against_15_singles(benchmark, compare, report, model, device):
    """Times of one step: of 15 members stacked, by 15 alone and by a single one."""
    singles, stacked = ([a_member(model, 6, device=device) for _ in range(15)] for _ in range(2))
    cohort = Cohort(stacked)

    def done(step):
        step()
        if device == "cuda":
            torch.cuda.synchronize()

    seconds = compare(
        stacked=lambda: done(cohort.step),
        singles=lambda: done(lambda: [m.step() for m in singles]),
        one=lambda: done(singles[0].step),
    )
    report(
        singles_per_stacked=seconds.singles / seconds.stacked,
        stacked_per_one=seconds.stacked / seconds.one,
    )
    benchmark.pedantic(cohort.step, rounds=1)


@pytest.mark.parametrize("length", [6, 14])
@pytest.mark.parametrize("model", THREE)
def test_step_against_the_limit_of_matrix_products(benchmark, compare, report, model, length):
    """FLOP/s of a training step (three forward passes' worth), by those of a 512² product."""
    member = a_member(model, length)
    a = torch.randn(512, 512)
    flops = 3 * flops_per_token(member.model, 6, length) * length * member.batch_size
    seconds = compare(step=member.step, product=lambda: a @ a)
    limit = 2 * 512**3 / seconds.product
    report(share=flops / seconds.step / limit, limit_gflops=limit / 1e9)
    benchmark.pedantic(member.step, rounds=1)
