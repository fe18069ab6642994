"""Looped transformer: one block applied again and again (Fan et al. 2024, arXiv 2409.15647).

As there, without positions, and with the input injected in every loop. The block is that of
`transformer_nope.py`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from kbench.models.transformer_nope import Attention, Block, init_gpt2
from kbench.ops.positions import at_positions
from kbench.registry import models


@models.register(
    "looped-transformer",
    version=2,
    earlier={1: "sha256:1993ed24dd5a25e68721afd6b60e958a9a085abca9dad2643d6adbdd4a2cd418"},
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

    Expressivity: in TC⁰ while the loops are a fixed number (arXiv 2207.00729).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, heads: int, loops: int | None
    ) -> None:
        super().__init__()
        self.loops = loops
        self.embedding = nn.Embedding(vocab_size, width)
        self.block = Block(width, Attention(width, heads))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        init_gpt2(self, loops or max_len)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is the keys and values of every loop; of a growing number, the tokens."""
        if self.loops is None:
            tokens_BS = tokens_BT if state is None else torch.cat([state, tokens_BT], dim=1)
            h_BTD = self._grow(tokens_BS)[:, -tokens_BT.shape[1] :]
            return self.head(self.norm(at_positions(h_BTD, at_P))), tokens_BS
        x_BTD = self.embedding(tokens_BT)
        h, pasts = torch.zeros_like(x_BTD), []
        for loop, past in enumerate(state or [None] * self.loops, start=1):
            h, past = self.block(h + x_BTD, past, at_P if loop == self.loops else None)
            pasts.append(past)
        return self.head(self.norm(h)), pasts

    def _grow(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        h_BTD, read = torch.zeros_like(x_BTD), []
        for t in range(x_BTD.shape[1]):
            h_BTD, _ = self.block(h_BTD + x_BTD)
            read.append(h_BTD[:, t])
        return torch.stack(read, dim=1)
