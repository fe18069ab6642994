"""Softmax attention (Vaswani et al. 2017, arXiv 1706.03762, equation 1)."""

import math
from typing import Any

import torch
from torch import Tensor


def causal_mask(T: int, S: int, like: Tensor) -> Tensor:
    """bias_TS: −∞ where a key follows the query, 0 elsewhere; the queries are the last T of S."""
    return torch.full((T, S), -math.inf, dtype=like.dtype, device=like.device).triu(1 + S - T)


def attention(q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, bias: Tensor) -> Tensor:
    """softmax(q kᵀ / √d + bias) v, y_BHTD; the bias is one that broadcasts to BHTS."""
    if q_BHTD.device.type == "cpu":
        return Attention.apply(q_BHTD, k_BHSD, v_BHSD, bias)[0]
    scores_BHTS = q_BHTD @ k_BHSD.transpose(-2, -1) / math.sqrt(q_BHTD.shape[-1])
    return (scores_BHTS + bias).softmax(-1) @ v_BHSD


class Attention(torch.autograd.Function):
    """q_BHTD, k_BHSD, v_BHSD, bias → y_BHTD and the weights p_BHTS.

    On a CPU torch's softmax takes every row by itself, which for rows as short as here is far
    slower than the exponential, maximum and sum of all of them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Any:
        """Also returns the weights, which the backward pass reads."""
        p = q @ k.transpose(-2, -1)
        p.mul_(1 / math.sqrt(q.shape[-1])).add_(bias)
        p.sub_(p.amax(-1, keepdim=True)).exp_()
        p.div_(p.sum(-1, keepdim=True))
        return p @ v, p

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep all but the bias, which is not differentiated; only y is differentiable."""
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:3], *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """dv = pᵀ dy; ds = p (dy vᵀ − Σ dy y); dq = ds k / √d; dk = dsᵀ q / √d."""
        if grads[0] is None:
            return None, None, None, None
        q, k, v, y, p = ctx.saved_tensors
        dy = grads[0]
        ds = dy @ v.transpose(-2, -1)
        ds.sub_((dy * y).sum(-1, keepdim=True)).mul_(p).mul_(1 / math.sqrt(q.shape[-1]))
        return ds @ k, ds.transpose(-2, -1) @ q, p.transpose(-2, -1) @ dy, None
