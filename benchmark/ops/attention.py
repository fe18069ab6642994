"""Softmax attention (Vaswani et al. 2017, arXiv 1706.03762, equation 1)."""

import math
from typing import Any

import torch
from torch import Tensor

SHORT = 16
"""On a CPU torch's softmax takes a row by itself: slow for rows shorter than its vector units, for
which the exponential, maximum and sum of all rows at once are faster."""


def causal_mask(T: int, S: int, like: Tensor) -> Tensor:
    """bias_TS: −∞ where a key follows the query, 0 elsewhere; the queries are the last T of S."""
    return torch.full((T, S), -math.inf, dtype=like.dtype, device=like.device).triu(1 + S - T)


def attention(q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, bias: Tensor) -> Tensor:
    """softmax(q kᵀ / √d + bias) v, y_BHTD; the bias is one that broadcasts to BHTS."""
    if q_BHTD.device.type == "cpu":
        return Attention.apply(q_BHTD, k_BHSD, v_BHSD, bias)[0]
    scores_BHTS = q_BHTD @ k_BHSD.transpose(-2, -1) / math.sqrt(q_BHTD.shape[-1])
    return (scores_BHTS + bias).softmax(-1) @ v_BHSD


def self_attention(
    qkv_BTE: Tensor, heads: int, bias: Tensor, past: Any = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """y_BTE of a third of the width, from q, k and v side by side; and keys and values so far.

    The past is the keys and values, BHSD, of what came before.
    """
    if past is None and qkv_BTE.device.type == "cpu":
        y_BTE, _, k, v = SelfAttention.apply(qkv_BTE, heads, bias)
        return y_BTE, (k, v)
    q, k, v = split_heads(qkv_BTE, heads).unbind(0)
    if past is not None:
        k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
    return attention(q, k, v, bias).transpose(1, 2).flatten(2), (k, v)


def split_heads(qkv_BTE: Tensor, heads: int) -> Tensor:
    """q, k and v side by side → 3BHTD."""
    return qkv_BTE.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).contiguous()


def _weights(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """softmax(q kᵀ / √d + bias), BHTS."""
    p = q @ k.transpose(-2, -1)
    p.mul_(1 / math.sqrt(q.shape[-1])).add_(bias)
    if p.shape[-1] >= SHORT:
        return p.softmax(-1)
    p.sub_(p.amax(-1, keepdim=True)).exp_()
    return p.div_(p.sum(-1, keepdim=True))


def _gradients(q: Tensor, k: Tensor, v: Tensor, y: Tensor, p: Tensor, dy: Tensor) -> Any:
    """dv = pᵀ dy; ds = p (dy vᵀ − Σ dy y); dq = ds k / √d; dk = dsᵀ q / √d."""
    ds = dy @ v.transpose(-2, -1)
    ds.sub_((dy * y).sum(-1, keepdim=True)).mul_(p).mul_(1 / math.sqrt(q.shape[-1]))
    return ds @ k, ds.transpose(-2, -1) @ q, p.transpose(-2, -1) @ dy


class SelfAttention(torch.autograd.Function):
    """qkv_BTE, heads, bias → y_BTE, the weights p_BHTT, and k, v BHTD."""

    generate_vmap_rule = True

    @staticmethod
    def forward(qkv: Tensor, heads: int, bias: Tensor) -> Any:
        """Only y is differentiable."""
        q, k, v = split_heads(qkv, heads).unbind(0)
        p = _weights(q, k, bias)
        return (p @ v).transpose(1, 2).flatten(2), p, k, v

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what the backward pass reads; q is taken from the input again."""
        ctx.heads = inputs[1]
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Of all three, side by side as they came."""
        if grads[0] is None:
            return None, None, None
        qkv, y, p, k, v = ctx.saved_tensors
        q = qkv.unflatten(-1, (3, ctx.heads, -1))[:, :, 0].transpose(1, 2)
        y, dy = (t.unflatten(-1, (ctx.heads, -1)).transpose(1, 2) for t in (y, grads[0]))
        found = _gradients(q, k, v, y, p, dy)
        return torch.stack([d.transpose(1, 2) for d in found], dim=2).flatten(2), None, None


class Attention(torch.autograd.Function):
    """q_BHTD, k_BHSD, v_BHSD, bias → y_BHTD and the weights p_BHTS.

    The backward pass reads the weights; autograd would keep the scores as well.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Any:
        """Also returns the weights, which the backward pass reads."""
        p = _weights(q, k, bias)
        return p @ v, p

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep all but the bias, which is not differentiated; only y is differentiable."""
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:3], *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Of q, k and v."""
        if grads[0] is None:
            return None, None, None, None
        q, k, v, y, p = ctx.saved_tensors
        return *_gradients(q, k, v, y, p, grads[0]), None
