"""Gated DeltaNet: the delta rule with Mamba-2's decay (Yang et al. 2024, arXiv 2412.06464)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.models.deltanet import SwiGLU
from kbench.models.mamba2 import Decay, segment_sums
from kbench.ops.convolution import short_convolution
from kbench.ops.norms import RMSNorm, normalize
from kbench.ops.positions import at_positions, time_first
from kbench.registry import models


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_a: Tensor, start: Any = None
) -> tuple[Tensor, Tensor]:
    """S_t = S_{t-1} (α_t (I − β_t k_t k_tᵀ)) + β_t v_t k_tᵀ;  y_t = S_t q_t  (section 3.2).

    q_BHTD, k_BHTD, v_BHTD, beta_BHT, log α_BHT, start_BHDD or None → y_BHTD, last S_BHDD.

    S_t is Σ_{s≤t} L_ts u_s k_sᵀ, L_ts = α_{s+1} ⋯ α_t, with u_t = β_t (v_t − α_t S_{t-1} k_t). As
    in `deltanet.py` a unit lower triangular system gives all u at once (section 3.3, one chunk).
    """
    L_BHTT = segment_sums(log_a).exp()
    kept_BHT1, beta = log_a.cumsum(-1).exp().unsqueeze(-1), beta.unsqueeze(-1)
    u = v if start is None else v - kept_BHT1 * (k @ start.mT)
    past_TT = (beta * L_BHTT * (k @ k.mT)).tril(-1)
    u = torch.linalg.solve_triangular(past_TT, beta * u, upper=False, unitriangular=True)
    y = (L_BHTT * (q @ k.mT)) @ u
    end = (u * L_BHTT[..., -1, :].unsqueeze(-1)).mT @ k
    if start is None:
        return y, end
    return y + kept_BHT1 * (q @ start.mT), end + kept_BHT1[..., -1:, :] * start


class Mixer(nn.Module):
    """q, k, v from a short convolution and SiLU, q and k of length 1; delta rule; norm and gate.

    x_TBD → x_TBD (figure 1).
    """

    def __init__(self, width: int, heads: int, conv: int = 4) -> None:
        super().__init__()
        self.heads, head = heads, -(-width // heads)
        inner = heads * head
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.taps = nn.Parameter(torch.empty(conv, 3 * inner))
        nn.init.uniform_(self.taps, -(conv**-0.5), conv**-0.5)
        self.beta = nn.Linear(width, heads, bias=False)
        self.decay = Decay(width, heads)
        self.gate = nn.Linear(width, inner, bias=False)
        self.norm = RMSNorm(head, eps=1e-5)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x_TBD → x_TBD, or x_PD at some positions; the convolution's last inputs, and S."""
        inputs, start = past or (None, None)
        qkv_TBE, inputs = short_convolution(self.qkv(x_TBD), self.taps, None, inputs)
        q, k, v = rearrange(qkv_TBE, "t b (n h d) -> n b h t d", n=3, h=self.heads).unbind(0)
        beta_BHT = self.beta(x_TBD).sigmoid().permute(1, 2, 0)
        _, log_a_BHT = self.decay(x_TBD)
        y_BHTD, end = gated_delta_rule(normalize(q), normalize(k), v, beta_BHT, log_a_BHT, start)
        y_TBE = rearrange(self.norm(y_BHTD), "b h t d -> t b (h d)") * F.silu(self.gate(x_TBD))
        return self.out(at_positions(y_TBE, at_P)), (inputs, end)


@models.register(
    "gated-deltanet",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class GatedDeltaNet(nn.Module):
    """Token embedding, pre-norm residual blocks of mixer and SwiGLU, final norm, linear map.

    Expressivity: no parity (arXiv 2411.12537).
    """

    turns: tuple[Callable[[int, int], nn.Module], ...] = (Mixer,)
    """The mixers of the blocks, over and over."""

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(
            self.turns[i % len(self.turns)](width, heads) for i in range(layers)
        )
        self.mlps = nn.ModuleList(SwiGLU(width) for _ in range(layers))
        self.norms = nn.ModuleList(RMSNorm(width, eps=1e-5) for _ in range(2 * layers))
        self.norm = RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is that of every block's mixer."""
        x, pasts = self.embedding(tokens_BT.T), state or [None] * len(self.mixers)
        at_P, state = time_first(at_P, tokens_BT), []
        for i, (mixer, mlp, past) in enumerate(zip(self.mixers, self.mlps, pasts, strict=True)):
            here = at_P if mixer is self.mixers[-1] else None
            y, past = mixer(self.norms[2 * i](x), past, here)
            x = at_positions(x, here) + y
            x = x + mlp(self.norms[2 * i + 1](x))
            state.append(past)
        logits = self.head(self.norm(x))
        return logits.transpose(0, 1) if at_P is None else logits, state
