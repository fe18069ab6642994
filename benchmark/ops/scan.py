"""The selective scan of Mamba (Gu & Dao 2023, arXiv 2312.00752, section 3.2), in plain torch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def side_by_side(info: Any, in_dims: Any, inputs: Any, axes: Sequence[int]) -> list[Any]:
    """The members of a stack along these axes of the inputs that are tensors."""
    return [
        z if not isinstance(z, Tensor)
        else torch.stack([z] * info.batch_size, axis) if dim is None
        else z.movedim(dim, axis)
        for z, dim, axis in zip(inputs, in_dims, axes, strict=True)
    ]  # fmt: skip


class SelectiveScan(torch.autograd.Function):
    """h_t = a_t h_{t-1} + Δ_t x_t B_t;  y_t = C_t·h_t  (section 3.2, equation 2a).

    The decay is a_t = exp(Δ_t A), or more generally low + (1 − low) exp(Δ_t A), in (low, 1).
    delta_TBE, x_TBE, A_SE, B_TSB, C_TSB, h_SBE or None, low → y_TBE, decays and states. Every step
    works on one [S, B, E] slice, which stays in the processor's cache, with the longest axis last
    for its vector units; autograd over whole sequences would walk through main memory a dozen
    times. Under vmap, with K members: delta_TKBE, x_TKBE, A_SKE, B_TSKB, C_TSKB and h_SKBE.
    """

    @staticmethod
    def forward(
        delta: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor, start: Any, low: float
    ) -> Any:
        """Also returns every decay and state, which the backward pass reads."""
        decay_TSBE = x.new_empty(x.shape[0], A.shape[0], *x.shape[1:])
        h_TSBE = torch.empty_like(decay_TSBE)
        scratch_SBE = torch.empty_like(h_TSBE[0])
        y_TBE, u_TBE = torch.empty_like(x), delta * x
        for t, (decay, h) in enumerate(zip(decay_TSBE, h_TSBE, strict=True)):
            torch.mul(delta[t], A.unsqueeze(-2), out=decay).exp_()
            if low:
                decay.mul_(1 - low).add_(low)
            torch.mul(u_TBE[t], B[t].unsqueeze(-1), out=h)
            before = h_TSBE[t - 1] if t else start
            if before is not None:
                h.addcmul_(decay, before)
            torch.mul(h, C[t].unsqueeze(-1), out=scratch_SBE)
            torch.sum(scratch_SBE, dim=0, out=y_TBE[t])
        return y_TBE, decay_TSBE, h_TSBE

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs and both by-products; only y is differentiable."""
        *inputs, start, ctx.low = inputs
        _, decay, h = output
        ctx.mark_non_differentiable(decay, h)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, start, decay, h)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """The gradient of all but the start, by the adjoint recurrence."""
        if grads[0] is None:
            return (None,) * 7
        return *ScanGradient.apply(grads[0], *ctx.saved_tensors, ctx.low), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        """All members of a stack in one scan."""
        inputs_K = side_by_side(info, in_dims, inputs, (1, 1, 1, 2, 2, 1, 0))
        return SelectiveScan.apply(*inputs_K), (1, 2, 2)


class ScanGradient(torch.autograd.Function):
    """dh_t = C_t dy_t + a_{t+1} dh_{t+1}, run from the end.

    dy_TBE, delta_TBE, x_TBE, A_SE, B_TSB, C_TSB, h_SBE or None, decay_TSBE, h_TSBE, low → the
    gradients of delta, x, A, B and C.
    """

    @staticmethod
    def forward(
        dy: Tensor, delta: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor, start: Any,
        decay: Tensor, h: Tensor, low: float,
    ) -> Any:  # fmt: skip
        """Every step works on one slice, as the scan does."""
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
            before = h[t - 1] if t else start
            offset = before * dh * low if before is not None and low else None
            dh.mul_(decay[t])
            if before is not None:
                dlog_decay = before * dh
                if offset is not None:
                    dlog_decay -= offset  # da/d(ΔA) = a − low
                ddelta[t] += torch.mul(dlog_decay, A.unsqueeze(-2), out=scratch).sum(0)
                dA += dlog_decay.mul_(delta[t]).sum(-2)
        return ddelta, dx, dA, dB, dC

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: it is not differentiated again."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        """Of all members of a stack."""
        inputs_K = side_by_side(info, in_dims, inputs, (1, 1, 1, 1, 2, 2, 1, 2, 2, 0))
        return ScanGradient.apply(*inputs_K), (1, 1, 1, 2, 2)


def torch_scan(
    delta: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor, start: Any = None, low: float = 0.0
) -> tuple[Tensor, Tensor]:
    """delta_TBE, x_TBE, A_SE, B_TBS, C_TBS, start_SBE → y_TBE, last h_SBE; on any device."""
    B_TSB, C_TSB = B.transpose(1, 2).contiguous(), C.transpose(1, 2).contiguous()
    y_TBE, _, h_TSBE = SelectiveScan.apply(delta, x, A, B_TSB, C_TSB, start, low)
    return y_TBE, h_TSBE[-1]
