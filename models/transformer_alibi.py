"""Decoder-only transformer with linear biases (ALiBi: Press et al. 2021, arXiv 2108.12409)."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from kbench.models.transformer_nope import TransformerNoPE
from kbench.registry import models


def slopes(heads: int) -> list[float]:
    """2^(−8k/heads), k = 1 … heads.

    For other than a power of two: those of the next smaller one, then every other one of the next
    larger one.
    """
    power = 2 ** math.floor(math.log2(heads))
    first = [2.0 ** (-8 * k / power) for k in range(1, power + 1)]
    between = [2.0 ** (-8 * k / (2 * power)) for k in range(1, 2 * power + 1, 2)]
    return first + between[: heads - power]


class Attention(nn.Module):
    """Causal multi-head self-attention, x_BTD → x_BTD.

    Where the heads do not divide the width, the width of a head is rounded up.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * math.ceil(width / heads)
        self.qkv = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)
        self.slopes_H: Tensor
        self.register_buffer("slopes_H", torch.tensor(slopes(heads)), persistent=False)

    def forward(self, x_BTD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """softmax(q kᵀ / √d − slope · (i − j)) v; keys and values so far."""
        q, k, v = rearrange(
            self.qkv(x_BTD), "b t (three h d) -> three b h t d", three=3, h=self.heads
        )
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        scores_BHTS = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        T, S = scores_BHTS.shape[-2:]
        ahead_TS = torch.arange(S, device=x_BTD.device) - torch.arange(
            S - T, S, device=x_BTD.device
        ).unsqueeze(-1)
        scores_BHTS = scores_BHTS + self.slopes_H[:, None, None] * ahead_TS
        weights_BHTS = scores_BHTS.masked_fill(ahead_TS > 0, -math.inf).softmax(-1)
        return self.out(rearrange(weights_BHTS @ v, "b h t d -> b t (h d)")), (k, v)


@models.register(
    "transformer-alibi",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class TransformerALiBi(TransformerNoPE):
    """The transformer without positions, with linear biases in its attention."""

    attention = Attention
