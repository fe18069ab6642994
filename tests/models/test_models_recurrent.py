"""The recurrent models against their papers' equations, written out one position at a time.

Where nothing else is said in float64, where two correct forms differ by rounding alone.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from oracles import (
    SHAPES,
    VOCAB,
    assert_agrees,
    assert_same,
    assert_same_with_gradients,
    draw,
    draw_tokens,
    shake,
    under,
)
from test_scan import naive_scan
from torch import nn, sigmoid
from torch.func import functional_call

from kbench.models.deltanet import delta_rule
from kbench.registry import models

LENGTH = 500
"""Of sequences whose every state is known: no error may build up."""


def build(name, **size):
    torch.manual_seed(0)
    return shake(models[name].cls(VOCAB, LENGTH, **size)).double()


def rms_norm(x, weight):
    return weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5)


def layer_norm(x, weight, bias):
    x = x - x.mean(-1, keepdim=True)
    return weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) + bias


def causal_conv(x_BTE, taps_WE):
    """The last tap meets the present, the first one the past."""
    W, y = len(taps_WE), torch.zeros_like(x_BTE)
    for t, w in itertools.product(range(x_BTE.shape[1]), range(W)):
        if (s := t - (W - 1) + w) >= 0:
            y[:, t] += taps_WE[w] * x_BTE[:, s]
    return y


# GRU and simple RNN.


def gru_step(from_x, from_h, h):
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3, dim=-1), from_h.chunk(3, dim=-1)
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    return (1 - z) * torch.tanh(n_x + r * n_h) + z * h


def rnn_step(from_x, from_h, h):
    return torch.tanh(from_x + from_h)


def naive_stack(step):
    def reference(p, tokens):
        h_seq, layer = list(p["embedding.weight"][tokens].unbind(1)), 0
        while f"recurrence.weight_ih_l{layer}" in p:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            W, U, b, d = (p[f"recurrence.{k}_l{layer}"] for k in names)
            h = torch.zeros_like(h_seq[0])
            for t, x in enumerate(h_seq):
                h_seq[t] = h = step(x @ W.T + b, h @ U.T + d, h)
            layer += 1
        return torch.stack([h @ p["head.weight"].T + p["head.bias"] for h in h_seq], dim=1)

    return reference


def torch_stack(kind):
    """torch's own, time first."""

    def reference(p, tokens):
        weights = under("recurrence.", p)
        width = p["embedding.weight"].shape[1]
        stack = kind(width, width, num_layers=len(weights) // 4)
        h, _ = functional_call(stack, weights, p["embedding.weight"][tokens.T])
        return h.transpose(0, 1) @ p["head.weight"].T + p["head.bias"]

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("gru", naive_stack(gru_step)),
        ("gru", torch_stack(nn.GRU)),
        ("rnn", naive_stack(rnn_step)),
        ("rnn", torch_stack(nn.RNN)),
    ],
)
def test_gru_and_rnn(name, reference, layers, shape):
    assert_agrees(build(name, width=12, layers=layers), reference, draw_tokens(*shape), 1e-9)


# Mamba with negative eigenvalues, and without.


def naive_mamba(low):
    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        for i in range(len(under("norms.", p))):
            q = under(f"mixers.{i}.", p)
            u = rms_norm(x, p[f"norms.{i}.weight"])
            u, z = (u @ q["in_proj.weight"].T).chunk(2, dim=-1)
            u = F.silu(causal_conv(u, q["conv1d.weight"][:, 0].T) + q["conv1d.bias"])
            S = q["A_log"].shape[1]
            projected = u @ q["x_proj.weight"].T
            dt, B, C = projected[..., : -2 * S], projected[..., -2 * S : -S], projected[..., -S:]
            delta = torch.log(1 + torch.exp(dt @ q["dt_proj.weight"].T + q["dt_proj.bias"]))
            delta, v, B, C = (each.transpose(0, 1) for each in (delta, u, B, C))
            y, _ = naive_scan(delta, v, -torch.exp(q["A_log"].T), B, C, None, low)
            x = x + ((y.transpose(0, 1) + q["D"] * u) * F.silu(z)) @ q["out_proj.weight"].T
        return rms_norm(x, p["norm.weight"]) @ p["head.weight"].T

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers"), [(16, 1), (20, 2)])
@pytest.mark.parametrize(("name", "low"), [("mamba", 0.0), ("mamba-neg", -1.0)])
def test_mamba(name, low, width, layers, shape):
    model = build(name, width=width, layers=layers)
    assert_agrees(model, naive_mamba(low), draw_tokens(*shape), 1e-9)


# Dense SSM.


def naive_dense_ssm(p, tokens):
    """The product of the matrices; only its direction is read."""
    x_BTD, S = p["embedding.weight"][tokens], len(p["start"])
    W_SSD = p["transition.weight"].view(S, S, -1)
    h_BS, h = p["start"].expand(len(tokens), S), []
    for x_BD in x_BTD.unbind(1):
        h_BS = torch.einsum("ijd,bd,bj->bi", W_SSD, x_BD, h_BS)
        h.append(math.sqrt(S) * h_BS / h_BS.norm(dim=-1, keepdim=True))
    return torch.stack(h, dim=1) @ p["head.weight"].T + p["head.bias"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "state"), [(3, 5), (8, 8), (12, 2)])
def test_dense_ssm(width, state, shape):
    model = build("dense-ssm", width=width, state=state)
    assert_agrees(model, naive_dense_ssm, draw_tokens(*shape), 1e-9)


def test_only_the_direction_of_a_dense_ssm_counts():
    """Each token's matrix times a positive number of its own: the logits stay."""
    model, tokens = build("dense-ssm", width=8, state=8), draw_tokens(2, LENGTH)
    with torch.no_grad():
        expected = model(tokens)
        model.embedding.weight *= torch.logspace(-2, 3, VOCAB, dtype=torch.float64)[:, None]
        assert_same(model(tokens), expected, "logits", 1e-9)


def hand_set_dense_ssm(A_VSS, start, readout):
    """A dense SSM whose token v applies A[v]; `readout` has one row per answer."""
    V, S, _ = A_VSS.shape
    model = models["dense-ssm"].cls(V, LENGTH, width=V, state=S)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.eye(V))
        model.transition.weight.copy_(A_VSS.flatten(1).T)
        model.start.copy_(start)
        model.head.weight.copy_(readout)
        model.head.bias.zero_()
    return model


S5 = list(itertools.permutations(range(5)))


def after(f, g):
    """f, then g."""
    return tuple(g[f[i]] for i in range(5))


def matrices(permutations):
    """Those that move entry i to g[i]."""
    return torch.stack([torch.eye(len(g))[list(g)].T for g in permutations])


@pytest.mark.parametrize("regular", [False, True])
def test_dense_ssm_composes_s5_exactly(regular):
    """S5 moves five different numbers, or in the regular representation its own 120 elements."""
    if regular:
        A = matrices([[S5.index(after(f, g)) for f in S5] for g in S5])
        start = torch.eye(len(S5))[S5.index((0, 1, 2, 3, 4))]
    else:
        A, start = matrices(S5), torch.arange(5.0) - 2
    tokens = draw_tokens(2, LENGTH, vocab=len(S5))
    with torch.no_grad():
        answers = hand_set_dense_ssm(A, start, A @ start)(tokens).argmax(-1)
    for xs, ys in zip(tokens.tolist(), answers.tolist(), strict=True):
        assert [S5[y] for y in ys] == list(itertools.accumulate((S5[x] for x in xs), after))


def test_scalar_dense_ssm_is_exact_parity():
    """a = 1 − 2x."""
    A = torch.tensor([1.0, -1.0]).view(2, 1, 1)
    bits = draw_tokens(3, LENGTH, vocab=2)
    with torch.no_grad():
        answers = hand_set_dense_ssm(A, torch.ones(1), A[:, 0])(bits).argmax(-1)
    assert torch.equal(answers, bits.cumsum(1) % 2)


# DeltaNet and DeltaProduct.


def naive_delta_rule(q, k, v, beta, start=None):
    """S ← S (I − β k kᵀ) + β v kᵀ, a few times per query; y_BHTD and the last S_BHDD."""
    B, H, T, D = q.shape
    steps = k.shape[2] // T
    S = torch.zeros(B, H, v.shape[-1], D, dtype=q.dtype) if start is None else start
    y = []
    for t in range(T):
        for i in range(t * steps, (t + 1) * steps):
            k_i, v_i, beta_i = k[:, :, i, None], v[:, :, i, :, None], beta[:, :, i, None, None]
            S = S @ (torch.eye(D) - beta_i * k_i.mT @ k_i) + beta_i * v_i @ k_i
        y.append(torch.einsum("bhij,bhj->bhi", S, q[:, :, t]))
    return torch.stack(y, dim=2), S


@pytest.mark.parametrize("T", [1, 2, 9, 37])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("started", [False, True])
def test_delta_rule(started, steps, T):
    B, H, D, S = 2, 3, 4, steps * T
    q, k, v, beta, start = draw((B, H, T, D), (B, H, S, D), (B, H, S, D), (B, H, S), (B, H, D, D))
    inputs = [z.requires_grad_() for z in (q, F.normalize(k, dim=-1), v, 2 * sigmoid(beta))]
    y, end = delta_rule(*inputs, start if started else None)
    expected, expected_end = naive_delta_rule(*inputs, start if started else None)
    torch.testing.assert_close(end, expected_end)
    assert_same_with_gradients(y, expected, inputs)


def householder(q_D, k_SD, beta_S, start_DD):
    """A product of I − β k kᵀ alone, v = 0, of one sample and one head: y_TD, last S_DD."""
    parts = (q_D.expand(LENGTH, -1), k_SD, 0 * k_SD, beta_S, start_DD)
    y, end = delta_rule(*(z[None, None] for z in parts))
    return y[0, 0], end[0, 0]


def test_two_equal_reflections_leave_the_state():
    k, q, start, beta = draw((LENGTH, 4), 4, (4, 4), 2 * LENGTH)
    k = F.normalize(k, dim=-1).repeat_interleave(2, dim=0)
    y, end = householder(q, k, torch.full_like(beta, 2), start)
    torch.testing.assert_close(end, start)
    torch.testing.assert_close(y, (start @ q).expand_as(y))


def test_one_reflection_per_one_is_exact_parity():
    bits = draw_tokens(1, LENGTH, vocab=2)[0]
    one = torch.ones(1, 1)
    y, _ = householder(one[0], one.expand(LENGTH, 1), 2.0 * bits, one)
    assert torch.equal(y[:, 0], 1.0 - 2 * (bits.cumsum(0) % 2))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-9)])
def test_two_reflections_are_a_rotation_of_order_three(dtype, tolerance):
    """Mirrors at an angle α turn by 2 α."""
    x = draw_tokens(1, LENGTH, vocab=3)[0]

    def unit(angle):
        return torch.stack([angle.cos(), angle.sin()], dim=-1)

    k = unit(torch.stack([math.pi / 3 * x.double(), 0.0 * x], dim=1).flatten()).to(dtype)
    eye = torch.eye(2, dtype=dtype)
    y, _ = householder(eye[0], k, torch.full_like(k[:, 0], 2), eye)
    assert_same(y, unit(2 * math.pi / 3 * (x.cumsum(0) % 3).double()), "y", tolerance)


def naive_deltanet(heads, steps, most=2):
    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        for i in range(len(under("mlps.", p)) // 2):
            q = under(f"mixers.{i}.", p)
            u = rms_norm(x, p[f"norms.{2 * i}.weight"])
            conv = F.silu(causal_conv(u @ q["qkv.weight"].T, q["taps"]))
            # Channels: the query, then the keys of every step, then the values of every step.
            qkv = conv.view(*tokens.shape, 1 + 2 * steps, heads, -1).unbind(2)
            length = [z / z.norm(dim=-1, keepdim=True) for z in qkv[: 1 + steps]]
            beta = most * sigmoid(u @ q["beta.weight"].T).view(*tokens.shape, steps, heads)

            def in_turn(parts):
                return torch.stack(parts, dim=2).flatten(1, 2).transpose(1, 2)

            y, _ = naive_delta_rule(
                in_turn(length[:1]), in_turn(length[1:]), in_turn(qkv[1 + steps :]),
                in_turn(beta.unbind(2)),
            )  # fmt: skip
            y = rms_norm(y, q["norm.weight"]).transpose(1, 2).flatten(2)
            x = x + y @ q["out.weight"].T
            u = rms_norm(x, p[f"norms.{2 * i + 1}.weight"])
            gate, value = (u @ p[f"mlps.{i}.up.weight"].T).chunk(2, dim=-1)
            x = x + (F.silu(gate) * value) @ p[f"mlps.{i}.down.weight"].T
        return rms_norm(x, p["norm.weight"]) @ p["head.weight"].T

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 1), (12, 2, 4), (10, 2, 3)])
@pytest.mark.parametrize(("name", "steps"), [("deltanet", 1), ("deltaproduct", 2)])
def test_deltanet(name, steps, width, layers, heads, shape):
    model = build(name, width=width, layers=layers, heads=heads)
    assert_agrees(model, naive_deltanet(heads, steps), draw_tokens(*shape), 1e-9)


# xLSTM.


def naive_slstm(p, x, heads):
    """The paper's equations before stabilisation, one head and one gate at a time."""
    head = p["out.weight"].shape[1] // heads
    out = []
    for k in range(heads):
        rows = [slice((g * heads + k) * head, (g * heads + k + 1) * head) for g in range(4)]
        W, b = ([p[f"gates.{key}"][r] for r in rows] for key in ("weight", "bias"))
        R = p["recurrent"][k].split(head, dim=1)
        h = c = n = torch.zeros(len(x), head, dtype=x.dtype)
        y = []
        for x_t in x.unbind(1):
            i, f, z, o = (x_t @ W[g].T + b[g] + h @ R[g] for g in range(4))
            c = sigmoid(f) * c + torch.exp(i) * torch.tanh(z)
            n = sigmoid(f) * n + torch.exp(i)
            h = sigmoid(o) * c / n
            y.append(h)
        channels = slice(k * head, (k + 1) * head)
        out.append(
            layer_norm(torch.stack(y, dim=1), p["norm.weight"][channels], p["norm.bias"][channels])
        )
    return torch.cat(out, dim=-1) @ p["out.weight"].T


def naive_xlstm(heads):
    def reference(p, tokens):
        def norm(x, at):
            return layer_norm(x, p[f"{at}.weight"], p[f"{at}.bias"])

        x = p["embedding.weight"][tokens]
        for i in range(len(under("mlps.", p)) // 2):
            x = x + naive_slstm(under(f"cells.{i}.", p), norm(x, f"norms.{2 * i}"), heads)
            u = norm(x, f"norms.{2 * i + 1}") @ p[f"mlps.{i}.up.weight"].T
            gate, value = u.chunk(2, dim=-1)
            gelu = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2
            x = x + (gelu * value) @ p[f"mlps.{i}.down.weight"].T
        return norm(x, "norm") @ p["head.weight"].T

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 1), (12, 2, 4), (10, 2, 3)])
def test_xlstm(width, layers, heads, shape):
    model = build("xlstm", width=width, layers=layers, heads=heads)
    assert_agrees(model, naive_xlstm(heads), draw_tokens(*shape), 1e-9)


@pytest.mark.parametrize("reach", [100, 150, 200])
@pytest.mark.parametrize("shape", SHAPES)
def test_xlstm_is_stable_where_the_naive_form_overflows(shape, reach):
    """i and f reach so far in both directions: exp(reach) fits float64, but not float32."""
    model, reference = build("xlstm", width=6, layers=1, heads=2), naive_xlstm(2)
    tokens, gates = draw_tokens(*shape), model.cells[0].gates
    with torch.no_grad():
        u, gates.bias[:12] = model.norms[0](model.embedding.weight), 0
        gates.weight[:12] *= reach / (u @ gates.weight[:12].T).abs().max()
        assert (u @ gates.weight[:12].T).min() < -0.8 * reach
    assert_agrees(model, reference, tokens, 1e-9)

    model.float().zero_grad()
    assert not reference(dict(model.named_parameters()), tokens).isfinite().all()
    logits = model(tokens)
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
