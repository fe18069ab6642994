"""Milliseconds of steps on a GPU: of a model alone, and of fifteen in one stack where it stacks.

    python studies/gpu.py

Sizes of `quick`, modadd m = 5 at length 6, batch 64, 437 validation samples.
"""

import sys
import time
from pathlib import Path

import torch

from kbench.ops.backends import missing
from kbench.registry import models
from kbench.training.cohort import Cohort
from kbench.training.loop import _stacks
from kbench.training.modules import backends

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "benchmarks"))
from test_speed import a_member

COHORT = 15


def milliseconds(function, repeats=10):
    """The fastest of a few calls."""
    fastest = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - start)
    return 1e3 * fastest


def main():
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; ms")
    heads = f"{'alone':>8}{'fifteen':>9}{'captured':>10}{'their validation':>18}"
    print(f"{'model':20}{'backend':12}{heads}")
    for name, backend in [
        (e, b) for e in models.names() for b in backends(models[e]) if not missing(b, "cuda")
    ]:
        members = [a_member(name, 6, device="cuda", backend=backend) for _ in range(COHORT)]
        row = f"{name:20}{backend:12}{milliseconds(members[0].step):8.2f}"
        if _stacks(members):
            cohort = Cohort(members)
            step = milliseconds(cohort.step)
            validation = milliseconds(lambda c=cohort, m=members: c.validation_nats(m), 3)
            row += f"{step:9.2f}{'yes' if cohort._captures else 'no':>10}{validation:18.1f}"
        print(row)


if __name__ == "__main__":
    main()
