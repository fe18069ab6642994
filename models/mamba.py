"""Mamba, a selective state-space model (Gu & Dao 2023, arXiv 2312.00752), in plain torch."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.registry import models


class SelectiveScan(torch.autograd.Function):
    """h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t;  y_t = C_t·h_t  (section 3.2, equation 2a).

    delta_TBE, x_TBE, A_SE, B_TSB, C_TSB → y_TBE. Every step works on one [S, B, E] slice, which
    stays in the processor's cache, with the longest axis last for its vector units; autograd over
    whole sequences would walk through main memory a dozen times. The backward pass is the adjoint
    recurrence, run from the end.
    """

    @staticmethod
    def forward(delta: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Any:
        """Also returns every decay and state, which the backward pass reads."""
        decay_TSBE = x.new_empty(x.shape[0], A.shape[0], *x.shape[1:])
        h_TSBE = torch.empty_like(decay_TSBE)
        scratch_SBE = torch.empty_like(h_TSBE[0])
        y_TBE, u_TBE = torch.empty_like(x), delta * x
        for t, (decay, h) in enumerate(zip(decay_TSBE, h_TSBE, strict=True)):
            torch.mul(delta[t], A.unsqueeze(1), out=decay).exp_()
            torch.mul(u_TBE[t], B[t].unsqueeze(-1), out=h)
            if t > 0:
                h.addcmul_(decay, h_TSBE[t - 1])
            torch.mul(h, C[t].unsqueeze(-1), out=scratch_SBE)
            torch.sum(scratch_SBE, dim=0, out=y_TBE[t])
        return y_TBE, decay_TSBE, h_TSBE

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs and both by-products; only y is differentiable."""
        _, decay, h = output
        ctx.mark_non_differentiable(decay, h)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, decay, h)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """dh_t = C_t dy_t + exp(Δ_{t+1} A) dh_{t+1}, and from it the gradient of every input."""
        delta, x, A, B, C, decay, h = ctx.saved_tensors
        dy = grads[0]
        if dy is None:
            return None, None, None, None, None
        ddelta, dx, dB, dC = (torch.empty_like(z) for z in (delta, x, B, C))
        dA, dh = torch.zeros_like(A), torch.zeros_like(h[0])
        scratch = torch.empty_like(dh)
        for t in reversed(range(x.shape[0])):
            torch.sum(torch.mul(h[t], dy[t], out=scratch), dim=-1, out=dC[t])
            dh.addcmul_(dy[t], C[t].unsqueeze(-1))
            torch.sum(torch.mul(dh, delta[t] * x[t], out=scratch), dim=-1, out=dB[t])
            du = torch.mul(dh, B[t].unsqueeze(-1), out=scratch).sum(0)
            torch.mul(du, x[t], out=ddelta[t])
            torch.mul(du, delta[t], out=dx[t])
            dh.mul_(decay[t])
            if t > 0:
                dlog_decay = h[t - 1] * dh
                ddelta[t] += torch.mul(dlog_decay, A.unsqueeze(1), out=scratch).sum(0)
                dA += dlog_decay.mul_(delta[t]).sum(1)
        return ddelta, dx, dA, dB, dC


class Mixer(nn.Module):
    """The Mamba block's inside, x_BTD → x_BTD: gate, causal convolution, selective scan."""

    def __init__(self, width: int, state: int = 16, conv: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * width, math.ceil(width / 16)
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

    def forward(self, x_BTD: Tensor) -> Tensor:
        """y = out_proj(scan(SiLU(conv(x))) · SiLU(z))."""
        x_TBE, z_TBE = self.in_proj(x_BTD.transpose(0, 1)).chunk(2, dim=-1)
        taps_EW, bias_E = self.conv1d.weight.squeeze(1), self.conv1d.bias
        assert bias_E is not None
        width = taps_EW.shape[1]
        padded = F.pad(x_TBE, (0, 0, 0, 0, width - 1, 0))
        # A depthwise convolution of width four is four products; conv1d is far slower on short T.
        conv_TBE = sum(
            (padded[k : k + len(x_TBE)] * taps_EW[:, k] for k in range(width)),
            start=bias_E,
        )
        x_TBE = F.silu(conv_TBE)
        state = self.A_log.shape[1]
        dt, B, C = self.x_proj(x_TBE).split([self.dt_proj.in_features, state, state], dim=-1)
        delta_TBE = F.softplus(self.dt_proj(dt))
        A_SE = -torch.exp(self.A_log).T.contiguous()
        B_TSB, C_TSB = B.transpose(1, 2).contiguous(), C.transpose(1, 2).contiguous()
        y_TBE = SelectiveScan.apply(delta_TBE, x_TBE, A_SE, B_TSB, C_TSB)[0]
        return self.out_proj((y_TBE + self.D * x_TBE) * F.silu(z_TBE)).transpose(0, 1)


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
    """Token embedding, pre-norm residual Mamba blocks (RMSNorm), final norm, linear read-out."""

    def __init__(self, vocab_size: int, max_len: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.mixers = nn.ModuleList(Mixer(width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        x_BTD = self.embedding(tokens_BT)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x_BTD = x_BTD + mixer(norm(x_BTD))
        return self.head(self.norm(x_BTD))
