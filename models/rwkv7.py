"""RWKV-7, a delta rule with a decay for every channel (Peng et al. 2025, arXiv 2503.14456)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.ops.norms import normalize
from kbench.ops.positions import at_positions, time_first
from kbench.registry import models


def generalized_delta_rule(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, kappa: Tensor, a: Tensor, start: Any = None
) -> tuple[Tensor, Tensor]:
    """S_t = S_{t-1} (diag(w_t) − κ_t (a_t ∘ κ_t)ᵀ) + v_t k_tᵀ;  y_t = S_t r_t.

    All BHTD, start_BHDD or None → y_BHTD, last S_BHDD. What is added to S, v_t k_tᵀ and
    p_t (a_t ∘ κ_t)ᵀ with p_t = −S_{t-1} κ_t, decays by b_t / b_s, b_t = w_1 ⋯ w_t in a chunk of 16,
    never below exp(−16 / √e). Its p solve a unit lower triangular system, as in `deltanet.py`.
    """
    S, y = r.new_zeros(*r.shape[:2], r.shape[3], r.shape[3]) if start is None else start, []
    pieces = (z.split(16, 2) for z in (r, log_w, k, v, kappa, a * kappa))
    for r_C, log_w_C, k_C, v_C, kappa_C, a_C in zip(*pieces, strict=True):
        log_b = log_w_C.cumsum(2)
        b, back = log_b.exp(), (-log_b).exp()
        r_C, kappa_C = r_C * b, kappa_C * (log_b - log_w_C).exp()
        k_C, a_C = k_C * back, a_C * back
        p = -((kappa_C @ k_C.mT).tril(-1) @ v_C + kappa_C @ S.mT)
        past_CC = (kappa_C @ a_C.mT).tril(-1)
        p = torch.linalg.solve_triangular(past_CC, p, upper=False, unitriangular=True)
        y.append((r_C @ k_C.mT).tril() @ v_C + (r_C @ a_C.mT).tril() @ p + r_C @ S.mT)
        S = (S + v_C.mT @ k_C + p.mT @ a_C) * b[:, :, -1:]
    return torch.cat(y, 2), S


def shift(x_TBD: Tensor, mu: Tensor, past_1BD: Tensor | None) -> Tensor:
    """x_t + μ (x_{t-1} − x_t), with zero before the first."""
    before = torch.zeros_like(x_TBD[:1]) if past_1BD is None else past_1BD
    return torch.addcmul(x_TBD, torch.cat([before, x_TBD[:-1]]) - x_TBD, mu)


def linear(width: int, inner: int, bound: float) -> nn.Linear:
    """Uniform within bound / √width."""
    layer = nn.Linear(width, inner, bias=False)
    nn.init.uniform_(layer.weight, -bound * width**-0.5, bound * width**-0.5)
    return layer


def low_rank(width: int, f: nn.Module, inner: int, rank: int = 16) -> nn.Module:
    """x → B f(A x), A zero at first."""
    up = nn.Linear(rank, inner, bias=False)
    nn.init.orthogonal_(up.weight, gain=0.1)
    return nn.Sequential(linear(width, rank, 0.0), f, up)


class TimeMix(nn.Module):
    """Token shift, generalised delta rule, norm, bonus and gate, x_TBD → x_TBD (section 4)."""

    def __init__(self, width: int, heads: int, layer: int, layers: int) -> None:
        super().__init__()
        self.heads, head = heads, -(-width // heads)
        inner, up = heads * head, torch.linspace(0, 1, heads * head)
        powers = (1 - layer / layers) * torch.tensor([0.2, 0.9, 0.7, 0.7, 0.9, 0.2])
        self.mu = nn.Parameter(1 - (torch.arange(width) / width) ** powers[:, None, None, None])
        self.r, self.k = linear(width, inner, 0.5), linear(width, inner, 0.05)
        self.v, self.out = linear(width, inner, 0.5), linear(inner, width, 0.0)
        zigzag = torch.linspace(-1, 1, head).repeat(heads)
        zigzag = zigzag * zigzag.abs()
        decay = 6 * up ** (1 + (layer / max(layers - 1, 1)) ** 0.3) - 5.5 + 2.5 * zigzag
        self.w, self.w_0 = low_rank(width, nn.Tanh(), inner), nn.Parameter(decay)
        self.a = low_rank(width, nn.Identity(), inner)
        self.a_0 = nn.Parameter(0.3 * zigzag + 0.4 * up - 0.39)
        self.g = low_rank(width, nn.Sigmoid(), inner)
        self.k_k, self.k_a = nn.Parameter(0.76 - 0.1 * up), nn.Parameter(torch.full_like(up, 1.02))
        self.r_k = nn.Parameter(torch.full((heads, 1, head), -0.04))
        self.norm_weight = nn.Parameter(torch.full((inner,), ((1 + layer) / layers) ** 0.7))
        self.norm_bias = nn.Parameter(torch.zeros(inner))

    def forward(self, x_TBD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """y_TBD; the last x, and S. Values are not mixed with those of the first layer."""
        before, start = past or (None, None)
        r, w, k, v, a, g = shift(x_TBD, self.mu, before).unbind(0)
        r, k, v, a = self.r(r), self.k(k), self.v(v), (self.a_0 + self.a(a)).sigmoid()
        w = -math.exp(-0.5) * (self.w_0 + self.w(w)).sigmoid()  # its logarithm
        parts = r, w, k * (1 + (a - 1) * self.k_a), v, k * self.k_k, a
        r, w, k, v, kappa, a = (rearrange(z, "t b (h d) -> b h t d", h=self.heads) for z in parts)
        y, end = generalized_delta_rule(r, w, k, v, normalize(kappa), a, start)
        y = F.layer_norm(y, y.shape[-1:], eps=1e-5 * y.shape[-1])
        bonus = (r * k * self.r_k).sum(-1, keepdim=True) * v
        y, bonus = (rearrange(z, "b h t d -> t b (h d)") for z in (y, bonus))
        y = y * self.norm_weight + self.norm_bias + bonus
        return self.out(y * self.g(g)), (x_TBD[-1:], end)


class ChannelMix(nn.Module):
    """W_v relu(W_k x)² after a token shift, x_TBD → x_TBD, or x_PD at some positions."""

    def __init__(self, width: int, layer: int, layers: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(1 - (torch.arange(width) / width) ** (1 - layer / layers) ** 4)
        self.k, self.v = linear(width, 4 * width, 0.5), linear(4 * width, width, 0.0)

    def forward(self, x_TBD: Tensor, past: Any, at_P: Tensor | None) -> tuple[Tensor, Tensor]:
        """y, and the last x."""
        k = self.k(at_positions(shift(x_TBD, self.mu, past), at_P))
        return self.v(k.relu().square()), x_TBD[-1:]


@models.register(
    "rwkv7",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class RWKV7(nn.Module):
    """Token embedding and norm, pre-norm residual blocks of both mixes, norm, linear read-out.

    Expressivity: every regular language (arXiv 2503.14456).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        # Not within 1e-4, as by its authors: at rates near 1e-2 rounding decides the first steps.
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(TimeMix(width, heads, i, layers) for i in range(layers))
        self.mlps = nn.ModuleList(ChannelMix(width, i, layers) for i in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers + 1))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        nn.init.orthogonal_(self.head.weight, gain=0.5 * max(1.0, vocab_size / width) ** 0.5)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is, of every block, the last inputs of both mixes, and S."""
        x = self.norms[-1](self.embedding(tokens_BT.T))
        pasts = state or [(None, None)] * len(self.mixers)
        at_P, state = time_first(at_P, tokens_BT), []
        for i, (mixer, mlp, past) in enumerate(zip(self.mixers, self.mlps, pasts, strict=True)):
            here = at_P if mixer is self.mixers[-1] else None
            y, mixed = mixer(self.norms[2 * i](x), past[0])
            x = x + y
            y, last = mlp(self.norms[2 * i + 1](x), past[1], here)
            x = at_positions(x, here) + y
            state.append((mixed, last))
        logits = self.head(self.norm(x))
        return logits.transpose(0, 1) if at_P is None else logits, state
