"""Decoder-only transformer with rotary positions (RoPE: Su et al. 2021, arXiv 2104.09864)."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from kbench.models.transformer_nope import TransformerNoPE
from kbench.registry import models


def rotate(x_BHTD: Tensor, start: int) -> Tensor:
    """Turn the i-th pair of position t by the angle t θ_i, θ_i = 10000^(−2i/d), t from `start`."""
    T, D = x_BHTD.shape[-2:]
    theta_D = 10000.0 ** (-torch.arange(0, D, 2, device=x_BHTD.device) / D)
    angles_TD = torch.arange(start, start + T, device=x_BHTD.device)[:, None] * theta_D
    cos, sin = angles_TD.cos(), angles_TD.sin()
    a, b = x_BHTD[..., 0::2], x_BHTD[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


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

    def forward(self, x_BTD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """softmax(q kᵀ / √d) v, q and k turned by their positions, so that q kᵀ sees i − j only."""
        q, k, v = rearrange(
            self.qkv(x_BTD), "b t (three h d) -> three b h t d", three=3, h=self.heads
        )
        start = 0 if past is None else past[0].shape[2]
        q, k = rotate(q, start), rotate(k, start)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        scores_BHTS = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        T, S = scores_BHTS.shape[-2:]
        future_TS = torch.ones(T, S, dtype=torch.bool, device=x_BTD.device).triu(1 + S - T)
        weights_BHTS = scores_BHTS.masked_fill(future_TS, -math.inf).softmax(-1)
        return self.out(rearrange(weights_BHTS @ v, "b h t d -> b t (h d)")), (k, v)


@models.register(
    "transformer-rope",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class TransformerRoPE(TransformerNoPE):
    """The transformer without positions, with rotary attention."""

    attention = Attention
