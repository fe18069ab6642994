"""Adam against torch's, bit for bit."""

import pytest
import torch
from torch import nn

from kbench.training.optimizer import Adam


@pytest.mark.parametrize("idle", [False, True])
def test_every_step_is_that_of_torch_optim(idle):
    """Also where a parameter has no gradient for some steps, and where one is frozen."""
    made = []
    for make in (Adam, lambda p, rate: torch.optim.Adam(p, lr=rate, fused=True)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 3))
        model[2].bias.requires_grad_(False)
        made.append((model, make(model.parameters(), 3e-3)))
    for i in range(20):
        for model, optimizer in made:
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(i))
            optimizer.zero_grad()
            h = model[0](x)
            h = h if idle and i % 3 else model[1](h)
            model[2](h).square().sum().backward()
            optimizer.step()
    for p, q in zip(*(model.parameters() for model, _ in made), strict=True):
        assert torch.equal(p, q)


def test_without_any_gradient_nothing_happens():
    (p,) = nn.Linear(1, 1, bias=False).parameters()
    before = p.clone()
    Adam([p], 1.0).step()
    assert torch.equal(p, before)
