"""A whole block of Mamba as one operation, in loops that numba compiles for the CPU."""

from typing import Any

import numpy as np
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
        T, B, _ = x_TBD.shape
        x = x_TBD.detach().flatten(0, 1)
        # Tensors are for products, their arrays for kernels.
        arrays = _arrays(
            x, before, start, norm, conv1d.squeeze(1).T, conv_bias, dt_proj.T, dt_bias,
            -torch.exp(A_log).T, D,
        )  # fmt: skip
        x_array, before, start, norm, taps, conv_bias, dt_RE, dt_bias, A, D = arrays
        normed = torch.empty_like(x)
        rms_norm(x_array, norm, f32(eps), normed.numpy())
        xz = (normed @ in_proj.T).unflatten(0, (T, B))
        c, delta, u, y, v = (np.empty((T, B, len(D)), f32) for _ in range(5))
        convolve(xz.numpy(), before, taps, conv_bias, c)
        proj = (torch.from_numpy(c) @ x_proj.T).numpy()
        time_steps(proj, dt_RE, dt_bias, c, delta, u)
        end = np.empty_like(start)
        scan(delta, u, proj, A, f32(low), start, y, end)
        gate(y, c, xz.numpy(), D, v)
        v_P = at_positions(torch.from_numpy(v), at_P)
        ctx.at_P, ctx.eps, ctx.low = at_P, eps, low
        ctx.kept = arrays, xz.numpy(), c, delta, u, y, proj
        ctx.save_for_backward(normed, v_P, in_proj, x_proj, out_proj)
        end_BSE = torch.from_numpy(end)
        ctx.mark_non_differentiable(xz, end_BSE)
        ctx.set_materialize_grads(False)
        return at_positions(x_TBD, at_P) + v_P @ out_proj.T, xz, end_BSE

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

        normed, v_P, in_proj, x_proj, out_proj = ctx.saved_tensors
        arrays, xz, c, delta, u, y, proj = ctx.kept
        x, before, start, norm, taps, conv_bias, dt_RE, _, A, D = arrays
        dnorm, dtaps, dconv_bias, ddt_RE, ddt_bias, dA, dD = (
            np.zeros_like(w) for w in (norm, taps, conv_bias, dt_RE, D, A, D)
        )
        dout = grads[0].flatten(0, -2)
        dv, dout_proj = dout @ out_proj, dout.T @ v_P.flatten(0, -2)
        if ctx.at_P is None:
            dx = dout.clone(memory_format=torch.contiguous_format)
        else:
            dx = torch.zeros_like(normed).index_copy_(0, ctx.at_P, dout)
            dv = dv.new_zeros(len(normed), len(D)).index_copy_(0, ctx.at_P, dv)
        dy, dc, ddelta, du = (np.empty_like(c) for _ in range(4))
        dxz, dproj = np.empty_like(xz), np.empty_like(proj)
        gate_backward(dv.numpy().reshape(c.shape), y, c, xz, D, dy, dc, dxz, dD)
        scan_backward(dy, delta, u, proj, A, f32(ctx.low), start, ddelta, du, dproj, dA)
        time_steps_backward(ddelta, du, proj, dt_RE, delta, c, dc, dproj, ddt_RE, ddt_bias)
        by_row = (torch.from_numpy(t).flatten(0, 1) for t in (c, dc, dproj, dxz))
        c_ME, dc_ME, dproj_MK, dxz_MF = by_row
        dc_ME.addmm_(dproj_MK, x_proj)
        dx_proj = dproj_MK.T @ c_ME
        convolve_backward(dc, xz, before, taps, conv_bias, dxz, dtaps, dconv_bias)
        din_proj = dxz_MF.T @ normed
        rms_norm_backward((dxz_MF @ in_proj).numpy(), x, norm, f32(ctx.eps), dx.numpy(), dnorm)
        dA_log = (dA * A).T  # A is −e^A_log
        small = dtaps.T[:, None], dconv_bias, ddt_RE.T, ddt_bias, dA_log, dD
        dconv1d, dconv_bias, ddt_proj, ddt_bias, dA_log, dD = map(torch.from_numpy, small)
        return (
            dx.unflatten(0, c.shape[:2]), None, None, None, None, None, torch.from_numpy(dnorm),
            din_proj, dconv1d, dconv_bias, dx_proj, ddt_proj, ddt_bias, dA_log, dD, dout_proj,
        )  # fmt: skip


def _arrays(*tensors: Tensor) -> list[Any]:
    """Contiguous, as the kernels are compiled for."""
    return [t.detach().contiguous().numpy() for t in tensors]
