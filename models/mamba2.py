"""Mamba-2, state-space duality with one decay per head (Dao & Gu 2024, arXiv 2405.21060)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.ops.convolution import short_convolution
from kbench.ops.norms import RMSNorm
from kbench.ops.positions import at_positions, time_first
from kbench.registry import models


def segment_sums(x: Tensor) -> Tensor:
    """x[…, T] → y[…, T, T], y_ts = Σ x_i over s < i ≤ t, −∞ for s > t (listing 1)."""
    T, total = x.shape[-1], x.cumsum(-1)
    later_TT = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
    return (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(later_TT, -math.inf)


def ssd(u: Tensor, log_a: Tensor, B: Tensor, C: Tensor, start: Any = None) -> tuple[Tensor, Tensor]:
    """h_t = a_t h_{t-1} + u_t B_tᵀ;  y_t = h_t C_t  (A a scalar times the identity).

    u_BHTD, log_a_BHT, B_BTS, C_BTS, start_BHDS or None → y_BHTD, last h_BHDS. Written out it is
    masked attention, y = (L ∘ C Bᵀ) u with L_ts = a_{s+1} ⋯ a_t (section 5).
    """
    log_L_BHTT = segment_sums(log_a)
    B, C = B.unsqueeze(1), C.unsqueeze(1)
    y = (log_L_BHTT.exp() * (C @ B.mT)) @ u
    end = (u * log_L_BHTT[..., -1, :].exp().unsqueeze(-1)).mT @ B
    if start is None:
        return y, end
    kept_BHT1 = log_a.cumsum(-1).exp().unsqueeze(-1)
    return y + kept_BHT1 * (C @ start.mT), end + kept_BHT1[..., -1:, :] * start


class Decay(nn.Module):
    """x_TBD → Δ = softplus(W x + b) and log a = −exp(A_log) Δ, both BHT."""

    def __init__(self, width: int, heads: int, low: float = 1e-3, high: float = 0.1) -> None:
        super().__init__()
        self.dt = nn.Linear(width, heads)
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        # Δ starts log-uniform in [low, high]: the bias is the inverse softplus of the draw.
        dt = torch.exp(torch.rand(heads) * math.log(high / low) + math.log(low))
        with torch.no_grad():
            self.dt.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(self, x_TBD: Tensor) -> tuple[Tensor, Tensor]:
        """One decay per head and position."""
        delta_BHT = F.softplus(self.dt(x_TBD)).permute(1, 2, 0)
        return delta_BHT, -self.A_log.exp().unsqueeze(-1) * delta_BHT


class Mixer(nn.Module):
    """Convolution, SSD, gate and norm, x_TBD → x_TBD; all heads share B and C (figure 6)."""

    def __init__(self, width: int, heads: int, state: int, conv: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner = heads * -(-expand * width // heads)
        self.sizes = [inner, state, state]
        self.gate = nn.Linear(width, inner, bias=False)
        self.xBC = nn.Linear(width, sum(self.sizes), bias=False)
        self.taps = nn.Parameter(torch.empty(conv, sum(self.sizes)))
        self.conv_bias = nn.Parameter(torch.empty(sum(self.sizes)))
        for parameter in (self.taps, self.conv_bias):
            nn.init.uniform_(parameter, -(conv**-0.5), conv**-0.5)
        self.decay = Decay(width, heads)
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = RMSNorm(inner, eps=1e-5)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """out(norm((ssd(Δ x) + D x) · SiLU(z))); the convolution's last inputs, and h."""
        inputs, start = past or (None, None)
        xBC_TBE, inputs = short_convolution(self.xBC(x_TBD), self.taps, self.conv_bias, inputs)
        x_TBE, B_TBS, C_TBS = xBC_TBE.split(self.sizes, dim=-1)
        x_BHTD = rearrange(x_TBE, "t b (h d) -> b h t d", h=len(self.D))
        delta_BHT, log_a_BHT = self.decay(x_TBD)
        u_BHTD = delta_BHT.unsqueeze(-1) * x_BHTD
        y_BHTD, end = ssd(u_BHTD, log_a_BHT, B_TBS.transpose(0, 1), C_TBS.transpose(0, 1), start)
        y_BHTD = y_BHTD + self.D[:, None, None] * x_BHTD
        y_TBE = rearrange(y_BHTD, "b h t d -> t b (h d)") * F.silu(self.gate(x_TBD))
        return self.out(self.norm(at_positions(y_TBE, at_P))), (inputs, end)


@models.register(
    "mamba2",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4, "state": 16},
        "cpu": {"width": 64, "layers": 2, "heads": 4, "state": 16},
        "paper": {"width": 256, "layers": 2, "heads": 8, "state": 64},
    },
)
class Mamba2(nn.Module):
    """Token embedding, pre-norm residual Mamba-2 blocks (RMSNorm), final norm, linear read-out.

    Expressivity: in TC⁰, as diagonal (arXiv 2404.08819); no parity (arXiv 2411.12537).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int, state: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(Mixer(width, heads, state) for _ in range(layers))
        self.norms = nn.ModuleList(RMSNorm(width, eps=1e-5) for _ in range(layers))
        self.norm = RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is, of every block, the last inputs of the convolution and h."""
        x, pasts = self.embedding(tokens_BT.T), state or [None] * len(self.mixers)
        at_P, state = time_first(at_P, tokens_BT), []
        for norm, mixer, past in zip(self.norms, self.mixers, pasts, strict=True):
            here = at_P if mixer is self.mixers[-1] else None
            y, past = mixer(norm(x), past, here)
            x = at_positions(x, here) + y
            state.append(past)
        logits = self.head(self.norm(x))
        return logits.transpose(0, 1) if at_P is None else logits, state
