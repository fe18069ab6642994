"""Mamba with eigenvalues in (−1, 1) (Grazzi et al. 2024, arXiv 2411.12537).

Everything is Mamba's (`mamba.py`), but for the decay: 2 exp(ΔA) − 1 in place of exp(ΔA). A negative
eigenvalue can flip the sign of a state at every token, which parity needs.
"""

from kbench.models.mamba import Mamba
from kbench.registry import models


@models.register(
    "mamba-neg",
    version=2,
    earlier={1: "sha256:a25060ed36b75a6de0e39b0b86b7377ff15ddef9864aeac8106c43615c0eda06"},
    presets={
        "quick": {"width": 32, "layers": 2},
        "cpu": {"width": 64, "layers": 2},
        "paper": {"width": 256, "layers": 2},
    },
)
class MambaNeg(Mamba):
    """Mamba whose decays are 2 exp(ΔA) − 1; the kernel of mamba-ssm does not have them.

    Expressivity: in TC⁰, as diagonal (arXiv 2404.08819); parity (arXiv 2411.12537).
    """

    backends = ("torch", "numba")
    low = -1.0
