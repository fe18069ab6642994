"""The Gaussian error linear unit by tanh (Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715 * LINEAR


def gelu(x: Tensor) -> Tensor:
    """x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), as `F.gelu(x, approximate="tanh")` has it."""
    return Gelu.apply(x)[0] if x.device.type == "cpu" else F.gelu(x, approximate="tanh")


class Gelu(torch.autograd.Function):
    """x → x σ(u) and its slope, with u = LINEAR x + CUBIC x³, for (1 + tanh(u / 2)) / 2 = σ(u).

    torch computes tanh forward and once more backward, which on a CPU takes far longer than σ; here
    the slope is made while x and σ are in the cache, and backward is one product.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Any:
        """Also returns the slope σ + x σ (1 − σ) u'."""
        linear = x.new_full((), LINEAR)
        s = torch.addcmul(linear, x, x, value=CUBIC).mul_(x).sigmoid_()
        slope = torch.addcmul(linear, x, x, value=3 * CUBIC).mul_(x)
        slope.mul_(torch.addcmul(s, s, s, value=-1)).add_(s)
        return s.mul_(x), slope

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the slope; only the first output is differentiable."""
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """dx = dy · slope."""
        return None if grads[0] is None else ctx.saved_tensors[0] * grads[0]


class GELU(nn.Module):
    """`gelu` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape → gelu(x)."""
        return gelu(x)
