"""The linear recurrences against their papers' equations, one sequence, head and step at a time.

Every reference computes in float64, also where the model's weights are in float32.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from oracles import SHAPES, VOCAB, assert_agrees, draw_tokens, shake, under
from test_models_recurrent import causal_conv, naive_deltanet, rms_norm
from torch import sigmoid

from kbench.registry import models

PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]


def assert_is(reference, name, shape, dtype, tolerance, **size):
    def exactly(p, tokens):
        return reference({key: z.double() for key, z in p.items()}, tokens)

    torch.manual_seed(0)
    model = shake(models[name].cls(VOCAB, shape[1], **size)).to(dtype)
    assert_agrees(model, exactly, draw_tokens(*shape), tolerance)


def layer_norm(x, weight, bias, eps=1e-5):
    x = x - x.mean(-1, keepdim=True)
    return weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) + bias


def softplus(x):
    return torch.log(1 + torch.exp(x))


def by_head(recurrence, heads, *inputs):
    """[batch, time, heads · d] each → y of every sequence and head by itself, side by side."""
    B, T = inputs[0].shape[:2]
    per_head = [z.reshape(B, T, heads, -1) for z in inputs]
    y = [
        torch.stack([recurrence(*(z[b, :, h] for z in per_head)) for h in range(heads)], dim=1)
        for b in range(B)
    ]
    return torch.stack(y).flatten(2)


def swiglu(p, x):
    gate, value = (x @ p["up.weight"].T).chunk(2, dim=-1)
    return (F.silu(gate) * value) @ p["down.weight"].T


def stack(*mixers):
    """Blocks of these mixers in turns and a SwiGLU, each with an RMSNorm before it."""

    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        for i in range(len(under("mlps.", p)) // 2):
            mixed = mixers[i % len(mixers)](
                under(f"mixers.{i}.", p), rms_norm(x, p[f"norms.{2 * i}.weight"])
            )
            x = x + mixed
            x = x + swiglu(under(f"mlps.{i}.", p), rms_norm(x, p[f"norms.{2 * i + 1}.weight"]))
        return rms_norm(x, p["norm.weight"]) @ p["head.weight"].T

    return reference


# Mamba-2.


def naive_mamba2(heads, state):
    def mixer(p, x):
        xBC = F.silu(causal_conv(x @ p["xBC.weight"].T, p["taps"]) + p["conv_bias"])
        u, B, C = xBC[..., : -2 * state], xBC[..., -2 * state : -state], xBC[..., -state:]
        delta = softplus(x @ p["decay.dt.weight"].T + p["decay.dt.bias"])
        a = torch.exp(-delta * torch.exp(p["decay.A_log"]))

        def recurrence(u, delta, a, B, C, D):
            h, y = 0, []
            for t in range(len(u)):
                h = a[t] * h + delta[t] * torch.outer(u[t], B[t])
                y.append(h @ C[t] + D[t] * u[t])
            return torch.stack(y)

        B, C = (torch.cat([z] * heads, dim=-1) for z in (B, C))
        y = by_head(recurrence, heads, u, delta, a, B, C, p["D"].expand_as(a))
        y = y * F.silu(x @ p["gate.weight"].T)
        return rms_norm(y, p["norm.weight"]) @ p["out.weight"].T

    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        for i in range(len(under("norms.", p))):
            x = x + mixer(under(f"mixers.{i}.", p), rms_norm(x, p[f"norms.{i}.weight"]))
        return rms_norm(x, p["norm.weight"]) @ p["head.weight"].T

    return reference


# With one head the norm hides D at T = 1, whose gradient is nothing but rounding then.
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (10, 2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_mamba2(width, layers, heads, shape, dtype, tolerance):
    size = {"width": width, "layers": layers, "heads": heads, "state": 5}
    assert_is(naive_mamba2(heads, 5), "mamba2", shape, dtype, tolerance, **size)


# Gated DeltaNet.


def naive_gated_deltanet(heads):
    def mixer(p, x):
        qkv = F.silu(causal_conv(x @ p["qkv.weight"].T, p["taps"])).chunk(3, dim=-1)
        beta = sigmoid(x @ p["beta.weight"].T)
        delta = softplus(x @ p["decay.dt.weight"].T + p["decay.dt.bias"])
        alpha = torch.exp(-delta * torch.exp(p["decay.A_log"]))

        def recurrence(q, k, v, beta, alpha):
            S, y, eye = torch.zeros(len(v[0]), len(k[0]), dtype=v.dtype), [], torch.eye(len(k[0]))
            for t in range(len(q)):
                k_t = k[t] / k[t].norm()
                S = S @ (alpha[t] * (eye - beta[t] * torch.outer(k_t, k_t)))
                S = S + beta[t] * torch.outer(v[t], k_t)
                y.append(rms_norm(S @ q[t] / q[t].norm(), p["norm.weight"]))
            return torch.stack(y)

        y = by_head(recurrence, heads, *qkv, beta, alpha)
        return (y * F.silu(x @ p["gate.weight"].T)) @ p["out.weight"].T

    return mixer


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (10, 2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_gated_deltanet(width, layers, heads, shape, dtype, tolerance):
    size = {"width": width, "layers": layers, "heads": heads}
    reference = stack(naive_gated_deltanet(heads))
    assert_is(reference, "gated-deltanet", shape, dtype, tolerance, **size)


# Gradients of q and k, which are brought to length 1, grow as these are short; so does rounding.
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (10, 2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(("name", "steps"), [("deltanet-pos", 1), ("deltaproduct-pos", 2)])
def test_deltanet_of_positive_eigenvalues(
    name, steps, width, layers, heads, shape, dtype, tolerance
):
    size = {"width": width, "layers": layers, "heads": heads}
    assert_is(naive_deltanet(heads, steps, most=1), name, shape, dtype, tolerance, **size)


# A hybrid.


def naive_attention(heads):
    def mixer(p, x):
        qkv = x @ p["attention.qkv.weight"].T + p["attention.qkv.bias"]

        def attend(q, k, v):
            y = []
            for t in range(len(q)):
                weights = torch.exp(k[: t + 1] @ q[t] / math.sqrt(len(q[t])))
                y.append(weights @ v[: t + 1] / weights.sum())
            return torch.stack(y)

        y = by_head(attend, heads, *qkv.chunk(3, dim=-1))
        return y @ p["attention.out.weight"].T + p["attention.out.bias"]

    return mixer


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 2, 2), (10, 3, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_hybrid(width, layers, heads, shape, dtype, tolerance):
    size = {"width": width, "layers": layers, "heads": heads}
    reference = stack(naive_gated_deltanet(heads), naive_attention(heads))
    assert_is(reference, "hybrid", shape, dtype, tolerance, **size)


# Gated linear attention.


def naive_gla(heads):
    def mixer(p, x):
        inner = len(p["alpha.1.bias"])
        q, k, v = (x @ p["qkv.weight"].T).tensor_split([inner, 2 * inner], dim=-1)
        z = x @ p["alpha.0.weight"].T @ p["alpha.1.weight"].T + p["alpha.1.bias"]
        alpha = sigmoid(z) ** (1 / 16)

        def recurrence(q, k, v, alpha):
            S, y = 0, []
            for t in range(len(q)):
                S = alpha[t][:, None] * S + torch.outer(k[t], v[t])
                y.append(layer_norm(q[t] @ S, p["norm.weight"], p["norm.bias"]))
            return torch.stack(y)

        gate = F.silu(x @ p["gate.weight"].T + p["gate.bias"])
        return (by_head(recurrence, heads, q, k, v, alpha) * gate) @ p["out.weight"].T

    return mixer


# As with RWKV-7, the gates of a single token have no effect.
@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (11, 2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-5), (torch.float64, 1e-10)])
def test_gla(width, layers, heads, shape, dtype, tolerance):
    size = {"width": width, "layers": layers, "heads": heads}
    assert_is(stack(naive_gla(heads)), "gla", shape, dtype, tolerance, **size)


def test_gla_that_forgets_nearly_everything_stays_finite():
    model, tokens = models["gla"].cls(VOCAB, 100, width=8, layers=1, heads=2), draw_tokens(2, 100)
    torch.nn.init.constant_(model.mixers[0].alpha[1].bias, -60.0)
    logits = model(tokens)
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


# mLSTM.


def naive_mlstm(heads):
    """The paper's equations before stabilisation."""

    def blockwise(x, weight):
        pieces = x.split(weight.shape[1], dim=-1)
        return torch.cat([piece @ W for piece, W in zip(pieces, weight, strict=True)], dim=-1)

    def mixer(p, x):
        x, z = (x @ p["up.weight"].T).chunk(2, dim=-1)
        c = F.silu(causal_conv(x, p["taps"]) + p["conv_bias"])
        q, k = (blockwise(c, W) for W in p["qk"].chunk(2, dim=-1))
        v = blockwise(x, p["v"])
        gates = torch.cat([q, k, v], dim=-1) @ p["gates.weight"].T + p["gates.bias"]
        i, f = torch.exp(gates[..., :heads]), sigmoid(gates[..., heads:])

        def recurrence(q, k, v, i, f):
            C, n, y = 0, 0, []
            for t in range(len(q)):
                k_t = k[t] / math.sqrt(len(k[t]))
                C = f[t] * C + i[t] * torch.outer(v[t], k_t)
                n = f[t] * n + i[t] * k_t
                h = C @ q[t] / max((n @ q[t]).abs(), torch.ones(()))
                y.append(layer_norm(h, 1, 0))
            return torch.stack(y)

        h = p["scale"] * by_head(recurrence, heads, q, k, v, i, f) + p["skip"] * c
        return (h * F.silu(z)) @ p["down.weight"].T

    def reference(p, tokens):
        x = p["embedding.weight"][tokens]
        for layer in range(len(under("norms.", p)) // 2):
            norm = under(f"norms.{layer}.", p)
            x = x + mixer(under(f"cells.{layer}.", p), layer_norm(x, norm["weight"], norm["bias"]))
        return layer_norm(x, p["norm.weight"], p["norm.bias"]) @ p["head.weight"].T

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (10, 2, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_mlstm(width, layers, heads, shape, dtype, tolerance):
    size = {"width": width, "layers": layers, "heads": heads}
    assert_is(naive_mlstm(heads), "mlstm", shape, dtype, tolerance, **size)


def test_mlstm_is_stable_where_exponential_gates_overflow():
    """exp(i) fits float64 but not float32, in which the model is the same as in float64."""
    torch.manual_seed(0)
    model = shake(models["mlstm"].cls(VOCAB, 37, width=8, layers=1, heads=2))
    model.cells[0].gates.bias.data[:2] += 100
    tokens = draw_tokens(2, 37)
    logits = model(tokens)
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    exact = naive_mlstm(2)({key: p.double() for key, p in model.named_parameters()}, tokens)
    torch.testing.assert_close(logits.double(), exact, rtol=1e-4, atol=1e-4)


# RWKV-7.


def naive_time_mix(p, x, heads):
    def shift(mu):
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        return (1 - mu) * x + mu * before

    x_r, x_w, x_k, x_v, x_a, x_g = (shift(mu) for mu in p["mu"][:, 0, 0])
    r, k, v = (z @ p[f"{n}.weight"].T for z, n in ((x_r, "r"), (x_k, "k"), (x_v, "v")))
    w = torch.tanh(x_w @ p["w.0.weight"].T) @ p["w.2.weight"].T + p["w_0"]
    w = torch.exp(-math.exp(-0.5) * sigmoid(w))
    a = sigmoid(x_a @ p["a.0.weight"].T @ p["a.2.weight"].T + p["a_0"])
    g = sigmoid(x_g @ p["g.0.weight"].T) @ p["g.2.weight"].T
    kappa = k * p["k_k"]
    k = k * (1 - p["k_a"] + a * p["k_a"])

    def recurrence(r, w, k, v, kappa, a, r_k, weight, bias):
        S, y = torch.zeros(r.shape[1], r.shape[1], dtype=r.dtype), []
        for t in range(len(r)):
            unit = kappa[t] / kappa[t].norm()
            S = S @ (torch.diag(w[t]) - torch.outer(unit, a[t] * unit)) + torch.outer(v[t], k[t])
            normed = layer_norm(S @ r[t], weight[t], bias[t], 1e-5 * len(r[t]))
            y.append(normed + (r_k[t] * r[t] * k[t]).sum() * v[t])
        return torch.stack(y)

    fixed = (z.flatten().expand_as(r) for z in (p["r_k"], p["norm_weight"], p["norm_bias"]))
    y = by_head(recurrence, heads, r, w, k, v, kappa, a, *fixed)
    return (y * g) @ p["out.weight"].T


def naive_rwkv7(heads):
    def reference(p, tokens):
        def normed(x, at):
            return layer_norm(x, p[f"{at}.weight"], p[f"{at}.bias"])

        layers = len(under("mlps.", p)) // 3
        x = normed(p["embedding.weight"][tokens], f"norms.{2 * layers}")
        for i in range(layers):
            u = normed(x, f"norms.{2 * i}")
            x = x + naive_time_mix(under(f"mixers.{i}.", p), u, heads)
            u, mlp = normed(x, f"norms.{2 * i + 1}"), under(f"mlps.{i}.", p)
            before = torch.cat([torch.zeros_like(u[:, :1]), u[:, :-1]], dim=1)
            u = u + mlp["mu"] * (before - u)
            x = x + F.relu(u @ mlp["k.weight"].T) ** 2 @ mlp["v.weight"].T
        return normed(x, "norm") @ p["head.weight"].T

    return reference


# Of a single token nothing decays, and what gradient the decays have is rounding.
@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize(("width", "layers", "heads"), [(8, 1, 2), (10, 2, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_rwkv7(width, layers, heads, shape, dtype, tolerance):
    size = {"width": width, "layers": layers, "heads": heads}
    assert_is(naive_rwkv7(heads), "rwkv7", shape, dtype, tolerance, **size)
