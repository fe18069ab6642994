"""Mamba's selective scan by the kernel of mamba-ssm, on CUDA only."""

from typing import Any

import torch
from torch import Tensor

from kbench.ops.scan import side_by_side, torch_scan

_KERNEL_AXES = (1, 1, 0, 1, 1)
"""Of the members in u_BKET, delta_BKET, A_KES, B_BKST and C_BKST."""


def _as_groups(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> list[Tensor]:
    """A stack as one model whose channels come in groups."""
    # What was a stack before has groups already, and B and C for each of them.
    return [
        u.flatten(1, 2), delta.flatten(1, 2), A.flatten(0, 1), B.flatten(1, -3), C.flatten(1, -3)
    ]  # fmt: skip


class KernelScan(torch.autograd.Function):
    """u_BET, delta_BET, A_ES, B_BST, C_BST → y_BET, last h_BES, by mamba-ssm's kernel.

    Its `selective_scan_fn` cannot be transformed by vmap, but lets groups of channels have B and C
    of their own: a stack is one model with as many groups as there are members.
    """

    @staticmethod
    def forward(*inputs: Tensor) -> Any:
        """One call of the kernel."""
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        return selective_scan_fn(*inputs, return_last_state=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs; only y is differentiable."""
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """By the kernel's own gradient."""
        if grads[0] is None:
            return (None,) * 5
        return KernelGradient.apply(grads[0], *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        """All members of a stack in one call."""
        u, delta, A, B, C = side_by_side(info, in_dims, inputs, _KERNEL_AXES)
        y, h = KernelScan.apply(*_as_groups(u, delta, A, B, C))
        return (y.unflatten(1, u.shape[1:3]), h.unflatten(1, u.shape[1:3])), (1, 1)


class KernelGradient(torch.autograd.Function):
    """dy_BET and the inputs of KernelScan → their gradients; the kernel runs forward once more."""

    @staticmethod
    def forward(dy: Tensor, *inputs: Tensor) -> Any:
        """Forward and backward, apart from the graph around it."""
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

        with torch.enable_grad():
            again = [z.detach().requires_grad_() for z in inputs]
            return torch.autograd.grad(selective_scan_fn(*again), again, dy)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: it is not differentiated again."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        """Of all members of a stack."""
        dy, *inputs_K = side_by_side(info, in_dims, inputs, (1, *_KERNEL_AXES))
        gradients = KernelGradient.apply(dy.flatten(1, 2), *_as_groups(*inputs_K))
        shaped = (d.reshape(z.shape) for d, z in zip(gradients, inputs_K, strict=True))
        return tuple(shaped), _KERNEL_AXES


def kernel_scan(
    delta: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor, start: Any = None, low: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The same by mamba-ssm's kernel, which begins at h = 0 and has no `low`."""
    if start is not None or low:
        return torch_scan(delta, x, A, B, C, start, low)
    u_BET, delta_BET, B_BST, C_BST = (z.permute(1, 2, 0).contiguous() for z in (x, delta, B, C))
    y_BET, h_BES = KernelScan.apply(u_BET, delta_BET, A.T.contiguous(), B_BST, C_BST)
    return y_BET.permute(2, 0, 1), h_BES.permute(2, 0, 1)
