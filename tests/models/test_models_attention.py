"""Oracles of the attention models, written from the papers' equations and torch's fused functions.

Part one of test_models.py, on every model, holds for these as well.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from oracles import SHAPES, VOCAB, assert_agrees, draw_tokens, shake, under
from scipy.stats import kstest

from kbench.models.transformer_alibi import Attention as ALiBiAttention
from kbench.models.transformer_alibi import slopes
from kbench.models.transformer_rope import rotate
from kbench.registry import models

MAX_LEN = 40

SLOPE_EXPONENTS = {
    1: [8],
    2: [4, 8],
    3: [4, 8, 2],
    4: [2, 4, 6, 8],
    5: [2, 4, 6, 8, 1],
    6: [2, 4, 6, 8, 1, 3],
    8: [1, 2, 3, 4, 5, 6, 7, 8],
    12: [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5],
    16: [8 * k / 16 for k in range(1, 17)],
}
"""By number of heads h, −log₂ of the slopes: 8k/h, otherwise what the ALiBi paper's code gives."""


def build(name, **size):
    torch.manual_seed(0)
    return shake(models[name].cls(VOCAB, MAX_LEN, **size))


# How each model attends; q, k, v are [batch, heads, time, width of a head].


def attend_plainly(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def attend_rotated(q, k, v):
    """Pairs of coordinates as complex numbers, times exp(i t θ)."""

    def turn(x):
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        i = torch.arange(pairs.shape[-1], dtype=torch.float64)
        t = torch.arange(pairs.shape[-2], dtype=torch.float64)
        angles = torch.outer(t, torch.exp(-math.log(10000) * i / len(i)))
        turned = pairs * torch.polar(torch.ones_like(angles), angles).to(pairs.dtype)
        return torch.view_as_real(turned).flatten(-2)

    return F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)


def alibi_bias(heads, time):
    """−slope · (i − j), −∞ for the future."""

    def entry(exponent, i, j):
        return -(2**-exponent) * (i - j) if j <= i else -math.inf

    t = range(time)
    return torch.tensor([[[entry(e, i, j) for j in t] for i in t] for e in SLOPE_EXPONENTS[heads]])


def attend_biased(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=alibi_bias(*q.shape[1:3]))


ATTEND = {
    "transformer": attend_plainly,  # adds positions to the embedding
    "transformer-nope": attend_plainly,
    "transformer-rope": attend_rotated,
    "transformer-alibi": attend_biased,
}


def norm(p, x):
    return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"])


def linear(p, x):
    return F.linear(x, p["weight"], p["bias"])


def block(p, x, heads, attend):
    qkv = linear(under("attention.qkv.", p), norm(under("norm_attention.", p), x))
    q, k, v = (z.unflatten(-1, (heads, -1)).transpose(1, 2) for z in qkv.chunk(3, dim=-1))
    x = x + linear(under("attention.out.", p), attend(q, k, v).transpose(1, 2).flatten(2))
    hidden = linear(under("mlp.0.", p), norm(under("norm_mlp.", p), x))
    return x + linear(under("mlp.2.", p), F.gelu(hidden, approximate="tanh"))


def read_out(p, x):
    return F.linear(norm(under("norm.", p), x), p["head.weight"])


def transformer_reference(name, layers, heads):
    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        if name == "transformer":
            x = x + p["positions.weight"][: tokens.shape[1]]
        for layer in range(layers):
            x = block(under(f"blocks.{layer}.", p), x, heads, ATTEND[name])
        return read_out(p, x)

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("width", "layers", "heads"), [(16, 1, 1), (16, 3, 4), (15, 1, 3), (18, 2, 4), (20, 1, 6)]
)
@pytest.mark.parametrize("name", ATTEND)
def test_transformer(name, width, layers, heads, shape):
    model = build(name, width=width, layers=layers, heads=heads)
    assert_agrees(model, transformer_reference(name, layers, heads), draw_tokens(*shape))


@pytest.mark.parametrize(("width", "heads", "head"), [(16, 4, 4), (15, 3, 5), (18, 4, 5)])
@pytest.mark.parametrize("name", [*ATTEND, "looped-transformer"])
def test_width_of_a_head_is_rounded_up(name, width, heads, head):
    depth = {"loops": 1} if name == "looped-transformer" else {"layers": 1}
    weights = build(name, width=width, heads=heads, **depth).state_dict()
    inner = heads * (head + head % 2 if name == "transformer-rope" else head)
    assert [p.shape for k, p in weights.items() if "qkv.w" in k] == [(3 * inner, width)]
    assert [p.shape for k, p in weights.items() if "out.w" in k] == [(width, inner)]


def naive_canon(p, x):
    """h_t + Σ_k w_k h_{t-k}, the last tap for the present."""
    y = x.clone()
    for t in range(x.shape[1]):
        for k in range(min(t + 1, 4)):
            y[:, t] += p["taps"][3 - k] * x[:, t - k]
    return y


def canon_reference(layers, heads):
    def reference(p, tokens):
        p = {key: z.double() for key, z in p.items()}
        x = p["embedding.weight"][tokens]
        for layer in range(layers):
            b = under(f"blocks.{layer}.", p)
            u = naive_canon(under("canon_attention.", b), norm(under("norm_attention.", b), x))
            qkv = linear(under("attention.qkv.", b), u)
            q, k, v = (z.unflatten(-1, (heads, -1)).transpose(1, 2) for z in qkv.chunk(3, dim=-1))
            mixed = attend_plainly(q, k, v).transpose(1, 2).flatten(2)
            x = x + linear(under("attention.out.", b), mixed)
            u = naive_canon(under("canon_mlp.", b), norm(under("norm_mlp.", b), x))
            hidden = F.gelu(linear(under("mlp.0.", b), u), approximate="tanh")
            x = x + linear(under("mlp.2.", b), hidden)
        return read_out(p, x)

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(16, 1, 1), (15, 2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_transformer_canon(width, layers, heads, shape, dtype, tolerance):
    model = build("transformer-canon", width=width, layers=layers, heads=heads).to(dtype)
    assert_agrees(model, canon_reference(layers, heads), draw_tokens(*shape), tolerance)


# Positions.


@pytest.mark.parametrize("name", ATTEND)
def test_one_layer_without_positions_sees_a_set(name):
    model, tokens = build(name, width=16, layers=1, heads=4), draw_tokens(4, 9)
    permuted = torch.cat([tokens[:, :-1].roll(3, 1), tokens[:, -1:]], dim=1)
    with torch.no_grad():
        change = (model(tokens)[:, -1] - model(permuted)[:, -1]).abs().amax(-1)
    assert (change < 1e-6 if name == "transformer-nope" else change > 1e-4).all()


def test_learned_positions_move_with_their_tokens():
    model, tokens = build("transformer", width=16, layers=1, heads=4), draw_tokens(4, 9)
    order = torch.tensor([0, 1, 6, 3, 4, 5, 2, 7, 8])
    with torch.no_grad():
        before = model(tokens)
        model.positions.weight[:9] = model.positions.weight[order]
        after, moved = model(tokens), model(tokens[:, order])
    assert torch.equal(before[:, :2], after[:, :2])
    assert ((before - after)[:, 2:].abs().amax(-1) > 1e-4).all()
    torch.testing.assert_close(before[:, 7:], moved[:, 7:])


@pytest.mark.parametrize("position", [0, 1, 7, 300])
@pytest.mark.parametrize("i", [0, 1, 3])
def test_rope_turns_pair_i_by_its_angle(i, position):
    width = 8
    angle = position * 10000 ** (-2 * i / width)
    x, expected = torch.zeros(2, 1, 1, 1, width)
    x[..., 2 * i] = 1
    expected[..., 2 * i], expected[..., 2 * i + 1] = math.cos(angle), math.sin(angle)
    torch.testing.assert_close(rotate(x, position), expected, rtol=0, atol=3e-5)
    along = rotate(x.expand(1, 1, position + 1, width), 0)
    torch.testing.assert_close(along[:, :, -1:], expected, rtol=0, atol=3e-5)


def test_rope_scores_depend_on_the_distance_only():
    q, k = torch.randn(2, 3, 2, 1, 8, generator=torch.Generator().manual_seed(0))

    def score(i, j):
        return (rotate(q, i) * rotate(k, j)).sum(-1)

    for distance in (0, 1, 5):
        for shift in (1, 10, 100):
            moved = score(distance + shift, shift)
            torch.testing.assert_close(moved, score(distance, 0), rtol=0, atol=1e-4)
    for one, other in [((1, 0), (0, 0)), ((1, 0), (0, 1))]:
        assert (score(*one) - score(*other)).abs().mean() > 0.1


def test_rope_keeps_lengths_and_the_first_position():
    x = torch.randn(3, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, 0)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    assert (turned[:, :, 1:] != x[:, :, 1:]).any(-1).all()


@pytest.mark.parametrize("heads", SLOPE_EXPONENTS)
def test_alibi_slopes(heads):
    assert slopes(heads) == [2**-exponent for exponent in SLOPE_EXPONENTS[heads]]


@pytest.mark.parametrize("sizes", [[9], [1, 8], [5, 4]])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_alibi_bias_is_minus_slope_times_distance(heads, sizes):
    """With q = 0 and one-hot values the output is the softmax of the bias."""
    time = sum(sizes)
    attention = ALiBiAttention(heads * time, heads)
    with torch.no_grad():
        for p in attention.parameters():
            p.zero_()
        attention.qkv.weight[-heads * time :] = torch.eye(heads * time)
        attention.out.weight.copy_(torch.eye(heads * time))
        x, past, rows = torch.eye(time).repeat(1, heads).unsqueeze(0), None, []
        for piece in x.split(sizes, dim=1):
            row, past = attention(piece, past)
            rows.append(row)
    weights = torch.cat(rows, dim=1)[0].unflatten(-1, (heads, time)).transpose(0, 1)
    bias = (weights / weights.diagonal(dim1=1, dim2=2).unsqueeze(-1)).log()
    torch.testing.assert_close(bias, alibi_bias(heads, time), rtol=1e-5, atol=1e-5)


# One block, looped.


def looped_reference(loops, heads):
    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        h = torch.zeros_like(x)
        for _ in range(loops):
            h = block(under("block.", p), h + x, heads, attend_plainly)
        return read_out(p, h)

    return reference


def growing_reference(heads):
    def reference(p, tokens):
        """Position t (from 1) is that of t loops."""
        steps = range(1, tokens.shape[1] + 1)
        return torch.stack([looped_reference(t, heads)(p, tokens)[:, t - 1] for t in steps], dim=1)

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "heads"), [(16, 4), (15, 2)])
@pytest.mark.parametrize("loops", [1, 2, 5, None])
def test_looped_transformer(loops, width, heads, shape):
    model = build("looped-transformer", width=width, heads=heads, loops=loops)
    reference = looped_reference(loops, heads) if loops else growing_reference(heads)
    assert_agrees(model, reference, draw_tokens(*shape))


@pytest.mark.parametrize("sizes", [[1, 8], [8, 1], [2, 3, 4], [1] * 9])
def test_growing_loops_extend(sizes):
    model, tokens = build("looped-transformer", width=16, heads=4, loops=None), draw_tokens(4, 9)
    state, logits = None, []
    for piece in tokens.split(sizes, dim=1):
        new, state = model.extend(piece, state)
        logits.append(new)
    torch.testing.assert_close(torch.cat(logits, dim=1), model(tokens))


# Initialisation.


@pytest.mark.parametrize(
    ("name", "size", "depth"),
    [
        ("transformer-nope", {"layers": 3}, 3),
        ("transformer-rope", {"layers": 3}, 3),
        ("transformer-alibi", {"layers": 3}, 3),
        ("looped-transformer", {"loops": 3}, 3),
        ("looped-transformer", {"loops": None}, 100),
    ],
)
def test_starts_as_gpt2(name, size, depth):
    torch.manual_seed(0)
    model = models[name].cls(200, 100, width=128, heads=4, **size)
    for key, p in model.named_parameters():
        values = p.detach().flatten()
        if key.endswith("bias"):
            assert not values.any(), key
        elif "norm" in key:
            assert (values == 1).all(), key
        else:
            into_residual = key.endswith(("attention.out.weight", "mlp.2.weight"))
            std = 0.02 / math.sqrt(2 * depth) if into_residual else 0.02
            assert values.std().item() == pytest.approx(std, rel=0.03), key
            assert kstest(values.numpy() / std, "norm").pvalue > 1e-3, key
