"""Part one holds for every registered model, also a future one. Part two: independent oracles."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from mambapy.mamba import Mamba as MambapyStack
from mambapy.mamba import MambaConfig
from oracles import SHAPES, VOCAB, assert_agrees, draw_tokens, shake, under
from scipy.stats import kstest
from torch import nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from kbench.models.mamba import Mamba, Mixer
from kbench.registry import models
from kbench.training.modules import answers_at

MAX_LEN = 9


# Part one: every model in the registry; `kbench check` (test_conformance.py) has the rest.


@pytest.fixture(params=models.names())
def name(request):
    return request.param


def build(name, *, seed=0, preset="quick", vocab=VOCAB, max_len=MAX_LEN):
    torch.manual_seed(seed)
    return models[name].cls(vocab, max_len, **models[name].preset(preset))


def test_what_is_known_of_its_expressivity_has_a_source(name):
    assert re.search(r"\(arXiv \d{4}\.\d{5}\b.*\)", models[name].expressivity)


def test_a_misspelt_size_raises(name):
    with pytest.raises(TypeError, match="widht"):
        models[name].cls(VOCAB, MAX_LEN, **models[name].preset("quick"), widht=8)


def test_every_size_has_an_effect(name):
    tokens, size = draw_tokens(3, MAX_LEN), models[name].preset("quick")
    numbers = [key for key, value in size.items() if type(value) is int]
    assert numbers

    def logits(size):
        torch.manual_seed(0)
        with torch.no_grad():  # shaken, for a branch that starts at zero hides its sizes
            return shake(models[name].cls(VOCAB, MAX_LEN, **size))(tokens)

    for key in numbers:
        assert not torch.equal(logits(size), logits({**size, key: 2 * size[key]})), key


def test_a_loss_at_some_positions_has_the_gradient_of_one_over_all(name):
    model, tokens = shake(build(name)), draw_tokens(3, MAX_LEN)
    if not answers_at(model):
        pytest.skip("answers at all positions only")
    at_P = torch.tensor([0, 4, 5, 13, 26])
    targets_P = tokens.flatten()[at_P]
    gradients = []
    for logits_PV in (model(tokens, at_P), model(tokens).flatten(0, 1)[at_P]):
        model.zero_grad()
        F.cross_entropy(logits_PV, targets_P).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_most_models_answer_at_some_positions():
    size = {name: models[name].preset("quick") for name in models.names()}
    can = {n for n in size if answers_at(models[n].cls(VOCAB, MAX_LEN, **size[n]))}
    assert set(size) - can == {"lstm", "dense-ssm"}


def test_the_dense_ssm_is_the_same_by_table_and_by_token():
    model, tokens = shake(build("dense-ssm")).double(), draw_tokens(3, MAX_LEN)
    assert model.by_table
    assert not models["dense-ssm"].cls(9, MAX_LEN, width=8, state=4).by_table
    gradients = []
    for model.by_table in (True, False):
        model.zero_grad()
        logits = model(tokens)
        (logits * torch.arange(VOCAB)).sum().backward()
        gradients.append([logits, *(p.grad.clone() for p in model.parameters())])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("preset", ["quick", "cpu", "paper"])
def test_every_preset_builds_and_runs(name, preset):
    with torch.device("meta"):
        model = build(name, preset=preset)
        logits = model(torch.zeros(2, MAX_LEN, dtype=torch.int64))
    assert logits.shape == (2, MAX_LEN, VOCAB)


def extend(model, tokens, sizes, state=None):
    """Logits and state after pieces of these sizes."""
    pieces = []
    for piece in tokens.split(sizes, dim=1):
        logits, state = model.extend(piece, state)
        pieces.append(logits)
    return torch.cat(pieces, dim=1), state


def numbers(state):
    return sum(leaf.numel() for leaf in tree_leaves(state))


@pytest.mark.parametrize("sizes", [[1, 8], [4, 5], [8, 1], [2, 1, 5, 1], [1] * MAX_LEN])
def test_extending_in_pieces_gives_the_logits_of_the_whole(name, sizes):
    model, tokens = shake(build(name, preset="cpu")), draw_tokens(3, MAX_LEN)
    with torch.no_grad():
        torch.testing.assert_close(extend(model, tokens, sizes)[0], model(tokens))


@pytest.mark.parametrize("time", range(1, MAX_LEN + 1))
def test_size_of_a_state_is_decided_by_the_time(name, time):
    model, tokens = build(name), draw_tokens(6, time)
    with torch.no_grad():
        at_once, one_by_one = model.extend(tokens)[1], extend(model, tokens, [1] * time)[1]
        half = model.extend(tokens[:3])[1]
    assert numbers(at_once) == numbers(one_by_one) == 2 * numbers(half) > 0


def test_a_state_is_left_as_it_is_by_its_continuations(name):
    model, tokens = shake(build(name, preset="cpu")), draw_tokens(3, MAX_LEN)
    other = torch.cat([tokens[:, :4], (tokens[:, 4:] + 1) % VOCAB], dim=1)
    with torch.no_grad():
        state = model.extend(tokens[:, :4])[1]
        before = [leaf.clone() for leaf in tree_leaves(state)]
        for whole in (tokens, other, tokens):
            logits, _ = extend(model, whole[:, 4:], [1, 4], state)
            torch.testing.assert_close(logits, model(whole)[:, 4:])
            after = tree_leaves(state)
            assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


# Part two: oracles. More of them are in the other test_models_*.py.


NAMES_LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def naive_lstm(p, tokens):
    """The equations, one position and one gate at a time."""
    h_seq = list(p["embedding.weight"][tokens].unbind(1))
    layer = 0
    while f"recurrence.weight_ih_l{layer}" in p:
        W, U, b, d = (p[f"recurrence.{k}_l{layer}"] for k in NAMES_LSTM)
        h = c = torch.zeros_like(h_seq[0])
        for t, x in enumerate(h_seq):
            i, f, g, o = (
                x @ W_k.T + b_k + h @ U_k.T + d_k
                for W_k, U_k, b_k, d_k in zip(*(z.chunk(4) for z in (W, U, b, d)), strict=True)
            )
            c = c / (1 + torch.exp(-f)) + torch.tanh(g) / (1 + torch.exp(-i))
            h = torch.tanh(c) / (1 + torch.exp(-o))
            h_seq[t] = h
        layer += 1
    return torch.stack([h @ p["head.weight"].T + p["head.bias"] for h in h_seq], dim=1)


def torch_lstm(p, tokens):
    """torch.nn.LSTM, time first."""
    recurrence = under("recurrence.", p)
    width = p["embedding.weight"].shape[1]
    lstm = nn.LSTM(width, width, num_layers=len(recurrence) // len(NAMES_LSTM))
    h, _ = functional_call(lstm, recurrence, F.embedding(tokens.T, p["embedding.weight"]))
    return F.linear(h.transpose(0, 1), p["head.weight"], p["head.bias"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("reference", [naive_lstm, torch_lstm])
def test_lstm(reference, layers, shape):
    torch.manual_seed(0)
    model = shake(models["lstm"].cls(VOCAB, shape[1], width=12, layers=layers))
    assert_agrees(model, reference, draw_tokens(*shape))


def attention_reference(layers, heads):
    """GPT-2 from torch's fused functions."""

    def reference(p, tokens):
        def norm(x, at):
            return F.layer_norm(x, x.shape[-1:], p[f"{at}.weight"], p[f"{at}.bias"])

        def linear(x, at):
            return F.linear(x, p[f"{at}.weight"], p[f"{at}.bias"])

        x = p["embedding.weight"][tokens] + p["positions.weight"][: tokens.shape[1]]
        for block in range(layers):
            at = f"blocks.{block}"
            qkv = linear(norm(x, f"{at}.norm_attention"), f"{at}.attention.qkv")
            q, k, v = (z.unflatten(-1, (heads, -1)).transpose(1, 2) for z in qkv.chunk(3, dim=-1))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + linear(mixed.transpose(1, 2).flatten(2), f"{at}.attention.out")
            hidden = linear(norm(x, f"{at}.norm_mlp"), f"{at}.mlp.0")
            x = x + linear(F.gelu(hidden, approximate="tanh"), f"{at}.mlp.2")
        return F.linear(norm(x, "norm"), p["head.weight"])

    return reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (1, 4), (3, 2)])
def test_transformer(layers, heads, shape):
    torch.manual_seed(0)
    model = models["transformer"].cls(VOCAB, 40, width=16, layers=layers, heads=heads)
    assert_agrees(shake(model), attention_reference(layers, heads), draw_tokens(*shape))


def test_transformer_starts_as_gpt2():
    layers = 3
    torch.manual_seed(0)
    model = models["transformer"].cls(200, 100, width=128, layers=layers, heads=4)
    for name, p in model.named_parameters():
        values = p.detach().flatten()
        if name.endswith("bias"):
            assert not values.any(), name
        elif "norm" in name:
            assert (values == 1).all(), name
        else:
            residual = name.endswith(("attention.out.weight", "mlp.2.weight"))
            std = 0.02 / math.sqrt(2 * layers) if residual else 0.02
            assert values.std().item() == pytest.approx(std, rel=0.03), name
            assert kstest(values.numpy() / std, "norm").pvalue > 1e-3, name


def mambapy_reference(p, tokens):
    """Embedding, mambapy's stack of residual blocks, RMSNorm, linear read-out."""
    layers = len(under("norms.", p))
    config = MambaConfig(d_model=p["norm.weight"].shape[0], n_layers=layers, pscan=False)
    stack = {
        f"layers.{i}.{part}.{key}": value
        for i in range(layers)
        for part, ours in (("mixer", f"mixers.{i}."), ("norm", f"norms.{i}."))
        for key, value in under(ours, p).items()
    }
    x = functional_call(MambapyStack(config), stack, p["embedding.weight"][tokens], strict=True)
    x = x / torch.sqrt(x.square().mean(-1, keepdim=True) + config.rms_norm_eps)
    return F.linear(x * p["norm.weight"], p["head.weight"])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("width", "layers"), [(16, 1), (20, 2), (64, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
def test_mamba_is_mambapy(width, layers, shape, dtype, tolerance):
    torch.manual_seed(0)
    model = shake(Mamba(VOCAB, shape[1], width=width, layers=layers)).to(dtype)
    with torch.no_grad():
        model.embedding.weight *= 0.01  # mean squares near 1e-4: the norms' epsilon shows
    assert_agrees(model, mambapy_reference, draw_tokens(*shape), tolerance)


@pytest.mark.parametrize(("width", "rank"), [(1, 1), (16, 1), (17, 2), (100, 7)])
def test_mamba_sizes(width, rank):
    mixer = Mixer(width)
    inner = 2 * width
    assert mixer.in_proj.weight.shape == (2 * inner, width)
    assert mixer.conv1d.weight.shape == (inner, 1, 4)
    assert mixer.x_proj.weight.shape == (rank + 2 * 16, inner)
    assert mixer.dt_proj.weight.shape == (inner, rank)
    assert mixer.out_proj.weight.shape == (width, inner)
    A = -torch.exp(mixer.A_log.detach())
    torch.testing.assert_close(A, -torch.arange(1.0, 17).expand(inner, 16))
    assert torch.equal(mixer.D.detach(), torch.ones(inner))


def test_mamba_steps_start_log_uniform():
    torch.manual_seed(0)
    dt = F.softplus(Mixer(1024).dt_proj.bias.detach().double())
    assert dt.min() > 0.999e-3
    assert 0.098 < dt.max() < 0.1001
    # In units of the logarithm's range: uniform on [0, 1].
    assert kstest((dt.log10() + 3).numpy() / 2, "uniform").pvalue > 1e-3
