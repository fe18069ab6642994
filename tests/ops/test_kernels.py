"""What numba compiles: its functions against numpy's, Mamba's block against its plain form."""

import numpy as np
import pytest
import torch
from oracles import assert_same, draw_tokens, shake

from kbench.ops import backends, kernels
from kbench.registry import models


def relative_error(found, expected):
    return np.max(np.abs(found / expected - 1))


def mapped(function):
    """Of every number of an array, as a kernel computes it."""

    @kernels.numba.njit
    def each(x, y):
        for i in range(len(x)):
            y[i] = function(x[i])

    def of(x):
        y = np.empty_like(x)
        each(x, y)
        return y.astype(np.float64)

    return of


def test_functions_are_those_of_numpy():
    x = np.linspace(-80, 80, 100_001).astype(np.float32)
    exact = x.astype(np.float64)
    assert relative_error(mapped(kernels.exp2)(x), np.exp2(exact)) < 3e-7
    # What rounds x · log2(e) counts as an error of x.
    assert relative_error(mapped(kernels.exp)(x), np.exp(exact)) < 1e-5
    assert relative_error(mapped(kernels.sigmoid)(x), 1 / (1 + np.exp(-exact))) < 1e-5
    assert relative_error(mapped(kernels.softplus)(x), np.logaddexp(0, exact)) < 1e-5


def test_functions_at_their_ends():
    x = np.array([-1e30, -200, 0, 200, 1e30], dtype=np.float32)
    assert mapped(kernels.exp)(x)[2] == 1
    assert (mapped(kernels.exp)(x)[:2] < 1e-37).all()
    assert np.isfinite(mapped(kernels.exp)(x)).all()
    assert mapped(kernels.sigmoid)(x) == pytest.approx([0, 0, 0.5, 1, 1])
    assert mapped(kernels.softplus)(x)[3:] == pytest.approx([200, 1e30])


def pair(name, **size):
    """The model compiled, in float32, and plain, in float64, with the same parameters."""
    made = {}
    for backend in ("numba", "torch"):
        torch.manual_seed(0)
        made[backend] = shake(models[name].cls(7, 40, **size, backend=backend))
    return made["numba"], made["torch"].double()


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 2), (2, 3), (5, 4), (4, 17)])
@pytest.mark.parametrize("width", [8, 24])
@pytest.mark.parametrize("name", ["mamba", "mamba-neg"])
def test_the_compiled_block_is_the_plain_one(name, width, batch, time):
    compiled, plain = pair(name, width=width, layers=2)
    tokens = draw_tokens(batch, time)
    for at_P in (None, torch.arange(0, batch * time, 2)):
        found, expected = compiled(tokens, at_P), plain(tokens, at_P)
        assert_same(found.double(), expected, "logits", 2e-5)
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3))
        compiled.zero_grad(), plain.zero_grad()
        (found * weights).sum().backward()
        (expected * weights).sum().backward()
        for (key, p), q in zip(compiled.named_parameters(), plain.parameters(), strict=True):
            if q.grad.any():
                assert_same(p.grad.double(), q.grad, f"gradient of {key}", 5e-5)


@pytest.mark.parametrize("first", [1, 2, 3, 9])
def test_the_compiled_block_goes_on_from_a_state(first):
    compiled, plain = pair("mamba", width=8, layers=2)
    tokens = draw_tokens(3, 11)
    before, state = compiled.extend(tokens[:, :first])
    after, state = compiled.extend(tokens[:, first:], state)
    whole, expected = plain.extend(tokens)
    assert_same(torch.cat([before, after], 1).double(), whole, "logits", 2e-5)
    for (inputs, h), (expected_inputs, expected_h) in zip(state, expected, strict=True):
        assert_same(inputs.double(), expected_inputs, "inputs of the convolution", 2e-5)
        assert_same(h.double(), expected_h, "state", 2e-5)


def test_in_float64_the_block_is_plain():
    compiled, plain = pair("mamba", width=8, layers=1)
    tokens = draw_tokens(3, 5)
    assert torch.equal(compiled.double()(tokens), plain(tokens))


def test_without_a_place_for_its_cache_a_kernel_is_compiled_all_the_same(monkeypatch):
    compile_, asked = kernels.numba.njit, []

    def njit(cache=False, **options):
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(**options)

    monkeypatch.setattr(kernels.numba, "njit", njit)

    def double(x):
        return 2 * x

    assert kernels.kernel(double)(3) == 6
    assert asked == [True, False]


def test_numba_is_for_the_cpu_and_may_be_missing(monkeypatch):
    assert backends.missing("numba", "cpu") is None
    assert backends.missing("numba", "cuda") == "it needs --device cpu"
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert backends.missing("numba", "cpu") == "it is not installed"
