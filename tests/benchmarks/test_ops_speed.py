"""Operations of `kbench.ops`, forward and backward, by their reference forms left to autograd.

Ratios of times measured in turns, at the sizes of `cpu`, batch 64 and T = 16. Expected: above 1.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from test_plain_ops import slow_slstm
from test_speed import a_member
from torch import nn

from kbench.ops.attention import attention, causal_mask
from kbench.ops.convolution import short_convolution
from kbench.ops.gelu import gelu
from kbench.ops.norms import RMSNorm, normalize
from kbench.ops.recurrence import GRU, SLSTM, Elman

T, B, D, H = 16, 64, 64, 4


def asking(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]


def by_slices(x_TBE, taps_WE, bias_E):
    padded = F.pad(x_TBE, (0, 0, 0, 0, 3, 0))
    return F.silu(sum((padded[k : k + T] * taps_WE[k] for k in range(4)), start=bias_E))


def softmax(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    scores = scores + causal_mask(*scores.shape[-2:], q)
    return scores.softmax(-1) @ v


def cases():
    """Ours, the reference and the inputs of both, by name."""
    (wide,) = asking((B * T, 4 * D))
    heads = asking(*[(B, H, T, D // H)] * 3)
    shorter = asking(*[(B, H, 12, D // H)] * 3)
    x, taps, bias = asking((T, B, 2 * D), (4, 2 * D), (2 * D,))
    norm = RMSNorm(D, eps=1e-5)
    (row,) = asking((T, B, D))
    rnn, gru = nn.RNN(D, D), nn.GRU(D, D)
    start = torch.zeros(B, D)
    A, head = H, D // H
    pre, R = asking((T, A, B, 4 * head), (A, head, 4 * head))
    zero = torch.zeros(A, B, head)
    past = zero, zero, zero, torch.full_like(zero, -math.inf)

    def own_rnn(x):
        pre = F.linear(x, rnn.weight_ih_l0, rnn.bias_ih_l0 + rnn.bias_hh_l0)
        return Elman.apply(pre, rnn.weight_hh_l0, start)

    def own_gru(x):
        pre = F.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)
        return GRU.apply(pre, gru.weight_hh_l0, gru.bias_hh_l0, start)[0]

    causal = causal_mask(T, T, wide)
    return {
        "gelu": (gelu, lambda z: F.gelu(z, approximate="tanh"), [wide]),
        "attention, T = 16": (lambda *z: attention(*z, causal), softmax, heads),
        "attention, T = 12": (lambda *z: attention(*z, causal[:12, :12]), softmax, shorter),
        "short convolution": (lambda *z: short_convolution(*z)[0], by_slices, [x, taps, bias]),
        "RMSNorm": (norm, lambda z: F.rms_norm(z, (D,), norm.weight, 1e-5), [row]),
        "normalize": (normalize, lambda z: F.normalize(z, dim=-1), [heads[0]]),
        "rnn": (own_rnn, lambda z: rnn(z)[0], [row]),
        "gru": (own_gru, lambda z: gru(z)[0], [row]),
        "sLSTM": (
            lambda *z: SLSTM.apply(*z, *past)[0], lambda *z: slow_slstm(*z, *past), [pre, R],
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", cases())
def test_operation_against_its_reference(benchmark, compare, report, name):
    ours, reference, inputs = cases()[name]
    expected = reference(*inputs)
    torch.testing.assert_close(ours(*inputs), expected, rtol=1e-3, atol=1e-4)
    direction = torch.ones_like(expected)
    times = compare(
        ours=lambda: ours(*inputs).backward(direction),
        reference=lambda: reference(*inputs).backward(direction),
    )
    report(reference_per_ours=times.reference / times.ours)
    benchmark.pedantic(lambda: ours(*inputs), rounds=1)


@pytest.mark.parametrize("length", [6, 8, 16])
@pytest.mark.parametrize("model", ["mamba", "mamba-neg"])
def test_step_of_the_compiled_block_against_the_plain_one(
    benchmark, compare, report, model, length
):
    compiled, plain = (a_member(model, length, backend=b) for b in ("numba", "torch"))
    times = compare(compiled=compiled.step, plain=plain.step)
    report(plain_per_compiled=times.plain / times.compiled)
    benchmark.pedantic(compiled.step, rounds=1)


def test_step_of_the_dense_ssm_by_table_against_by_token(benchmark, compare, report):
    table, token = (a_member("dense-ssm", 8) for _ in range(2))
    assert table.model.by_table
    token.model.by_table = False
    times = compare(table=table.step, token=token.step)
    report(token_per_table=times.token / times.table)
    benchmark.pedantic(table.step, rounds=1)


@pytest.mark.parametrize("supervision", ["outcome", "cot", "aligned"])
@pytest.mark.parametrize("model", ["transformer", "deltanet", "xlstm", "mamba"])
def test_step_that_answers_where_asked_against_everywhere(
    benchmark, compare, report, model, supervision
):
    asked, everywhere = (a_member(model, 8, supervision=supervision) for _ in range(2))
    everywhere._answers_at = False
    times = compare(asked=asked.step, everywhere=everywhere.step)
    report(everywhere_per_asked=times.everywhere / times.asked)
    benchmark.pedantic(asked.step, rounds=1)
