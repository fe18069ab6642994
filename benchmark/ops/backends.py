"""The implementations that a model may have to choose from, and where each can run."""

import importlib.util
from collections.abc import Callable

import torch

from kbench.errors import KbenchError, unknown

BACKENDS = ("torch", "numba", "mamba-ssm")
"""Plain torch runs anywhere; the others are kernels."""


def missing(backend: str, device: str) -> str | None:
    """Why a backend cannot run on this device; None where it can."""
    if backend == "torch":
        return None
    if backend == "numba":
        if device != "cpu":
            return "it needs --device cpu"
        return None if importlib.util.find_spec("numba") else "it is not installed"
    if device != "cuda" or not torch.cuda.is_available():
        return "it needs a CUDA device (--device cuda)"
    try:
        import mamba_ssm.ops.selective_scan_interface  # noqa: F401
    except ImportError as error:
        return f"it cannot be imported ({error}); the README says how to install kbench[cuda]"
    return None


def scan_named(name: str) -> Callable:
    """The selective scan of a backend; raises KbenchError where it cannot run here."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    if reason := missing(name, "cpu" if name == "numba" else "cuda"):
        raise KbenchError(f"backend {name}: {reason}")
    if name == "mamba-ssm":
        from kbench.ops.scan_mamba_ssm import kernel_scan

        return kernel_scan
    from kbench.ops.scan import torch_scan

    return torch_scan
