"""A whole block of Mamba as one operation, in loops that numba compiles for the CPU."""

from typing import Any

import torch
from torch import Tensor

from kbench.ops.positions import at_positions


def mamba_block(
    x_TBD: Tensor, past: Any, at_P: Tensor | None, eps: float, low: float, *weights: Tensor
) -> tuple[Tensor, Any]:
    """x + out_proj(scan(SiLU(conv(x))) · SiLU(z)) after the norm, and the state after it.

    x_TBD → x_TBD, or x_PD at these positions of the T · B. The weights, all float32, are those of
    the norm, in_proj, conv1d with its bias, x_proj, dt_proj with its bias, A_log, D and out_proj.
    The state is the last W − 1 inputs of the convolution, and h_SBE. The plain form, with its
    equations, is that of `kbench.models.mamba`.
    """
    (E, S), V = weights[7].shape, weights[2].shape[2] - 1
    T, B = x_TBD.shape[:2]
    before, start = past or (x_TBD.new_zeros(V, B, E), x_TBD.new_zeros(S, B, E))
    start_BSE = start.transpose(0, 1)
    y, xz_TBF, end_BSE = MambaBlock.apply(x_TBD, before, start_BSE, at_P, eps, low, *weights)
    inputs = torch.cat([before[T:], xz_TBF[max(T - V, 0) :, :, :E]])
    return y, (inputs, end_BSE.transpose(0, 1))


class MambaBlock(torch.autograd.Function):
    """x_TBD, before_VBE, start_BSE, at_P, eps, low and the weights → y, xz_TBF, end_BSE.

    The kernels take one sequence after the other, whose state stays in the processor's first cache.
    For the backward pass only what goes into them is kept: to compute the states once more takes
    less time than to read them back from memory.
    """

    @staticmethod
    def forward(
        ctx: Any, x_TBD: Tensor, before: Tensor, start: Tensor, at_P: Tensor | None, eps: float,
        low: float, *weights: Any,
    ) -> Any:  # fmt: skip
        """Only y is differentiable."""
        from kbench.ops.kernels import convolve, f32, gate, rms_norm, scan, time_steps

        norm, in_proj, conv1d, conv_bias, x_proj, dt_proj, dt_bias, A_log, D, out_proj = (
            w.detach() for w in weights
        )
        taps, dt_RE, A = conv1d.squeeze(1).T, dt_proj.T, -torch.exp(A_log).T
        x_TBD, before, start, taps, dt_RE, A = (
            t.detach().contiguous() for t in (x_TBD, before, start, taps, dt_RE, A)
        )
        T, B, _ = x_TBD.shape
        x = x_TBD.flatten(0, 1)
        normed = torch.empty_like(x)
        rms_norm(*_arrays(x, norm), f32(eps), *_arrays(normed))
        xz = (normed @ in_proj.T).unflatten(0, (T, B))
        c, delta, u, y, v = (x.new_empty(T, B, len(D)) for _ in range(5))
        convolve(*_arrays(xz, before, taps, conv_bias, c))
        proj = c @ x_proj.T
        time_steps(*_arrays(proj, dt_RE, dt_bias, c, delta, u))
        end = torch.empty_like(start)
        scan(*_arrays(delta, u, proj, A), f32(low), *_arrays(start, y, end))
        gate(*_arrays(y, c, xz, D, v))
        v = at_positions(v, at_P)
        ctx.at_P, ctx.eps, ctx.low = at_P, eps, low
        ctx.save_for_backward(
            x, normed, xz, c, proj, delta, u, y, v, before, start,
            norm, in_proj, taps, conv_bias, x_proj, dt_RE, A, D, out_proj,
        )  # fmt: skip
        ctx.mark_non_differentiable(xz, end)
        ctx.set_materialize_grads(False)
        return at_positions(x_TBD, at_P) + v @ out_proj.T, xz, end

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The same in reverse; what came before the first token has no gradient."""
        from kbench.ops.kernels import (
            convolve_backward,
            f32,
            gate_backward,
            rms_norm_backward,
            scan_backward,
            time_steps_backward,
        )

        x, normed, xz, c, proj, delta, u, y, v, before, start, *weights = ctx.saved_tensors
        norm, in_proj, taps, conv_bias, x_proj, dt_RE, A, D, out_proj = weights
        dnorm, dtaps, dconv_bias, ddt_RE, ddt_bias, dA, dD = (
            torch.zeros_like(w) for w in (norm, taps, conv_bias, dt_RE, D, A, D)
        )
        dout = grads[0].flatten(0, -2)
        dv, dout_proj = dout @ out_proj, dout.T @ v.flatten(0, -2)
        if ctx.at_P is None:
            dx = dout.clone(memory_format=torch.contiguous_format)
        else:
            dx = torch.zeros_like(x).index_copy_(0, ctx.at_P, dout)
            dv = c.new_zeros(len(x), c.shape[2]).index_copy_(0, ctx.at_P, dv)
        dy, dc, ddelta, du = (torch.empty_like(c) for _ in range(4))
        dxz, dproj = torch.empty_like(xz), torch.empty_like(proj)
        gate_backward(*_arrays(dv.view_as(c), y, c, xz, D, dy, dc, dxz, dD))
        scan_backward(
            *_arrays(dy, delta, u, proj, A), f32(ctx.low), *_arrays(start, ddelta, du, dproj, dA)
        )
        time_steps_backward(
            *_arrays(ddelta, du, proj, dt_RE, delta, c, dc, dproj, ddt_RE, ddt_bias)
        )
        dc.flatten(0, 1).addmm_(dproj.flatten(0, 1), x_proj)
        dx_proj = dproj.flatten(0, 1).T @ c.flatten(0, 1)
        convolve_backward(*_arrays(dc, xz, before, taps, conv_bias, dxz, dtaps, dconv_bias))
        dxz = dxz.flatten(0, 1)
        din_proj = dxz.T @ normed
        rms_norm_backward(*_arrays(dxz @ in_proj, x, norm), f32(ctx.eps), *_arrays(dx, dnorm))
        dA_log, dconv1d = (dA * A).T, dtaps.T.unsqueeze(1)  # A is −e^A_log
        return (
            dx.unflatten(0, xz.shape[:2]), None, None, None, None, None, dnorm, din_proj, dconv1d,
            dconv_bias, dx_proj, ddt_RE.T, ddt_bias, dA_log, dD, dout_proj,
        )  # fmt: skip


def _arrays(*tensors: Tensor) -> list[Any]:
    return [t.numpy() for t in tensors]
