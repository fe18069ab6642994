"""Decoder-only transformer with rotary positions (RoPE: Su et al. 2021, arXiv 2104.09864)."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from kbench.models.transformer_nope import TransformerNoPE
from kbench.ops.attention import attention, causal_mask
from kbench.ops.positions import at_positions
from kbench.registry import models


def rotate(x: Tensor, start: int) -> Tensor:
    """Turn the i-th pair of position t by the angle t θ_i, θ_i = 10000^(−2i/d), t from `start`."""
    T, D = x.shape[-2:]
    theta_D = 10000.0 ** (-torch.arange(0, D, 2, device=x.device) / D)
    angles_TD = torch.arange(start, start + T, device=x.device)[:, None] * theta_D
    turns_TD = torch.polar(torch.ones_like(angles_TD), angles_TD).to(x.dtype.to_complex())
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns_TD).flatten(-2)


class Attention(nn.Module):
    """Causal multi-head self-attention, x_BTD → x_BTD.

    The width of a head is rounded up to the next even number.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * 2 * math.ceil(width / (2 * heads))
        self.qkv = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)

    def forward(
        self, x_BTD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """softmax(q kᵀ / √d) v, q and k turned by their positions, so that q kᵀ sees i − j only."""
        qkv = rearrange(self.qkv(x_BTD), "b t (three h d) -> three b h t d", three=3, h=self.heads)
        q, k = rotate(qkv[:2], 0 if past is None else past[0].shape[2])
        v = qkv[2].contiguous()
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        y_BHTD = attention(q, k, v, causal_mask(q.shape[2], k.shape[2], q))
        y_BTD = rearrange(y_BHTD, "b h t d -> b t (h d)")
        return self.out(at_positions(y_BTD, at_P)), (k, v)


@models.register(
    "transformer-rope",
    version=2,
    earlier={1: "sha256:09a6d51a2f9f626702c71a29b7b29a49ab73c1dc80e8a901f28402584d32f335"},
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class TransformerRoPE(TransformerNoPE):
    """The transformer without positions, with rotary attention.

    Expressivity: in TC⁰ with numbers of log-many digits (arXiv 2207.00729).
    """

    attention = Attention
