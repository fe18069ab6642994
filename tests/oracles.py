"""What the oracle tests share: a reference maps (parameters by name, tokens) to logits."""

import torch

VOCAB = 7
SHAPES = [(3, 1), (2, 2), (4, 9), (2, 37)]
"""Batch and time."""


def draw_tokens(batch, time, vocab=VOCAB, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocab, (batch, time), generator=generator)


def assert_same(actual, expected, what, tolerance):
    """Equal but for `tolerance` times the largest entry: small gradients count as much."""
    scale = expected.abs().max().item()
    assert scale > 0, f"{what} is zero everywhere: nothing is compared"
    error = (actual - expected).abs().max().item() / scale
    assert error < tolerance, f"{what}: off by {error:.1e} of its largest entry"


def assert_agrees(model, reference, tokens, tolerance=1e-5):
    """Logits, and the gradient of every parameter from a random direction of the logits."""
    copies = {key: p.detach().clone().requires_grad_() for key, p in model.named_parameters()}
    actual, expected = model(tokens), reference(copies, tokens)
    assert_same(actual, expected, "logits", tolerance)
    generator = torch.Generator().manual_seed(5)
    direction = torch.randn(actual.shape, generator=generator, dtype=actual.dtype)
    (actual * direction).sum().backward()
    (expected * direction).sum().backward()
    for key, parameter in model.named_parameters():
        # At T = 1 some gradients vanish (h_0 = 0, one softmax weight): here as there.
        if parameter.grad.any() or copies[key].grad.any():
            assert_same(parameter.grad, copies[key].grad, f"gradient of {key}", tolerance)


def shake(model, seed=2):
    """Move every parameter off its initial value, so that no one, zero or symmetry hides a bug."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    return model


def under(prefix, parameters):
    """The parameters below a prefix, without it."""
    return {k.removeprefix(prefix): p for k, p in parameters.items() if k.startswith(prefix)}


def draw(*shapes, seed=4):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def assert_same_with_gradients(actual, expected, inputs):
    """Outputs, and from a random direction of theirs the gradients of the inputs."""
    torch.testing.assert_close(actual, expected)
    (direction,) = draw(actual.shape, seed=5)
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs, direction),
        torch.autograd.grad(expected, inputs, direction, materialize_grads=True),
    )
