"""What a module sets at import does not last, whether or not it can be loaded."""

import random
import warnings

import numpy as np
import pytest
import torch

from kbench.errors import KbenchError, one_line
from kbench.registry import models

SETTINGS = {
    "gradients": ("torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "dtype": ("torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "device": ("torch.set_default_device('meta')", torch.get_default_device),
    "threads": ("torch.set_num_threads(torch.get_num_threads() + 1)", torch.get_num_threads),
    "determinism": (
        "torch.use_deterministic_algorithms(True)", torch.are_deterministic_algorithms_enabled,
    ),
    "seed of torch": ("torch.manual_seed(7)", lambda: torch.get_rng_state().tolist()),
    "seed of NumPy": ("numpy.random.seed(7)", lambda: np.random.get_state()[1].tolist()),
    "seed of Python": ("random.seed(7)", random.getstate),
    "warning filters": ("warnings.simplefilter('ignore')", lambda: list(warnings.filters)),
    "how warnings are shown": ("warnings.showwarning = None", lambda: warnings.showwarning),
}  # fmt: skip


@pytest.mark.parametrize("and_then", ["", "raise ValueError('no')"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_does_not_outlive_the_import(name, and_then, tmp_path):
    statement, read = SETTINGS[name]
    path = tmp_path / "own.py"
    path.write_text(
        f"import random, warnings\nimport numpy, torch\n# {tmp_path}\n{statement}\n{and_then}\n"
        "class Own(torch.nn.Module):\n    pass\n"
    )
    before = read()
    try:
        models[f"{path}:Own"]
    except KbenchError as error:
        assert "ValueError: no" in str(error)
    assert read() == before


def test_an_error_that_cannot_be_told_is_one_line():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("not even this")

    assert one_line(Mute()) == "Mute: its message cannot be told"
