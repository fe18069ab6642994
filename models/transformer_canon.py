"""Decoder-only transformer with Canon layers (Allen-Zhu 2025, arXiv 2512.17351).

Canon-A and Canon-C: short causal convolutions before the attention and before the MLP. Attention
and MLP are those of `transformer_nope.py`, without positions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from kbench.models.transformer_nope import Attention, init_gpt2
from kbench.ops.convolution import Convolution
from kbench.ops.gelu import GELU
from kbench.ops.positions import at_positions
from kbench.registry import models


class Canon(nn.Module):
    """h_t + Σ_k w_k ∘ h_{t-k}, k = 0 … 3, without bias or activation, x_BTD → x_BTD."""

    def __init__(self, width: int, taps: int = 4) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.empty(taps, width))

    def forward(self, x_BTD: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Also returns the last inputs, which are the past of what follows."""
        x_TBD = x_BTD.transpose(0, 1)
        before = x_TBD.new_zeros(len(self.taps) - 1, *x_TBD.shape[1:]) if past is None else past
        padded = torch.cat([before, x_TBD])
        y_TBD = x_TBD + Convolution.apply(padded, self.taps)
        return y_TBD.transpose(0, 1), padded[len(x_TBD) :]


class Block(nn.Module):
    """x + attention(canon(norm x)), then x + mlp(canon(norm x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.canon_attention = Canon(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.canon_mlp = Canon(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x_BTD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x_BTD → x_BTD, or x_PD at some positions; last inputs of both, keys and values so far."""
        before_attention, keys_values, before_mlp = past or (None, None, None)
        u_BTD, before_attention = self.canon_attention(self.norm_attention(x_BTD), before_attention)
        mixed_BTD, keys_values = self.attention(u_BTD, keys_values)
        x_BTD = x_BTD + mixed_BTD
        u_BTD, before_mlp = self.canon_mlp(self.norm_mlp(x_BTD), before_mlp)
        y = at_positions(x_BTD, at_P) + self.mlp(at_positions(u_BTD, at_P))
        return y, (before_attention, keys_values, before_mlp)


@models.register(
    "transformer-canon",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class TransformerCanon(nn.Module):
    """Token embedding, pre-norm blocks with Canon layers, final norm, linear read-out.

    Expressivity: without its convolutions in TC⁰ (arXiv 2207.00729).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        init_gpt2(self, layers)
        for canon in self.modules():
            if isinstance(canon, Canon):  # as torch's convolutions of one channel
                bound = len(canon.taps) ** -0.5
                nn.init.uniform_(canon.taps, -bound, bound)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is, of every block, the last inputs of both Canon layers, keys and values."""
        pasts = state or [None] * len(self.blocks)
        x_BTD = self.embedding(tokens_BT)
        state = []
        for block, past in zip(self.blocks, pasts, strict=True):
            x_BTD, past = block(x_BTD, past, at_P if block is self.blocks[-1] else None)
            state.append(past)
        return self.head(self.norm(x_BTD)), state
