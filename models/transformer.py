"""Decoder-only transformer with learned absolute positions (GPT-2: Radford et al. 2019)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from kbench.registry import models


class Attention(nn.Module):
    """Causal multi-head self-attention, x_BTD → x_BTD."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """softmax(q kᵀ / √d) v over the positions up to the present one."""
        q, k, v = rearrange(
            self.qkv(x_BTD), "b t (three h d) -> three b h t d", three=3, h=self.heads
        )
        scores_BHTT = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        future_TT = torch.ones(scores_BHTT.shape[-2:], dtype=torch.bool, device=x_BTD.device).triu(
            1
        )
        weights_BHTT = scores_BHTT.masked_fill(future_TT, -math.inf).softmax(-1)
        return self.out(rearrange(weights_BHTT @ v, "b h t d -> b t (h d)"))


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

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x_BTD → x_BTD."""
        x_BTD = x_BTD + self.attention(self.norm_attention(x_BTD))
        return x_BTD + self.mlp(self.norm_mlp(x_BTD))


@models.register(
    "transformer",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class Transformer(nn.Module):
    """Token and position embeddings, pre-norm blocks, final norm, linear read-out."""

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_len, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self._init_gpt2(layers)

    def _init_gpt2(self, layers: int) -> None:
        """N(0, 0.02), zero biases; projections into the residual stream scaled by 1/√(2 layers)."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                into_residual = name.endswith(("attention.out.weight", "mlp.2.weight"))
                nn.init.normal_(
                    parameter, std=0.02 / math.sqrt(2 * layers) if into_residual else 0.02
                )

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        time_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = self.embedding(tokens_BT) + self.positions(time_T)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD))
