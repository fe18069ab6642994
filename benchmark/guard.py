"""Somebody else's source may be loaded without changing anything for those who come after it."""

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def guarded() -> Iterator[None]:
    """Restore, however it ends, what a module may set when it is imported.

    torch's gradients, default dtype and device, threads, determinism and random numbers; those of
    NumPy and Python; and how warnings are filtered and shown.
    """
    import torch

    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    device, threads = torch.get_default_device(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    numbers, of_numpy, of_python = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:  # to set it, even to what it is, costs every call
            torch.set_default_device(device)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_rng_state(numbers)
        np.random.set_state(of_numpy)
        random.setstate(of_python)
