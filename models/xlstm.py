"""xLSTM of sLSTM blocks, xLSTM[0:1] (Beck et al. 2024, arXiv 2405.04517, section 2.2)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.registry import models


class SLSTM(nn.Module):
    """Scalar memory with exponential input gate, mixed within heads, x_BTD → h_BTD.

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

    def forward(self, x_BTD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """The input's part of the gates for all positions at once, the rest step by step."""
        B = len(x_BTD)
        pre_TB4HD = self.gates(x_BTD).unflatten(-1, self.shape).transpose(0, 1)
        if past is None:
            h = c = n = x_BTD.new_zeros(B, *self.shape[1:])
            m = torch.full_like(h, -math.inf)
        else:
            h, c, n, m = past
        hs = []
        for pre_B4HD in pre_TB4HD:
            mixed_HB = torch.bmm(h.transpose(0, 1), self.recurrent)
            mixed_B4HD = mixed_HB.unflatten(-1, (4, -1)).permute(1, 2, 0, 3)
            i, f, z, o = (pre_B4HD + mixed_B4HD).unbind(1)
            kept = F.logsigmoid(f) + m
            m = torch.maximum(kept, i)
            into, keep = torch.exp(i - m), torch.exp(kept - m)
            c = keep * c + into * z.tanh()
            n = keep * n + into
            h = o.sigmoid() * c / n
            hs.append(h)
        h_BTD = torch.stack(hs, dim=1).flatten(2)
        normed_BTD = self.norm(h_BTD.flatten(0, 1)).unflatten(0, (B, -1))
        return self.out(normed_BTD), (h, c, n, m)


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
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class XLSTM(nn.Module):
    """Token embedding, pre-norm residual sLSTM blocks with gated MLP, final norm, linear read-out.

    The optional convolution in front of the gates is left out.
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

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is h, c, n and m of every block."""
        x_BTD, pasts = self.embedding(tokens_BT), state or [None] * len(self.cells)
        state = []
        for i, (cell, mlp, past) in enumerate(zip(self.cells, self.mlps, pasts, strict=True)):
            y_BTD, past = cell(self.norms[2 * i](x_BTD), past)
            x_BTD = x_BTD + y_BTD
            x_BTD = x_BTD + mlp(self.norms[2 * i + 1](x_BTD))
            state.append(past)
        return self.head(self.norm(x_BTD)), state
