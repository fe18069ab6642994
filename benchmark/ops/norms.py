"""Vectors brought to a length, with backward passes of few operations.

By autograd, RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467) and `F.normalize` are a dozen small
operations each, most of whose time at widths such as 64 is that of starting them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / √(mean x² + eps) · weight over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape → the same shape."""
        if x.device.type != "cpu":
            return super().forward(x)
        assert self.eps is not None
        return Scale.apply(x, self.eps, x.shape[-1])[0] * self.weight


def normalize(x: Tensor) -> Tensor:
    """x / ‖x‖ over the last axis, as `F.normalize(x, dim=-1)` has it for all but the shortest."""
    return Scale.apply(x, 1e-24, 1)[0] if x.device.type == "cpu" else F.normalize(x, dim=-1)


class Scale(torch.autograd.Function):
    """x, eps, divisor → y = x r and r = 1 / √(Σ x² / divisor + eps), over the last axis."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, eps: float, divisor: int) -> Any:
        """Also returns r, which the backward pass reads."""
        r = (x * x).sum(-1, keepdim=True).div_(divisor).add_(eps).rsqrt_()
        return x * r, r

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep y and r; only y is differentiable."""
        ctx.divisor = inputs[2]
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """dx = r (dy − y Σ dy y / divisor)."""
        if grads[0] is None:
            return None, None, None
        y, r = ctx.saved_tensors
        along = (grads[0] * y).sum(-1, keepdim=True)
        return torch.addcmul(grads[0], y, along, value=-1 / ctx.divisor).mul_(r), None, None
