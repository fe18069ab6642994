"""torch's LSTM from operations that batch: cuDNN's and oneDNN's have no batching rule."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.ops.recurrence import WEIGHTS


def stackable(model: nn.Module) -> nn.Module:
    """The model, each `nn.LSTM` in it replaced by one that computes the same and stacks.

    Names of parameters stay. An LSTM with dropout, projections, two directions or without biases is
    left as it is.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.LSTM and _is_plain(child):
                setattr(parent, name, StackableLSTM(child))
    return model


def _is_plain(lstm: nn.LSTM) -> bool:
    return lstm.bias and not (lstm.bidirectional or lstm.proj_size or lstm.dropout)


class StackableLSTM(nn.Module):
    """An `nn.LSTM` step by step: the same parameters, arguments and results."""

    def __init__(self, of: nn.LSTM) -> None:
        super().__init__()
        self.num_layers, self.batch_first = of.num_layers, of.batch_first
        for name, parameter in of.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x, and h and c of every layer → h of the last layer, and the last h and c of all."""
        x_TBD, last = x.transpose(0, 1) if self.batch_first else x, []
        for layer in range(self.num_layers):
            W, U, b, d = (getattr(self, f"{name}_l{layer}") for name in WEIGHTS)
            pre_TBG = F.linear(x_TBD, W, b + d)
            zero = pre_TBG.new_zeros(pre_TBG.shape[1], U.shape[1])
            h, c = (zero, zero) if state is None else (state[0][layer], state[1][layer])
            states = []
            for pre in pre_TBG.unbind(0):
                i, f, g, o = torch.addmm(pre, h, U.T).chunk(4, dim=-1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                states.append(h)
            x_TBD = torch.stack(states)
            last.append((h, c))
        h_LBH, c_LBH = (torch.stack(of) for of in zip(*last, strict=True))
        return x_TBD.transpose(0, 1) if self.batch_first else x_TBD, (h_LBH, c_LBH)
