"""Looped transformer: one block applied again and again (Fan et al. 2024, arXiv 2409.15647).

As there, without positions, and with the input injected in every loop.
"""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from kbench.registry import models


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

    def forward(self, x_BTD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """softmax(q kᵀ / √d) v over the positions up to the present one; keys and values so far."""
        q, k, v = rearrange(
            self.qkv(x_BTD), "b t (three h d) -> three b h t d", three=3, h=self.heads
        )
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        scores_BHTS = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        T, S = scores_BHTS.shape[-2:]
        future_TS = torch.ones(T, S, dtype=torch.bool, device=x_BTD.device).triu(1 + S - T)
        weights_BHTS = scores_BHTS.masked_fill(future_TS, -math.inf).softmax(-1)
        return self.out(rearrange(weights_BHTS @ v, "b h t d -> b t (h d)")), (k, v)


class Block(nn.Module):
    """Pre-norm residual block: x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x_BTD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """x_BTD → x_BTD, and the keys and values so far."""
        mixed_BTD, past = self.attention(self.norm_attention(x_BTD), past)
        x_BTD = x_BTD + mixed_BTD
        return x_BTD + self.mlp(self.norm_mlp(x_BTD)), past


@models.register(
    "looped-transformer",
    version=1,
    presets={
        "quick": {"width": 64, "heads": 4, "loops": 4},
        "cpu": {"width": 64, "heads": 4, "loops": 6},
        "paper": {"width": 256, "heads": 4, "loops": 12},
    },
)
class LoopedTransformer(nn.Module):
    """Token embedding x, then h ← block(h + x) from h = 0 in every loop, norm, linear read-out.

    `loops` is their number; None lets it grow with the length: position t (from 1) is read out
    after t loops, which keeps the model causal.
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, heads: int, loops: int | None
    ) -> None:
        super().__init__()
        self.loops = loops
        self.embedding = nn.Embedding(vocab_size, width)
        self.block = Block(width, heads)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self._init_gpt2(loops or max_len)

    def _init_gpt2(self, loops: int) -> None:
        """N(0, 0.02), zero biases; projections into the residual stream scaled by 1/√(2 loops)."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                into_residual = name.endswith(("attention.out.weight", "mlp.2.weight"))
                nn.init.normal_(
                    parameter, std=0.02 / math.sqrt(2 * loops) if into_residual else 0.02
                )

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is the keys and values of every loop; of a growing number, the tokens."""
        if self.loops is None:
            tokens_BS = tokens_BT if state is None else torch.cat([state, tokens_BT], dim=1)
            return self._grow(tokens_BS)[:, -tokens_BT.shape[1] :], tokens_BS
        x_BTD = self.embedding(tokens_BT)
        h_BTD, pasts = torch.zeros_like(x_BTD), []
        for past in state or [None] * self.loops:
            h_BTD, past = self.block(h_BTD + x_BTD, past)
            pasts.append(past)
        return self.head(self.norm(h_BTD)), pasts

    def _grow(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        h_BTD, read = torch.zeros_like(x_BTD), []
        for t in range(x_BTD.shape[1]):
            h_BTD, _ = self.block(h_BTD + x_BTD)
            read.append(h_BTD[:, t])
        return self.head(self.norm(torch.stack(read, dim=1)))
