"""Gated cells over a whole sequence, each with a backward pass written by hand.

Left to autograd, a step of a cell is twenty small operations, and as many again on the way back.
Here a step forward is as few as its equations allow; what of the way back does not depend on what
came later is computed for all steps at once; and the gradient of the recurrent weights is one
product at the end. Time comes first. Without a batching rule of cuDNN's or oneDNN's in the way, all
of these stack.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _shifted(start_BH: Tensor, h_TBH: Tensor) -> Tensor:
    """The states before each step."""
    return torch.cat([start_BH.unsqueeze(0), h_TBH[:-1]])


def _backwards(t_TBH: Tensor) -> tuple[Tensor, ...]:
    """Its steps, the last one first."""
    return t_TBH.unbind(0)[::-1]


def _outer(before_TBH: Tensor, d_TBG: Tensor) -> Tensor:
    """The gradient of weights [G, H] that multiply h: Σ over steps and sequences."""
    return d_TBG.flatten(0, 1).transpose(0, 1) @ before_TBH.flatten(0, 1)


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Of a layer of torch's recurrent modules: W, U, b and d."""


def through_layers(
    cell: Callable, module: nn.RNNBase, embedding: nn.Embedding, tokens_BT: Tensor, state: Any
) -> tuple[Tensor, Tensor]:
    """h_TBH of the last layer, and the last h of every layer, with the weights of torch's module.

    The cell takes W x + b [T, B, G], U, d and h_BH before the first step, and returns h_TBH.
    """
    starts, last = [None] * module.num_layers if state is None else state, []
    h_TBH = embedding.weight
    for layer, start in enumerate(starts):
        W, U, b, d = (getattr(module, f"{name}_l{layer}") for name in WEIGHTS)
        pre_TBG = F.linear(h_TBH, W, b)
        if layer == 0:  # of every token there is; each position takes its own
            pre_TBG = F.embedding(tokens_BT.T, pre_TBG)
        if start is None:
            start = pre_TBG.new_zeros(pre_TBG.shape[1], U.shape[1])
        h_TBH = cell(pre_TBG, U, d, start)
        last.append(h_TBH[-1])
    return h_TBH, torch.stack(last)


class Elman(torch.autograd.Function):
    """h_t = tanh(pre_t + U h_{t-1}): pre_TBH, U_HH, start_BH → h_TBH (Elman 1990)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(pre: Tensor, U: Tensor, start: Tensor) -> Tensor:
        """Step by step."""
        h, states = start, []
        for x in pre.unbind(0):
            h = torch.addmm(x, h, U.T).tanh()
            states.append(h)
        return torch.stack(states)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the states."""
        ctx.save_for_backward(*inputs[1:], output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """From the end."""
        U, start, h = ctx.saved_tensors
        slope, dh, found = 1 - h * h, torch.zeros_like(start), []
        for dy, s in zip(_backwards(grads[0]), _backwards(slope), strict=True):
            d = (dy + dh) * s
            dh = d @ U
            found.append(d)
        d_TBH = torch.stack(found[::-1])
        return d_TBH, _outer(_shifted(start, h), d_TBH), dh


class GRU(torch.autograd.Function):
    """pre_TBG, U_GH, bias_G, start_BH → h_TBH and what backward reads, G = 3 H (Cho et al. 2014).

    r, z = σ(pre_r + U_r h + b_r), …;  n = tanh(pre_n + r (U_n h + b_n));  h' = n + z (h − n)
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(pre: Tensor, U: Tensor, bias: Tensor, start: Tensor) -> Any:
        """Step by step; only the states are differentiable."""
        H = start.shape[-1]
        h, kept = start, []
        for rz, n in zip(pre[..., : 2 * H].unbind(0), pre[..., 2 * H :].unbind(0), strict=True):
            u = torch.addmm(bias, h, U.T)
            r, z = (rz + u[..., : 2 * H]).sigmoid().split(H, -1)
            u = u[..., 2 * H :]
            n = torch.addcmul(n, r, u).tanh()
            h = torch.lerp(n, h, z)
            kept.append((h, r, z, n, u))
        return tuple(torch.stack(states) for states in zip(*kept, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the weights, the states and the gates."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[1], inputs[3], *output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """From the end: dz = dh (h − n) z (1 − z), dn = dh (1 − z)(1 − n²), dr = dn u r (1 − r)."""
        U, start, h, r, z, n, u = ctx.saved_tensors
        before = _shifted(start, h)
        to_z, to_n = (before - n) * z * (1 - z), (1 - z) * (1 - n * n)
        to_r = u * r * (1 - r)
        dh, found = torch.zeros_like(start), []
        steps = map(_backwards, (grads[0], z, r, to_z, to_n, to_r))
        for dy, z_t, r_t, to_z_t, to_n_t, to_r_t in zip(*steps, strict=True):
            dh = dh + dy
            dn = dh * to_n_t
            d = torch.cat([dn * to_r_t, dh * to_z_t, dn * r_t], dim=-1)
            dh = torch.addmm(dh * z_t, d, U)
            found.append((d, dn))
        d_TBG, dn_TBH = (torch.stack(d[::-1]) for d in zip(*found, strict=True))
        dpre = torch.cat([d_TBG[..., : 2 * start.shape[-1]], dn_TBH], dim=-1)
        return dpre, _outer(before, d_TBG), d_TBG.sum((0, 1)), dh


class SLSTM(torch.autograd.Function):
    """The sLSTM of `kbench.models.xlstm`, with A heads of D numbers, G = 4 D.

    pre_TABG, R_ADG and h, c, n, m [A, B, D] → h_TABD, the last c, n, m, and what backward reads.
    The scale m cancels in h, which therefore has no gradient by it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(pre: Tensor, R: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> Any:
        """Step by step; only h is differentiable."""
        D, kept = h.shape[-1], []
        for x in pre.unbind(0):
            i, f, z, o = torch.baddbmm(x, h, R).split(D, -1)
            longer = F.logsigmoid(f) + m
            m = torch.maximum(longer, i)
            into, keep, z, o = (i - m).exp(), (longer - m).exp(), z.tanh(), o.sigmoid()
            c, n = torch.addcmul(keep * c, into, z), torch.addcmul(into, keep, n)
            h = o * c / n
            kept.append((h, c, n, into, keep, z, o, f))
        states = tuple(torch.stack(states) for states in zip(*kept, strict=True))
        return states[0], c, n, m, *states[1:]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the weights, the states before the first step, and all that was computed."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[1:5], output[0], *output[4:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """From the end; the states before the first step have no gradient."""
        R, h_0, c_0, n_0, h, c, n, into, keep, z, o, f = ctx.saved_tensors
        before = [_shifted(s, t) for s, t in ((h_0, h), (c_0, c), (n_0, n))]
        ratio = c / n
        to_c, to_o = o / n, ratio * o * (1 - o)
        to_z, to_f = into * (1 - z * z), keep * (-f).sigmoid()
        dh = dc = dn = torch.zeros_like(h_0)
        R_T, found = R.transpose(1, 2), []
        given = grads[0], ratio, to_c, to_o, to_z, to_f, into, keep, z, *before[1:]
        for dy, ratio_t, to_c_t, to_o_t, to_z_t, to_f_t, into_t, keep_t, z_t, c_t, n_t in zip(
            *map(_backwards, given), strict=True
        ):
            dh = dh + dy
            direct = dh * to_c_t
            dc, dn = dc + direct, torch.addcmul(dn, direct, ratio_t, value=-1)
            di = torch.addcmul(dn, dc, z_t) * into_t
            df = torch.addcmul(dn * n_t, dc, c_t) * to_f_t
            d = torch.cat([di, df, dc * to_z_t, dh * to_o_t], dim=-1)
            dh, dc, dn = torch.bmm(d, R_T), dc * keep_t, dn * keep_t
            found.append(d)
        d_TABG = torch.stack(found[::-1])
        d_A_TB_G, h_A_TB_D = (t.transpose(0, 1).flatten(1, 2) for t in (d_TABG, before[0]))
        return d_TABG, h_A_TB_D.transpose(1, 2) @ d_A_TB_G, None, None, None, None
