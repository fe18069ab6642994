"""Short causal convolutions with SiLU, as in front of Mamba's scan and of the delta rule.

y_t = SiLU(b + Σ_k taps_k x_{t−W+1+k}), each channel by itself (Gu & Dao 2023, arXiv 2312.00752,
figure 3).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def short_convolution(
    x_TBE: Tensor, taps_WE: Tensor, bias_E: Tensor | None, past: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """x_TBE → y_TBE, and the last W − 1 inputs, which are the `past` of what follows."""
    before = x_TBE.new_zeros(len(taps_WE) - 1, *x_TBE.shape[1:]) if past is None else past
    padded = torch.cat([before, x_TBE])
    y_TBE = Convolution.apply(padded, taps_WE)
    y_TBE = y_TBE if bias_E is None else y_TBE + bias_E
    return F.silu(y_TBE), padded[len(x_TBE) :]


class Convolution(torch.autograd.Function):
    """padded_PBE, taps_WE → y_TBE = Σ_k taps_k padded_{t+k}, T = P − W + 1.

    Time comes first, so that what one tap sees is one piece of memory. By autograd every slice
    would have a gradient as large as x, of which all but the slice is zeros.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(padded: Tensor, taps: Tensor) -> Tensor:
        """One product for each tap."""
        T = len(padded) - len(taps) + 1
        y = padded[:T] * taps[0]
        for k, tap in enumerate(taps[1:], start=1):
            y.add_(padded[k : k + T] * tap)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """The transposed convolution, and the correlation of dy with x."""
        (dy,), (padded, taps) = grads, ctx.saved_tensors
        T = len(dy)
        dpadded = torch.zeros_like(padded)
        dtaps = []
        for k, tap in enumerate(taps):
            dpadded[k : k + T].add_(dy * tap)
            dtaps.append((dy * padded[k : k + T]).sum((0, 1)))
        return dpadded, torch.stack(dtaps)
