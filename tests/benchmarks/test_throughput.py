"""Seconds of a training step and of a validation, for `kbench compare` (docs/regression.md)."""

import pytest
from test_speed import a_member

from kbench.registry import models


@pytest.mark.parametrize("model", models.names())
def test_a_training_step(benchmark, model):
    """Batch 64, length 6."""
    benchmark(a_member(model, 6).step)


@pytest.mark.parametrize("model", models.names())
def test_a_validation(benchmark, model):
    """437 samples of length 6."""
    benchmark(a_member(model, 6).validation_loss)
