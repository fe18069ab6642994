"""Operations with a backward pass by hand, against what torch has for them, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from oracles import assert_same_with_gradients, draw
from torch import nn
from torch.autograd import gradcheck

from kbench.ops.attention import attention, causal_mask, self_attention
from kbench.ops.convolution import short_convolution
from kbench.ops.gelu import gelu
from kbench.ops.norms import RMSNorm, normalize
from kbench.ops.positions import at_positions, time_first
from kbench.ops.recurrence import GRU, SLSTM, Elman


def asking(*shapes):
    return [x.requires_grad_() for x in draw(*shapes)]


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_gelu_is_that_of_torch(scale):
    (x,) = asking((5, 7))
    assert_same_with_gradients(gelu(scale * x), F.gelu(scale * x, approximate="tanh"), [x])
    assert gradcheck(gelu, [x])


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (4, 4), (2, 6), (17, 17)])
def test_attention_is_softmax_by_torch(queries, keys):
    q, k, v = asking((2, 3, queries, 4), (2, 3, keys, 4), (2, 3, keys, 4))
    bias = draw((3, queries, keys), seed=7)[0] + causal_mask(queries, keys, q)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert_same_with_gradients(attention(q, k, v, bias), expected, [q, k, v])
    assert gradcheck(lambda *z: attention(*z, bias), [q, k, v])


def test_the_mask_hides_what_follows():
    zero, hidden = 0.0, -math.inf
    expected = [[zero, zero, hidden], [zero, zero, zero]]
    assert causal_mask(2, 3, torch.zeros(())).tolist() == expected


def test_attention_of_large_scores_does_not_overflow():
    q, k, v = (100 * x for x in draw((1, 1, 3, 4), (1, 1, 3, 4), (1, 1, 3, 4)))
    y = attention(q, k, v, causal_mask(3, 3, q))
    torch.testing.assert_close(y, F.scaled_dot_product_attention(q, k, v, is_causal=True))


@pytest.mark.parametrize("time", [1, 2, 9])
def test_a_short_convolution_is_that_of_torch(time):
    x, taps, bias = asking((time, 2, 5), (4, 5), (5,))
    y, last = short_convolution(x, taps, bias)
    padded = F.pad(x.permute(1, 2, 0), (3, 0))
    expected = F.silu(F.conv1d(padded, taps.T.unsqueeze(1), bias, groups=5)).permute(2, 0, 1)
    assert_same_with_gradients(y, expected, [x, taps, bias])
    torch.testing.assert_close(last, padded[..., -3:].permute(2, 0, 1))
    assert gradcheck(lambda *z: short_convolution(*z)[0], [x, taps, bias])


def test_a_convolution_goes_on_from_its_last_inputs():
    x, taps = asking((7, 2, 5), (4, 5))
    whole, _ = short_convolution(x, taps, None)
    first, past = short_convolution(x[:2], taps, None)
    second, _ = short_convolution(x[2:], taps, None, past)
    assert_same_with_gradients(torch.cat([first, second]), whole, [x, taps])


def test_norms_are_those_of_torch():
    (x,) = asking((3, 4, 6))
    norm = RMSNorm(6, eps=1e-5).double()
    nn.init.normal_(norm.weight)
    inputs = [x, norm.weight]
    assert_same_with_gradients(norm(x), F.rms_norm(x, (6,), norm.weight, 1e-5), inputs)
    assert_same_with_gradients(normalize(x), F.normalize(x, dim=-1), [x])
    assert gradcheck(normalize, [x])


def test_positions_are_counted_row_by_row():
    (x_BTD,) = draw((2, 3, 4))
    at_P = torch.tensor([0, 4, 5])
    expected = torch.stack([x_BTD[0, 0], x_BTD[1, 1], x_BTD[1, 2]])
    assert torch.equal(at_positions(x_BTD, at_P), expected)
    assert at_positions(x_BTD, None) is x_BTD
    turned = time_first(at_P, x_BTD[..., 0])
    assert torch.equal(at_positions(x_BTD.transpose(0, 1), turned), expected)


@pytest.mark.parametrize("time", [1, 2, 9])
def test_the_elman_cell_is_that_of_torch(time):
    pre, U, start = asking((time, 2, 5), (5, 5), (2, 5))
    cell = nn.RNN(5, 5, bias=False).double()
    cell.weight_ih_l0.data = torch.eye(5, dtype=torch.float64)
    del cell.weight_hh_l0
    cell.weight_hh_l0 = U
    expected, _ = cell(pre, start.unsqueeze(0))
    assert_same_with_gradients(Elman.apply(pre, U, start), expected, [pre, U, start])
    assert gradcheck(Elman.apply, [pre, U, start])


@pytest.mark.parametrize("time", [1, 2, 9])
def test_the_gru_is_that_of_torch(time):
    pre, U, bias, start = asking((time, 2, 15), (15, 5), (15,), (2, 5))
    h, expected = start, []
    for x in pre:
        h = torch.gru_cell(x, h, torch.eye(15, dtype=x.dtype), U, torch.zeros_like(bias), bias)
        expected.append(h)
    inputs = [pre, U, bias, start]
    assert_same_with_gradients(GRU.apply(*inputs)[0], torch.stack(expected), inputs)
    assert gradcheck(lambda *z: GRU.apply(*z)[0], inputs)


def slow_slstm(pre_TABG, R_ADG, h, c, n, m):
    """Equations 8 to 17 of arXiv 2405.04517, left to autograd."""
    states = []
    for pre in pre_TABG:
        i, f, z, o = (pre + torch.einsum("abd,adg->abg", h, R_ADG)).chunk(4, dim=-1)
        before = F.logsigmoid(f) + m
        m = torch.maximum(before, i)
        c = (before - m).exp() * c + (i - m).exp() * z.tanh()
        n = (before - m).exp() * n + (i - m).exp()
        h = o.sigmoid() * c / n
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("time", [1, 2, 9])
def test_the_slstm_is_its_equations(time, started):
    pre, R, h, c, n, m = draw((time, 2, 3, 16), (2, 4, 16), *[(2, 3, 4)] * 4)
    pre.requires_grad_(), R.requires_grad_()
    n = n.abs() + 1
    if not started:
        h, c, n, m = (torch.zeros_like(h) for _ in range(4))
        m = torch.full_like(m, -math.inf)
    found = SLSTM.apply(pre, R, h, c, n, m)[0]
    assert_same_with_gradients(found, slow_slstm(pre, R, h, c, n, m), [pre, R])


@pytest.mark.parametrize("keys_before", [0, 3])
def test_self_attention_is_attention_of_its_heads(keys_before):
    (qkv,) = asking((2, 4, 3 * 6))
    past = draw((2, 3, keys_before, 2), (2, 3, keys_before, 2), seed=8) if keys_before else None
    bias = causal_mask(4, 4 + keys_before, qkv)
    y, (keys, values) = self_attention(qkv, 3, bias, past)
    q, k, v = (t.unflatten(-1, (3, 2)).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
    if past:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert_same_with_gradients(y, expected.transpose(1, 2).flatten(2), [qkv])
    assert torch.equal(keys, k) and torch.equal(values, v)
