"""Decoder-only transformer with linear biases (ALiBi: Press et al. 2021, arXiv 2108.12409)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from kbench.models.transformer_nope import TransformerNoPE
from kbench.ops.attention import causal_mask, self_attention
from kbench.ops.positions import at_positions
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

    def forward(
        self, x_BTD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """softmax(q kᵀ / √d − slope · (i − j)) v; keys and values so far."""
        T = x_BTD.shape[1]
        S = T + (0 if past is None else past[0].shape[2])
        time_S = torch.arange(S, device=x_BTD.device)
        ahead_TS = time_S - time_S[S - T :].unsqueeze(-1)
        bias_HTS = self.slopes_H[:, None, None] * ahead_TS + causal_mask(T, S, x_BTD)
        y_BTD, past = self_attention(self.qkv(x_BTD), self.heads, bias_HTS, past)
        return self.out(at_positions(y_BTD, at_P)), past


@models.register(
    "transformer-alibi",
    version=2,
    earlier={1: "sha256:59e1e1dcdc5e31d3c6038ae9a02860bb17f51e9b760a3925facf18cea478d34a"},
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class TransformerALiBi(TransformerNoPE):
    """The transformer without positions, with linear biases in its attention.

    Expressivity: in TC⁰ with numbers of log-many digits (arXiv 2207.00729).
    """

    attention = Attention
