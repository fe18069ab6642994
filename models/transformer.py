"""Decoder-only transformer with learned absolute positions (GPT-2: Radford et al. 2019)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from kbench.ops.attention import causal_mask, self_attention
from kbench.ops.gelu import GELU
from kbench.ops.positions import at_positions
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

    def forward(
        self, x_BTD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """softmax(q kᵀ / √d) v over the positions up to the present one; keys and values so far."""
        T = x_BTD.shape[1]
        bias_TS = causal_mask(T, T + (0 if past is None else past[0].shape[2]), x_BTD)
        y_BTD, past = self_attention(self.qkv(x_BTD), self.heads, bias_TS, past)
        return self.out(at_positions(y_BTD, at_P)), past


class Block(nn.Module):
    """Pre-norm residual block: x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x_BTD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x_BTD → x_BTD, or x_PD at some positions; and the keys and values so far."""
        mixed, past = self.attention(self.norm_attention(x_BTD), past, at_P)
        x = at_positions(x_BTD, at_P) + mixed
        return x + self.mlp(self.norm_mlp(x)), past


@models.register(
    "transformer",
    version=2,
    earlier={1: "sha256:dc06c8a86d1d58b8f9d4a02aecf629469171941e02b6a52df4b1dbf28a82db99"},
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class Transformer(nn.Module):
    """Token and position embeddings, pre-norm blocks, final norm, linear read-out.

    Expressivity: in TC⁰ with numbers of log-many digits (arXiv 2207.00729).
    """

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

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is the keys and values of every block."""
        pasts = state or [None] * len(self.blocks)
        start = 0 if state is None else state[0][0].shape[2]
        time_T = torch.arange(start, start + tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = self.embedding(tokens_BT) + self.positions(time_T)
        state = []
        for block, past in zip(self.blocks, pasts, strict=True):
            x_BTD, past = block(x_BTD, past, at_P if block is self.blocks[-1] else None)
            state.append(past)
        return self.head(self.norm(x_BTD)), state
