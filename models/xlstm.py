"""xLSTM of sLSTM blocks, xLSTM[0:1] (Beck et al. 2024, arXiv 2405.04517, section 2.2)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.ops.positions import at_positions, time_first
from kbench.ops.recurrence import SLSTM as slstm
from kbench.registry import models


class SLSTM(nn.Module):
    """Scalar memory with exponential input gate, mixed within heads, x_TBD → h_TBD.

    i, f, z, o = W x_t + b + R h_{t-1}, R block-diagonal over heads
    m_t = max(log σ(f) + m_{t-1}, i);  i' = exp(i − m_t);  f' = exp(log σ(f) + m_{t-1} − m_t)
    c_t = f' c_{t-1} + i' tanh(z);  n_t = f' n_{t-1} + i';  h_t = σ(o) c_t / n_t
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        head = -(-width // heads)
        self.shape = (4, heads, head)
        self.gates = nn.Linear(width, 4 * heads * head)
        self.recurrent = nn.Parameter(torch.zeros(heads, head, 4 * head))
        with torch.no_grad():
            i, f, *_ = self.gates.bias.view(self.shape)
            i.zero_()
            f.copy_(torch.linspace(3.0, 6.0, head).expand_as(f))
        self.norm = nn.GroupNorm(heads, heads * head)
        self.out = nn.Linear(heads * head, width, bias=False)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The input's part of the gates for all positions at once, the rest step by step."""
        pre_TABG = rearrange(
            self.gates(x_TBD), "t b (gates a d) -> t a b (gates d)", gates=4, a=self.shape[1]
        )
        if past is None:
            h = c = n = pre_TABG.new_zeros(*pre_TABG.shape[1:3], self.shape[2])
            past = h, c, n, torch.full_like(h, -math.inf)
        h_TABD, *after = slstm.apply(pre_TABG.contiguous(), self.recurrent, *past)[:4]
        # A group norm of the heads, for which torch is slow where they are short.
        normed_TABD = F.layer_norm(h_TABD, h_TABD.shape[-1:], eps=self.norm.eps)
        h_TBD = rearrange(normed_TABD, "t a b d -> t b (a d)") * self.norm.weight + self.norm.bias
        return self.out(at_positions(h_TBD, at_P)), (h_TABD[-1], *after)


class GatedMLP(nn.Module):
    """W_3 (GELU(W_1 x) · W_2 x), x_BTD → x_BTD, inner width 4/3 D (figure 10)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width // 3
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x_BTD → x_BTD."""
        gate, value = self.up(x_BTD).chunk(2, dim=-1)
        return self.down(F.gelu(gate) * value)


@models.register(
    "xlstm",
    version=2,
    earlier={1: "sha256:f70828f9fe154f4ac7a0210b216ca479c8dd600dea10a694ff32575163af1c6c"},
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class XLSTM(nn.Module):
    """Token embedding, pre-norm residual sLSTM blocks with gated MLP, final norm, linear read-out.

    The optional convolution in front of the gates is left out.

    Expressivity: tracks states by its memory mixing, as experiments show (arXiv 2405.04517).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.cells = nn.ModuleList(SLSTM(width, heads) for _ in range(layers))
        self.mlps = nn.ModuleList(GatedMLP(width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is h, c, n and m of every block."""
        x, pasts = self.embedding(tokens_BT.T), state or [None] * len(self.cells)
        at_P, state = time_first(at_P, tokens_BT), []
        for i, (cell, mlp, past) in enumerate(zip(self.cells, self.mlps, pasts, strict=True)):
            here = at_P if cell is self.cells[-1] else None
            y, past = cell(self.norms[2 * i](x), past, here)
            x = at_positions(x, here) + y
            x = x + mlp(self.norms[2 * i + 1](x))
            state.append(past)
        logits = self.head(self.norm(x))
        return logits.transpose(0, 1) if at_P is None else logits, state
