"""DeltaNet: linear attention with the delta rule (Yang et al. 2024, arXiv 2406.06484).

β reaches 2, which allows the eigenvalue 1 − β of a step to be negative (Grazzi et al. 2024, arXiv
2411.12537). With several steps per token it is DeltaProduct (Siems et al. 2025, arXiv 2502.10297).
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kbench.ops.convolution import short_convolution
from kbench.ops.norms import RMSNorm, normalize
from kbench.ops.positions import at_positions, time_first
from kbench.registry import models


def delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, start: Any = None) -> Any:
    """S_i = S_{i-1} (I − β_i k_i k_iᵀ) + β_i v_i k_iᵀ;  y_t = S_i q_t after token t's last step.

    q_BHTD, k_BHSD, v_BHSD, beta_BHS, S a multiple of T; start_BHDD or None → y_BHTD, last S_BHDD.

    S_i is S_0 + Σ_{j≤i} u_j k_jᵀ with u_i = β_i (v_i − S_{i-1} k_i). Written out, the u solve a
    unit lower triangular system, which takes all steps at once (section 3.2, one chunk).
    """
    T, S = q.shape[2], k.shape[2]
    u = v if start is None else v - k @ start.transpose(-2, -1)
    beta = beta.unsqueeze(-1)
    past_SS = (beta * k @ k.transpose(-2, -1)).tril(-1)
    u = torch.linalg.solve_triangular(past_SS, beta * u, upper=False, unitriangular=True)
    steps = S // T
    later_TS = torch.arange(S, device=q.device) // steps > torch.arange(
        T, device=q.device
    ).unsqueeze(-1)
    y = (q @ k.transpose(-2, -1)).masked_fill(later_TS, 0.0) @ u
    end = u.transpose(-2, -1) @ k
    return (y, end) if start is None else (y + q @ start.transpose(-2, -1), start + end)


class Mixer(nn.Module):
    """q, k, v from a short causal convolution and SiLU, q and k of length 1; delta rule; norm.

    Time comes first here, as the convolution wants it.
    """

    def __init__(self, width: int, heads: int, steps: int, conv: int = 4) -> None:
        super().__init__()
        self.heads, self.steps = heads, steps
        head = -(-width // heads)
        inner = heads * head
        self.sizes = [inner, steps * inner, steps * inner]
        self.qkv = nn.Linear(width, sum(self.sizes), bias=False)
        self.taps = nn.Parameter(torch.empty(conv, sum(self.sizes)))
        nn.init.uniform_(self.taps, -(conv**-0.5), conv**-0.5)
        self.beta = nn.Linear(width, steps * heads, bias=False)
        self.norm = RMSNorm(head, eps=1e-5)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x_TBD → x_TBD, or x_PD at some positions; the convolution's last inputs, and S."""
        inputs, start = past or (None, None)
        qkv_TBE, inputs = short_convolution(self.qkv(x_TBD), self.taps, None, inputs)
        q, k, v = qkv_TBE.split(self.sizes, dim=-1)
        per_step = "t b (n h d) -> b h (t n) d"
        q = normalize(rearrange(q, per_step, n=1, h=self.heads))
        k = normalize(rearrange(k, per_step, n=self.steps, h=self.heads))
        v = rearrange(v, per_step, n=self.steps, h=self.heads)
        beta = rearrange(2 * self.beta(x_TBD).sigmoid(), "t b (n h) -> b h (t n)", n=self.steps)
        y_BHTD, end = delta_rule(q, k, v, beta, start)
        y_TBD = rearrange(self.norm(y_BHTD), "b h t d -> t b (h d)")
        return self.out(at_positions(y_TBD, at_P)), (inputs, end)


class SwiGLU(nn.Module):
    """W_3 (SiLU(W_1 x) · W_2 x), x_BTD → x_BTD, of about as many parameters as a 4 × D MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 8 * width // 3
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """x_BTD → x_BTD."""
        gate, value = self.up(x_BTD).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


@models.register(
    "deltanet",
    version=2,
    earlier={1: "sha256:0266aa80410bcb3aafd89ef99abc603a3ccb6ad791fdb8a5d915da3648878966"},
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class DeltaNet(nn.Module):
    """Token embedding, pre-norm residual blocks of mixer and SwiGLU, final norm, linear map.

    Expressivity: parity, by negative eigenvalues (arXiv 2411.12537).
    """

    steps = 1

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(Mixer(width, heads, self.steps) for _ in range(layers))
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
        """The state is, of every block, the last inputs of the convolution and S."""
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
