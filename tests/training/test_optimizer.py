"""AdamW by a recipe, against torch's own parts put together; plain Adam bit for bit."""

import dataclasses

import pytest
import torch
from recipes import Reference
from torch import nn

from kbench.recipe import Recipe, plain
from kbench.training.optimizer import AdamW

PLAIN = plain(3e-3, 4)
RECIPES = {
    "plain": PLAIN,
    "betas": dataclasses.replace(PLAIN, betas=(0.7, 0.9)),
    "decay": dataclasses.replace(PLAIN, weight_decay=0.5),
    "warm-up": dataclasses.replace(PLAIN, warmup=7),
    "clip": dataclasses.replace(PLAIN, clip=0.5),
    "all": Recipe(
        name="all", learning_rate=1e-2, batch_size=4, betas=(0.8, 0.95), weight_decay=0.1,
        warmup=12, clip=0.2,
    ),
}  # fmt: skip


def trained(make, recipe, idle, steps=20):
    """A model after some steps, and the norms of the gradients that they saw."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 3))
    model[2].bias.requires_grad_(False)
    optimizer, norms = make(model.parameters(), recipe), []
    for i in range(steps):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        h = model[0](x)
        h = h if idle and i % 3 else model[1](h)
        model[2](h).square().mean().backward()
        seen = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        norms.append(torch.stack(seen).norm().item())
        optimizer.step()
    return list(model.parameters()), norms


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_every_step_is_that_of_torch(name, idle):
    """Also where a parameter has no gradient for some steps, and where one is frozen."""
    ours, norms = trained(AdamW, RECIPES[name], idle)
    theirs, _ = trained(Reference, RECIPES[name], idle)
    if clip := RECIPES[name].clip:
        assert min(norms) < clip < max(norms), "clipping should act on some steps only"
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_without_more_it_is_adam_bit_for_bit():
    ours, _ = trained(AdamW, PLAIN, idle=True)
    theirs, _ = trained(
        lambda p, recipe: torch.optim.Adam(p, lr=recipe.learning_rate, fused=True), PLAIN, idle=True
    )
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q)


def test_without_any_gradient_nothing_happens():
    (p,) = nn.Linear(1, 1, bias=False).parameters()
    before = p.clone()
    AdamW([p], RECIPES["all"]).step()
    assert torch.equal(p, before)
