"""Gated linear attention, with a gate for every channel (Yang et al. 2023, arXiv 2312.06635)."""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.models.gated_deltanet import GatedDeltaNet
from kbench.ops.positions import at_positions
from kbench.registry import models

TEMPERATURE = 16
"""τ of the gates σ(·)^(1/τ), which are near one at first ("GLA Transformer")."""
CHUNK = 16
"""Positions that are taken at once. Products of the reciprocals of as many gates as τ stay within
float32, for they are at most 1 / σ at its smallest."""


def gated_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, start: Any = None
) -> tuple[Tensor, Tensor]:
    """S_t = Diag(α_t) S_{t-1} + k_t v_tᵀ;  y_t = S_tᵀ q_t  (recurrent form).

    q_BHTD, k_BHTD, v_BHTE, log α_BHTD, start_BHDE or None → y_BHTE, last S_BHDE. With b_t = α_1 ⋯
    α_t it is masked attention of q b and k / b (parallel form), here chunk by chunk.
    """
    S, y = start, []
    for q_C, k_C, v_C, log_a_C in zip(*(z.split(CHUNK, 2) for z in (q, k, v, log_a)), strict=True):
        log_b = log_a_C.cumsum(2)
        q_C = q_C * log_b.exp()
        y_C = (q_C @ (k_C * (-log_b).exp()).mT).tril() @ v_C
        end = log_b[:, :, -1:]
        new = (k_C * (end - log_b).exp()).mT @ v_C
        y.append(y_C if S is None else y_C + q_C @ S)
        S = new if S is None else end.exp().mT * S + new
    return torch.cat(y, 2), S


class Mixer(nn.Module):
    """q and k of half the width, gates from a map of low rank; norm and gate, x_TBD → x_TBD."""

    def __init__(self, width: int, heads: int, rank: int = 16) -> None:
        super().__init__()
        self.heads, head, half = heads, -(-width // heads), -(-width // (2 * heads))
        self.sizes = [heads * half, heads * half, heads * head]
        self.qkv = nn.Linear(width, sum(self.sizes), bias=False)
        self.alpha = nn.Sequential(
            nn.Linear(width, rank, bias=False), nn.Linear(rank, heads * half)
        )
        self.gate = nn.Linear(width, heads * head)
        self.norm = nn.LayerNorm(head)
        self.out = nn.Linear(heads * head, width, bias=False)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x_TBD → x_TBD, or x_PD at some positions; and S."""
        log_a_TBE = F.logsigmoid(self.alpha(x_TBD)) / TEMPERATURE
        q, k, v, log_a = (
            rearrange(z, "t b (h d) -> b h t d", h=self.heads)
            for z in (*self.qkv(x_TBD).split(self.sizes, dim=-1), log_a_TBE)
        )
        y_BHTD, end = gated_linear_attention(q, k, v, log_a, past)
        y_TBE = rearrange(self.norm(y_BHTD), "b h t d -> t b (h d)") * F.silu(self.gate(x_TBD))
        return self.out(at_positions(y_TBE, at_P)), end


@models.register(
    "gla",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class GLA(GatedDeltaNet):
    """The blocks of the gated DeltaNet, with gated linear attention as their mixer.

    Expressivity: no parity (arXiv 2411.12537).
    """

    turns = (Mixer,)
