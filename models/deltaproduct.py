"""DeltaProduct with n_h = 2 (Siems et al. 2025, arXiv 2502.10297): two delta steps per token.

Everything is DeltaNet's (`deltanet.py`). Two Householder products make a rotation, which one step
with a symmetric matrix cannot.
"""

from kbench.models.deltanet import DeltaNet
from kbench.registry import models


@models.register(
    "deltaproduct",
    version=2,
    earlier={1: "sha256:c80422227c8b8145fab10251f329a63b1030564ccc3eedfcbeb2b1ccbab1a807"},
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class DeltaProduct(DeltaNet):
    """DeltaNet with two delta steps per token, each with its own k, v and β.

    Expressivity: parity; with enough steps every regular language (arXiv 2411.12537).
    """

    steps = 2
