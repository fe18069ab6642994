"""Mamba, a selective state-space model (Gu & Dao 2023, arXiv 2312.00752).

The selective scan, h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t and y_t = C_t·h_t, is in
`kbench.ops.scan`.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.ops.backends import BACKENDS, scan_named
from kbench.ops.convolution import short_convolution
from kbench.ops.mamba_block import mamba_block
from kbench.ops.norms import RMSNorm
from kbench.ops.positions import at_positions, time_first
from kbench.registry import models


class Mixer(nn.Module):
    """The Mamba block's inside, x_TBD → x_TBD: gate, causal convolution, selective scan."""

    def __init__(
        self, width: int, *, state: int = 16, conv: int = 4, expand: int = 2,
        low: float = 0.0, backend: str = "torch",
    ) -> None:  # fmt: skip
        super().__init__()
        inner, rank = expand * width, math.ceil(width / 16)
        self.low, self.scan = low, scan_named(backend)
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

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """y = out_proj(scan(SiLU(conv(x))) · SiLU(z)); the convolution's last inputs, and h."""
        x_TBE, z_TBE = self.in_proj(x_TBD).chunk(2, dim=-1)
        taps_WE, bias_E = self.conv1d.weight.squeeze(1).T, self.conv1d.bias
        assert bias_E is not None
        inputs, start = past or (None, None)
        # conv1d is far slower on short T.
        x_TBE, inputs = short_convolution(x_TBE, taps_WE, bias_E, inputs)
        A_SE = -torch.exp(self.A_log).T.contiguous()
        S = len(A_SE)
        dt, B_TBS, C_TBS = self.x_proj(x_TBE).split([self.dt_proj.in_features, S, S], dim=-1)
        delta_TBE = F.softplus(self.dt_proj(dt))
        y_TBE, h_SBE = self.scan(delta_TBE, x_TBE, A_SE, B_TBS, C_TBS, start, self.low)
        y_TBE = (y_TBE + self.D * x_TBE) * F.silu(z_TBE)
        return self.out_proj(at_positions(y_TBE, at_P)), (inputs, h_SBE)


@models.register(
    "mamba",
    version=2,
    earlier={1: "sha256:a42e75283d91e771a98a1f60f122e067477319ba0891ba41db8b2515085fd875"},
    presets={
        "quick": {"width": 32, "layers": 2},
        "cpu": {"width": 64, "layers": 2},
        "paper": {"width": 256, "layers": 2},
    },
)
class Mamba(nn.Module):
    """Token embedding, pre-norm residual Mamba blocks (RMSNorm), final norm, linear read-out.

    Backends of the scan: `torch`; `numba`, compiled for the CPU, with the convolution; and
    `mamba-ssm`, the kernel of that package, on CUDA only.

    Expressivity: in TC⁰ (arXiv 2404.08819); no parity (arXiv 2411.12537).
    """

    backends: tuple[str, ...] = BACKENDS
    low = 0.0

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, backend: str = "torch"
    ) -> None:
        super().__init__()
        self.backend = backend
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(
            Mixer(width, low=self.low, backend=backend) for _ in range(layers)
        )
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
            x, past = self._block(norm, mixer, x, past, here)
            state.append(past)
        logits = self.head(self.norm(x))
        return logits.transpose(0, 1) if at_P is None else logits, state

    def _block(self, norm: Any, mixer: Any, x_TBD: Tensor, past: Any, at_P: Any) -> Any:
        if self.backend != "numba" or x_TBD.dtype != torch.float32:
            y, past = mixer(norm(x_TBD), past, at_P)
            return at_positions(x_TBD, at_P) + y, past
        return mamba_block(
            x_TBD, past, at_P, norm.eps, mixer.low, norm.weight, mixer.in_proj.weight,
            mixer.conv1d.weight, mixer.conv1d.bias, mixer.x_proj.weight,
            mixer.dt_proj.weight, mixer.dt_proj.bias, mixer.A_log, mixer.D, mixer.out_proj.weight,
        )  # fmt: skip
