"""Mamba, a selective state-space model (Gu & Dao 2023, arXiv 2312.00752).

The selective scan, h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t and y_t = C_t·h_t, is in
`kbench.ops.scan`.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.ops.scan import BACKENDS, backend_named
from kbench.registry import models


class Mixer(nn.Module):
    """The Mamba block's inside, x_BTD → x_BTD: gate, causal convolution, selective scan."""

    def __init__(
        self, width: int, *, state: int = 16, conv: int = 4, expand: int = 2,
        low: float = 0.0, backend: str = "torch",
    ) -> None:  # fmt: skip
        super().__init__()
        inner, rank = expand * width, math.ceil(width / 16)
        self.low, self.scan = low, backend_named(backend)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, conv, groups=inner, padding=conv - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        self._init_dt(rank)

    def _init_dt(self, rank: int, low: float = 1e-3, high: float = 0.1) -> None:
        """Δ starts log-uniform in [low, high]: the bias is the inverse softplus of the draw."""
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        draw = torch.rand(self.dt_proj.bias.shape)
        dt = torch.exp(draw * math.log(high / low) + math.log(low))
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(self, x_BTD: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """y = out_proj(scan(SiLU(conv(x))) · SiLU(z)); the convolution's last inputs, and h."""
        x_TBE, z_TBE = self.in_proj(x_BTD.transpose(0, 1)).chunk(2, dim=-1)
        taps_EW, bias_E = self.conv1d.weight.squeeze(1), self.conv1d.bias
        assert bias_E is not None
        W = taps_EW.shape[1]
        if past is None:
            padded, start = F.pad(x_TBE, (0, 0, 0, 0, W - 1, 0)), None
        else:
            padded, start = torch.cat([past[0], x_TBE]), past[1]
        # A depthwise convolution of width four is four products; conv1d is far slower on short T.
        conv_TBE = sum((padded[k : k + len(x_TBE)] * taps_EW[:, k] for k in range(W)), start=bias_E)
        x_TBE = F.silu(conv_TBE)
        S = self.A_log.shape[1]
        dt, B_TBS, C_TBS = self.x_proj(x_TBE).split([self.dt_proj.in_features, S, S], dim=-1)
        delta_TBE = F.softplus(self.dt_proj(dt))
        A_SE = -torch.exp(self.A_log).T.contiguous()
        y_TBE, h_SBE = self.scan(delta_TBE, x_TBE, A_SE, B_TBS, C_TBS, start, self.low)
        y_BTD = self.out_proj((y_TBE + self.D * x_TBE) * F.silu(z_TBE)).transpose(0, 1)
        return y_BTD, (padded[len(x_TBE) :], h_SBE)


@models.register(
    "mamba",
    version=1,
    presets={
        "quick": {"width": 32, "layers": 2},
        "cpu": {"width": 64, "layers": 2},
        "paper": {"width": 256, "layers": 2},
    },
)
class Mamba(nn.Module):
    """Token embedding, pre-norm residual Mamba blocks (RMSNorm), final norm, linear read-out.

    Backends of the scan: `torch`, and `mamba-ssm`, the kernel of that package, on CUDA only.
    """

    backends = tuple(BACKENDS)
    low = 0.0

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, backend: str = "torch"
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(
            Mixer(width, low=self.low, backend=backend) for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is, of every block, the last inputs of the convolution and h."""
        x_BTD, pasts = self.embedding(tokens_BT), state or [None] * len(self.mixers)
        state = []
        for norm, mixer, past in zip(self.norms, self.mixers, pasts, strict=True):
            y_BTD, past = mixer(norm(x_BTD), past)
            x_BTD = x_BTD + y_BTD
            state.append(past)
        return self.head(self.norm(x_BTD)), state
