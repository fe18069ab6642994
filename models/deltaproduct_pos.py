"""DeltaProduct with n_h = 2 and β in [0, 1] (Siems et al. 2025, arXiv 2502.10297).

Everything is that of DeltaNet with such β (`deltanet_pos.py`), but for the steps per token.
"""

from kbench.models.deltanet_pos import DeltaNetPos
from kbench.registry import models


@models.register(
    "deltaproduct-pos",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class DeltaProductPos(DeltaNetPos):
    """DeltaProduct whose β is σ(W x) instead of 2 σ(W x).

    Expressivity: no parity (arXiv 2411.12537).
    """

    steps = 2
