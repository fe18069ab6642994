"""What is measured of a model: parameters, state and FLOPs, and widths matched by them."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kbench.errors import KbenchError
from kbench.registry import Entry, models
from kbench.training.modules import (
    build,
    flops_per_token,
    match_parameters,
    parameter_count,
    state_size,
)

V, T = 4, 12


def of(name, preset="quick", **size):
    return build(models[name], V, T, {**models[name].preset(preset), **size})


def test_parameters_in_closed_form():
    D = 64
    assert parameter_count(of("lstm")) == V * D + 8 * D * D + 8 * D + D * V + V
    assert parameter_count(of("transformer")) == V * D + T * D + 12 * D * D + 13 * D + 2 * D + D * V
    frozen = of("lstm")
    frozen.embedding.weight.requires_grad_(False)
    assert parameter_count(frozen) == 8 * D * D + 8 * D + D * V + V


@pytest.mark.parametrize(
    ("name", "state"),
    {
        "rnn": (64, 0),
        "gru": (64, 0),
        "lstm": (2 * 64, 0),
        "xlstm": (4 * 64, 0),
        "dense-ssm": (32, 0),
        # Two layers: 3 inputs of the convolution and 16 numbers for each of 64 channels.
        "mamba": (2 * (3 + 16) * 64, 0),
        "mamba-neg": (2 * (3 + 16) * 64, 0),
        # 3 inputs of the convolution of x, B and C, and 16 numbers for each of 128 channels.
        "mamba2": (3 * (128 + 2 * 16) + 16 * 128, 0),
        # Four heads of 16 × 16, and 3 inputs of the convolutions of q, k and v.
        "deltanet": (4 * 16 * 16 + 3 * 3 * 64, 0),
        "deltaproduct": (4 * 16 * 16 + 3 * 5 * 64, 0),
        "gated-deltanet": (4 * 16 * 16 + 3 * 3 * 64, 0),
        # Four heads of 16 × 16, and the last inputs of the time mix and of the channel mix.
        "rwkv7": (4 * 16 * 16 + 2 * 64, 0),
        "deltanet-pos": (4 * 16 * 16 + 3 * 3 * 64, 0),
        "deltaproduct-pos": (4 * 16 * 16 + 3 * 5 * 64, 0),
        # Four heads of 8 × 16.
        "gla": (4 * 8 * 16, 0),
        # Four heads of 32 × 32, n and m, and 3 inputs of the convolution.
        "mlstm": (4 * (32 * 32 + 32 + 1) + 3 * 128, 0),
        "hybrid": (4 * 16 * 16 + 3 * 3 * 64, 2 * 64),
        # 3 inputs of both convolutions.
        "transformer-canon": (2 * 3 * 64, 2 * 64),
        "transformer": (0, 2 * 64),
        "transformer-rope": (0, 2 * 64),
        "transformer-alibi": (0, 2 * 64),
        "transformer-nope": (0, 2 * 64),
        "looped-transformer": (0, 4 * 2 * 64),
    }.items(),
)
def test_state_in_closed_form(name, state):
    assert state_size(of(name), V, T) == state


def test_a_model_without_extend_has_no_measured_state():
    assert state_size(nn.Embedding(V, V), V, T) is None


class Affine(nn.Module):
    def __init__(self, vocab_size, max_len, *, width):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).relu()).softmax(-1)


def test_flops_in_closed_form():
    # A product, a ReLU, and a softmax, counted once per element.
    assert flops_per_token(Affine(V, T, width=8), V, T) == 2 * 8 * V + 8 + V


@pytest.mark.parametrize("name", ["transformer", "transformer-nope", "deltanet"])
def test_most_of_a_transformer_is_what_torch_counts_as_products(name):
    model = of(name, "cpu")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, T, dtype=torch.int64))
    ours, products = flops_per_token(model, V, T) * T, counter.get_total_flops()
    assert products < ours < 1.2 * products


def test_flops_of_recurrent_models_are_seen_inside_fused_operations():
    D = 64
    lstm = flops_per_token(of("lstm"), V, T)
    products = 16 * D * D + 2 * D * V
    assert products < lstm < 1.05 * products
    # The scan: a multiplication, an exponential, a product, a sum, a read-out for every state.
    mamba, states = flops_per_token(of("mamba"), V, T), 2 * 16 * 64
    assert mamba > 6 * states
    assert flops_per_token(of("mamba-neg"), V, T) == pytest.approx(mamba + 2 * states, rel=0.01)


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("target", [20_000, 51_392, 300_000])
def test_every_model_can_be_matched_within_five_percent(name, target):
    size = match_parameters(models[name], models[name].preset("quick"), target, V, T)
    assert parameter_count(of(name, **size)) == pytest.approx(target, rel=0.05)
    assert {k: v for k, v in size.items() if k != "width"} == {
        k: v for k, v in models[name].preset("quick").items() if k != "width"
    }


def test_what_cannot_be_matched():
    entry = Entry(name="affine", cls=Affine, version=1, presets=None)
    with pytest.raises(KbenchError, match="no width comes within 5 % of 22 parameters"):
        match_parameters(entry, {"width": 1}, 22, V, T)  # a width more, 8 parameters more
    with pytest.raises(KbenchError, match="has no width"):
        match_parameters(entry, {}, 22, V, T)
    with pytest.raises(KbenchError, match="the reference has no parameters"):
        match_parameters(entry, {"width": 1}, 0, V, T)
    narrow = Entry(name="narrow", cls=Narrow, version=1, presets=None)
    with pytest.raises(KbenchError, match="no width up to 16,384 has 1,000 parameters"):
        match_parameters(narrow, {"width": 1}, 1000, V, T)


class Narrow(Affine):
    def __init__(self, vocab_size, max_len, *, width):
        super().__init__(vocab_size, max_len, width=min(width, 8))


class WholeHeads(Affine):
    def __init__(self, vocab_size, max_len, *, width):
        if width % 4:
            raise ValueError("the width must be a multiple of 4")
        super().__init__(vocab_size, max_len, width=width)
        self.scale = float(self.head.weight.norm())  # cannot be had of a meta tensor


def test_widths_that_cannot_be_built_are_passed_over():
    entry = Entry(name="heads", cls=WholeHeads, version=1, presets=None)
    assert match_parameters(entry, {"width": 4}, 8 * 100 + 4, V, T) == {"width": 100}


def test_building_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = of("lstm")
    assert torch.equal(torch.rand(1), expected)
    second = of("lstm")
    assert torch.equal(first.head.weight, second.head.weight)
