"""How models start, where a change would go unnoticed otherwise."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kstest

from kbench.registry import models


def started(name, seed=1, **size):
    torch.manual_seed(seed)
    return models[name].cls(vocab_size=7, max_len=16, **size)


def test_xlstm_forgets_little_at_first_and_lets_everything_in():
    """Biases of the forget gate from 3 to 6 in each head, of the input gate 0, no recurrence:
    the authors' sLSTM (Beck et al. 2024, arXiv 2405.04517, appendix A.2 and their code)."""
    size = models["xlstm"].preset("quick")
    model, heads = started("xlstm", **size), size["heads"]
    cells = [m for m in model.modules() if hasattr(m, "recurrent")]
    assert cells
    for cell in cells:
        i, f, _, _ = cell.gates.bias.detach().view(4, heads, -1)
        assert not i.any()
        for of_head in f:
            torch.testing.assert_close(of_head, torch.linspace(3, 6, len(of_head)))
        assert not cell.recurrent.any()


def test_a_dense_ssm_keeps_the_length_of_its_state_on_average():
    """E |A(x) h|² = |h|² for embeddings from N(0, 1): entries of A have variance 1 / state."""
    width, state = 16, 32
    model = started("dense-ssm", width=width, state=state)
    weights = model.transition.weight.detach().flatten()
    std = 1 / math.sqrt(width * state)
    assert kstest(weights.numpy() / std, "norm").pvalue > 1e-3
    x = torch.randn(300, width)
    A = model.transition(x).detach().view(-1, state, state)
    h = torch.randn(state, 1)
    grown = (A @ h).square().sum(1) / h.square().sum()
    assert grown.mean().item() == pytest.approx(1.0, rel=0.15)


def test_a_dense_ssm_starts_from_a_state_that_is_not_zero():
    starts = torch.cat([started("dense-ssm", seed, width=8, state=64).start for seed in range(20)])
    assert kstest(starts.detach().numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize(("name", "more"), [("mamba2", {"state": 2}), ("gated-deltanet", {})])
def test_decays_of_mamba2_start_as_its_authors_have_them(name, more):
    """A uniform in [1, 16] and Δ log-uniform in [0.001, 0.1] (Dao & Gu 2024, their code)."""
    model = started(name, width=16, layers=1, heads=1000, **more)
    (decay,) = (m for m in model.modules() if hasattr(m, "A_log"))
    A, dt = decay.A_log.detach().exp(), F.softplus(decay.dt.bias.detach().double())
    assert kstest(A.numpy(), "uniform", args=(1, 15)).pvalue > 1e-3
    assert kstest(dt.log10().numpy(), "uniform", args=(-3, 2)).pvalue > 1e-3


@pytest.mark.parametrize("name", ["deltanet", "deltaproduct", "mamba2", "gated-deltanet"])
def test_taps_of_a_short_convolution_start_as_those_of_torch(name):
    """Uniform within 1/√4, as `nn.Conv1d` of one channel and four taps."""
    model = started(name, **models[name].preset("quick"))
    taps = torch.cat([p.detach().flatten() for n, p in model.named_parameters() if "taps" in n])
    torch.manual_seed(1)
    by_torch = torch.nn.Conv1d(len(taps), len(taps), 4, groups=len(taps)).weight.detach().flatten()
    assert taps.abs().max() <= 0.5
    assert kstest(taps.numpy(), "uniform", args=(-0.5, 1.0)).pvalue > 1e-3
    assert kstest(by_torch.numpy(), "uniform", args=(-0.5, 1.0)).pvalue > 1e-3


def test_rwkv7_starts_as_its_authors_have_it():
    """Decays and rates differ by channel; what depends on the input starts at zero, and so does
    all that is added to the residual stream (Peng et al. 2025, arXiv 2503.14456, their code)."""
    layers, heads, head = 3, 2, 8
    C = heads * head
    model = started("rwkv7", width=C, layers=layers, heads=heads)
    for layer, (mixer, mlp) in enumerate(zip(model.mixers, model.mlps, strict=True)):
        early, late = 1 - layer / layers, layer / (layers - 1)
        for n in range(C):
            zigzag = (n % head - (head - 1) / 2) / ((head - 1) / 2)
            zigzag *= abs(zigzag)
            w = -6 + 6 * (n / (C - 1)) ** (1 + late**0.3) + 0.5 + 2.5 * zigzag
            a = -0.19 + 0.3 * zigzag + 0.4 * (n / (C - 1) - 0.5)
            powers = (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)
            assert mixer.w_0[n].item() == pytest.approx(w, abs=1e-5)
            assert mixer.a_0[n].item() == pytest.approx(a, abs=1e-5)
            assert mixer.k_k[n].item() == pytest.approx(0.71 - 0.1 * (n / (C - 1) - 0.5), abs=1e-5)
            assert mixer.mu[:, 0, 0, n].tolist() == pytest.approx(
                [1 - (n / C) ** (p * early) for p in powers], abs=1e-5
            )
            assert mlp.mu[n].item() == pytest.approx(1 - (n / C) ** early**4, abs=1e-5)
        zero = (mixer.w[0], mixer.a[0], mixer.g[0], mixer.out, mlp.v)
        assert not any(linear.weight.any() for linear in zero)


def test_mlstm_starts_as_its_authors_have_it():
    """Gates that do not see the input; forget biases from 3 to 6 over the heads, input biases from
    N(0, 0.1) (Beck et al. 2024, arXiv 2405.04517, their code)."""
    heads = 500
    model = started("mlstm", width=250, layers=1, heads=heads)
    gates = model.cells[0].gates
    assert not gates.weight.any()
    i, f = gates.bias.detach().split(heads)
    torch.testing.assert_close(f, torch.linspace(3, 6, heads))
    assert kstest(i.numpy() / 0.1, "norm").pvalue > 1e-3
    assert (model.cells[0].skip == 1).all()


def test_canon_layers_start_as_convolutions_of_torch():
    model = started("transformer-canon", width=256, layers=2, heads=4)
    taps = torch.cat([p.detach().flatten() for n, p in model.named_parameters() if "taps" in n])
    assert len(taps) == 2 * 2 * 4 * 256
    assert kstest(taps.numpy(), "uniform", args=(-0.5, 1.0)).pvalue > 1e-3


@pytest.mark.parametrize(("name", "largest"), [("deltanet", 2), ("deltanet-pos", 1)])
def test_beta_of_a_deltanet_reaches_its_largest_value_and_no_further(name, largest):
    (mixer,) = started(name, width=8, layers=1, heads=2).mixers
    with torch.no_grad():
        beta = 2 * mixer.beta(200 * torch.randn(1000, 8)).sigmoid()
    assert 0 <= beta.min() < 1e-3
    assert largest - 1e-3 < beta.max() <= largest
