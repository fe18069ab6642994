"""The selective scan against its recurrence, alone and stacked, by our code and by the kernel's."""

import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from oracles import assert_same_with_gradients, draw, draw_tokens
from torch.func import grad_and_value, vmap
from torch.utils._pytree import tree_map

from kbench.ops.scan import SelectiveScan, torch_scan
from kbench.ops.scan_mamba_ssm import kernel_scan

DECAYS = {0.0: torch.exp, -1.0: lambda x: 2 * torch.exp(x) - 1}
"""By their lower bound."""


def naive_scan(delta_TBE, x_TBE, A_SE, B_TBS, C_TBS, start, low):
    """The recurrence, left to autograd; y_TBE and the last h_SBE."""
    h_SBE = torch.zeros(1, dtype=x_TBE.dtype) if start is None else start
    y = []
    for delta, x, B, C in zip(delta_TBE, x_TBE, B_TBS, C_TBS, strict=True):
        decay_SBE = DECAYS[low](torch.einsum("be,se->sbe", delta, A_SE))
        h_SBE = decay_SBE * h_SBE + torch.einsum("be,be,bs->sbe", delta, x, B)
        y.append(torch.einsum("sbe,bs->be", h_SBE, C))
    return torch.stack(y), h_SBE


def scan_inputs(T, B, E, S):
    """delta_TBE > 0, x_TBE, A_SE < 0, B_TBS, C_TBS; and start_SBE."""
    delta, x, A, *rest = draw((T, B, E), (T, B, E), (S, E), (T, B, S), (T, B, S), (S, B, E))
    *inputs, start = F.softplus(delta), x, -A.abs(), *rest
    return [z.requires_grad_() for z in inputs], start


@pytest.mark.parametrize("sizes", [(1, 3, 4, 2), (2, 1, 1, 1), (9, 2, 3, 4), (37, 2, 8, 16)])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("low", DECAYS)
def test_scan_is_the_naive_recurrence(low, started, sizes):
    inputs, start = scan_inputs(*sizes)
    y, end = torch_scan(*inputs, start if started else None, low)
    expected, expected_end = naive_scan(*inputs, start if started else None, low)
    torch.testing.assert_close(end, expected_end)
    assert_same_with_gradients(y, expected, inputs)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("low", DECAYS)
def test_scan_passes_gradcheck(low, started):
    inputs, start = scan_inputs(4, 2, 3, 2)
    start = start if started else None
    assert torch.autograd.gradcheck(lambda *z: torch_scan(*z, start, low)[0], inputs)


def like_the_kernel(u, delta, A, B, C, return_last_state=False):
    """u_BET, delta_BET, A_ES, B_BST or B_BGST, C alike → y_BET, h_BES: mamba-ssm's, written out.

    As its own function it cannot be transformed by vmap.
    """
    assert not torch._C._are_functorch_transforms_active()
    B, C = (z.unsqueeze(1) if z.dim() == 3 else z for z in (B, C))
    B, C = (z.repeat_interleave(u.shape[1] // z.shape[1], dim=1) for z in (B, C))
    h, y = torch.zeros(*u.shape[:2], A.shape[1]).to(u), []
    for t in range(u.shape[2]):
        h = (delta[..., t, None] * A).exp() * h + (delta * u)[..., t, None] * B[..., t]
        y.append((h * C[..., t]).sum(-1))
    return (torch.stack(y, -1), h) if return_last_state else torch.stack(y, -1)


@pytest.fixture
def calls(monkeypatch):
    """Of what stands in the place of mamba-ssm's kernel: the shapes of B."""
    shapes = []

    def count(u, delta, A, B, C, **others):
        shapes.append(B.shape)
        return like_the_kernel(u, delta, A, B, C, **others)

    module = SimpleNamespace(selective_scan_fn=count)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", module)
    return shapes


@pytest.mark.usefixtures("calls")
def test_the_kernel_is_given_what_it_takes():
    inputs, _ = scan_inputs(4, 2, 3, 5)
    y, end = kernel_scan(*inputs)
    expected, expected_end = naive_scan(*inputs, None, 0.0)
    torch.testing.assert_close(end, expected_end)
    assert_same_with_gradients(y, expected, inputs)


def gradients_of(scan, low, starts):
    """Of a scan's every input but the start, with its value and last state, T = 4, B = 2, E = 3."""
    weights = torch.linspace(-1, 2, 24).double().view(4, 2, 3)

    def value(*z):
        y, end = scan(*z[:5], z[5] if starts else None, low)
        return (y * weights).sum(), end

    return grad_and_value(value, argnums=(0, 1, 2, 3, 4), has_aux=True)


WAYS = [(torch_scan, 0.0, False), (torch_scan, -1.0, True), (kernel_scan, 0.0, False)]


@pytest.mark.parametrize("shared", [(), (1,), (2, 3, 4), (5,)])
@pytest.mark.parametrize(("scan", "low", "starts"), WAYS)
def test_a_stack_scans_as_its_members_do(scan, low, starts, shared, calls):
    """Values and gradients, also where all members have some of the inputs in common."""
    inputs, start = scan_inputs(4, 2, 3, 5)
    own = torch.tensor([1.0, 0.3, 0.7]).double()
    one = [z.detach() for z in (*inputs, start)]
    stacked = [z if k in shared else torch.stack([z * f for f in own]) for k, z in enumerate(one)]
    dims = tuple(None if k in shared else 0 for k in range(6))
    gradients = gradients_of(scan, low, starts)
    together = vmap(gradients, in_dims=dims)(*stacked)
    assert calls == [(2, 3, 5, 4)] * (2 if scan is kernel_scan else 0)
    for k in range(len(own)):
        alone = gradients(
            *(z if dim is None else z[k] for z, dim in zip(stacked, dims, strict=True))
        )
        torch.testing.assert_close(tree_map(lambda z, k=k: z[k], together), alone)


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(("scan", "low", "starts"), WAYS)
def test_stacks_of_stacks(scan, low, starts):
    inputs, start = scan_inputs(4, 2, 3, 5)
    own = torch.tensor([1.0, 0.3, 0.7, 0.5, 0.2, 0.9]).double()
    flat = [torch.stack([z.detach() * f for f in own]) for z in (*inputs, start)]
    gradients = gradients_of(scan, low, starts)
    nested = vmap(vmap(gradients))(*(z.unflatten(0, (2, 3)) for z in flat))
    torch.testing.assert_close(tree_map(lambda z: z.flatten(0, 1), nested), vmap(gradients)(*flat))


@pytest.mark.parametrize("low", DECAYS)
def test_decays_lie_above_low_and_below_one(low):
    (delta, x, A, B, C), _ = scan_inputs(37, 2, 8, 16)
    decay = SelectiveScan.apply(delta, x, A, B.mT, C.mT, None, low)[1]
    assert low < decay.min() < low + 0.1
    assert 0.9 < decay.max() < 1


def test_scan_with_negative_decays_is_exact_parity():
    bits_TB = draw_tokens(500, 3, vocab=2)
    delta = 1e3 * bits_TB[..., None]  # exp(−Δ) is 0 or 1: the decay −1 or 1
    ones = torch.ones_like(delta)
    y, _ = torch_scan(delta, 0 * ones, -ones[0, :1], ones, ones, torch.ones(1, 3, 1), -1.0)
    assert torch.equal(y[..., 0], 1.0 - 2 * (bits_TB.cumsum(0) % 2))
