"""torch's LSTM from operations that batch, against itself."""

import pytest
import torch
from oracles import assert_same_with_gradients, draw
from torch import nn

from kbench.ops.stackable import StackableLSTM, stackable


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("time", [1, 5])
@pytest.mark.parametrize("with_state", [False, True])
def test_it_is_that_of_torch(batch_first, layers, time, with_state):
    torch.manual_seed(1)
    lstm = nn.LSTM(3, 4, layers, batch_first=batch_first).double()
    ours = StackableLSTM(lstm)
    assert dict(ours.named_parameters()).keys() == dict(lstm.named_parameters()).keys()
    x, h, c = (t.requires_grad_() for t in draw((2, time, 3), (layers, 2, 4), (layers, 2, 4)))
    x_in = x if batch_first else x.transpose(0, 1)
    state = (h, c) if with_state else None
    (y, last), (expected, expected_last) = ours(x_in, state), lstm(x_in, state)
    pairs = [(y, expected), *zip(last, expected_last, strict=True)]
    assert all(found.shape == of_torch.shape for found, of_torch in pairs)
    found, of_torch = (torch.cat([t.flatten() for t in of]) for of in zip(*pairs, strict=True))
    assert_same_with_gradients(
        found, of_torch, [x, *lstm.parameters(), *((h, c) if with_state else ())]
    )


def test_every_plain_lstm_is_replaced_wherever_it_is():
    model = nn.ModuleDict({"a": nn.LSTM(2, 3), "b": nn.Sequential(nn.LSTM(3, 3, 2), nn.Tanh())})
    names = set(model.state_dict())
    assert stackable(model) is model
    assert isinstance(model["a"], StackableLSTM)
    assert isinstance(model["b"][0], StackableLSTM)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize(
    "how", [{"bidirectional": True}, {"proj_size": 2}, {"dropout": 0.5, "num_layers": 2},
            {"bias": False}],
)  # fmt: skip
def test_one_that_does_more_is_left_as_it_is(how):
    model = nn.Sequential(nn.LSTM(3, 4, **how))
    assert type(stackable(model)[0]) is nn.LSTM
