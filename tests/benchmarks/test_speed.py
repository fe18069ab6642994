"""Ratios of times, each pair measured in turns. Nothing is asserted about time.

`pytest tests/benchmarks --benchmark-enable -s` measures and prints; a plain run only shows that
the benchmarks work.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kbench.data.splits import source_of
from kbench.ops.backends import missing
from kbench.ops.scan import torch_scan
from kbench.ops.scan_mamba_ssm import kernel_scan
from kbench.protocol import Training
from kbench.recipe import plain
from kbench.registry import models
from kbench.training.member import Member
from kbench.trial import Trial


def a_member(model, length, n_validation=437, device="cpu", backend="torch", supervision="aligned"):
    """A trial on 1000 samples of one length; modulo 5, so that no universe is too small."""
    training = Training(
        eps=1e-9,
        steps=10**9,
        max_validation=n_validation,
        max_validation_fraction=0.2,
        futility=None,
    )
    trial = Trial(
        model=model,
        model_version=models[model].version,
        size=models[model].preset("quick"),
        backend=backend,
        task="modadd",
        task_version=1,
        task_params={"m": 5},
        supervision=supervision,
        lengths=(length,),
        distribution="fixed",
        n_samples=1000,
        recipe=plain(1e-3, 64),
        seed=1,
        protocol="benchmark-1",
        training=training,
    )
    return Member(trial, *source_of(trial).splits(trial.n_samples, trial.seed), device)


def bare_step(model, member):
    """The shortest training loop in PyTorch, on the member's samples in a fixed order."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    tokens, targets = member.tokens[:64].long(), member.targets[:64].long()

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("n_validation", [437, 2000])
@pytest.mark.parametrize("length", [7, 14])
@pytest.mark.parametrize("model", models.names())
def test_share_of_validation(benchmark, compare, report, model, length, n_validation):
    """Time for validations by time for the steps between them. Expected: below 0.1."""
    member = a_member(model, length, n_validation)
    assert len(member.validation_tokens) == n_validation
    seconds = compare(step=member.step, validation=member.validation_loss)
    per_step = seconds.validation / member.interval
    # Of one sample's forward pass, in units of one sample's training step.
    forward = (seconds.validation / n_validation) / (seconds.step / member.batch_size)
    report(share=per_step / seconds.step, forward=forward)
    benchmark.pedantic(member.validation_loss, rounds=1 if benchmark.disabled else 10)


@pytest.mark.parametrize("length", [7, 14])
@pytest.mark.parametrize("model", models.names())
def test_step_against_bare_pytorch(benchmark, compare, report, model, length):
    """Our step by one without our bookkeeping. Expected: near 1."""
    member = a_member(model, length)
    seconds = compare(ours=member.step, bare=bare_step(copy.deepcopy(member.model), member))
    report(ratio=seconds.ours / seconds.bare)
    benchmark.pedantic(member.step, rounds=1 if benchmark.disabled else 40)


class BareLSTM(nn.Module):
    def __init__(self, vocab_size, width):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


@pytest.mark.parametrize("length", [7, 14])
def test_lstm_step_against_torch_lstm(benchmark, compare, report, length):
    """Our `lstm`, trained by our loop, by torch.nn's in the shortest one. Expected: near 1."""
    member = a_member("lstm", length)
    size = member.trial.size
    assert size["layers"] == 1
    bare = BareLSTM(member.model.head.out_features, size["width"])
    seconds = compare(ours=member.step, bare=bare_step(bare, member))
    report(ratio=seconds.ours / seconds.bare)
    benchmark.pedantic(member.step, rounds=1 if benchmark.disabled else 40)


def parallel_scan(delta, x, A, B, C):
    """The scan in ⌈log2 T⌉ sweeps over whole sequences (Hillis & Steele 1986), by autograd."""
    decay = torch.exp(delta.unsqueeze(1) * A.unsqueeze(1).unsqueeze(0))
    h = (delta * x).unsqueeze(1) * B.transpose(1, 2).unsqueeze(-1)
    reach = 1
    while reach < len(x):
        before_h, before_decay = (z.roll(reach, 0) for z in (h, decay))
        before_h[:reach], before_decay[:reach] = 0, 1
        h, decay = h + decay * before_h, decay * before_decay
        reach *= 2
    return (h * C.transpose(1, 2).unsqueeze(-1)).sum(1)


def scan_inputs(length, device="cpu"):
    """Of a batch of 64, width 64 and 16 states, that ask for gradients."""
    T, B, E, S = length, 64, 64, 16
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, generator=generator)
        for shape in ((T, B, E), (T, B, E), (S, E), (T, B, S), (T, B, S))
    ]
    inputs[0], inputs[2] = F.softplus(inputs[0]), -inputs[2].abs()
    return [z.to(device).requires_grad_() for z in inputs]


LENGTHS = [4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("length", LENGTHS)
def test_scan_step_by_step_against_parallel(benchmark, compare, report, length):
    inputs = scan_inputs(length)
    torch.testing.assert_close(parallel_scan(*inputs), torch_scan(*inputs)[0], rtol=1e-3, atol=1e-3)
    times = compare(
        ours=lambda: torch_scan(*inputs)[0].sum().backward(),
        parallel=lambda: parallel_scan(*inputs).sum().backward(),
    )
    report(parallel_per_ours=times.parallel / times.ours)
    benchmark(lambda: torch_scan(*inputs)[0].sum().backward())


@pytest.mark.gpu
@pytest.mark.skipif(bool(missing("mamba-ssm", "cuda")), reason="no mamba-ssm on a CUDA device")
@pytest.mark.parametrize("length", LENGTHS)
def test_scan_by_the_kernel_against_ours(benchmark, compare, report, length):
    inputs = scan_inputs(length, "cuda")

    def timed(scan):
        def run():
            scan(*inputs).sum().backward()
            torch.cuda.synchronize()

        return run

    kernel = timed(lambda *inputs: kernel_scan(*inputs)[0])
    times = compare(
        kernel=kernel, ours=timed(lambda *inputs: torch_scan(*inputs)[0]),
        parallel=timed(parallel_scan),
    )  # fmt: skip
    report(
        ours_per_kernel=times.ours / times.kernel, parallel_per_kernel=times.parallel / times.kernel
    )
    benchmark(kernel)
