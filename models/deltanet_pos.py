"""DeltaNet with β in [0, 1] (Yang et al. 2024, arXiv 2406.06484), as it was published first.

Everything is DeltaNet's (`deltanet.py`), but for β, which keeps the eigenvalues 1 − β of a step in
[0, 1]. Without negative ones no parity is possible (Grazzi et al. 2024, arXiv 2411.12537).
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from kbench.models.deltanet import DeltaNet
from kbench.registry import models


class Halved(nn.Linear):
    """log σ(z − log 2) of z = W x, twice whose sigmoid, as the mixer takes it, is σ(z)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D] → [..., H]."""
        return F.logsigmoid(super().forward(x) - math.log(2))


@models.register(
    "deltanet-pos",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class DeltaNetPos(DeltaNet):
    """DeltaNet whose β is σ(W x) instead of 2 σ(W x).

    Expressivity: no parity (arXiv 2411.12537).
    """

    def __init__(
        self, vocab_size: int, max_len: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__(vocab_size, max_len, width=width, layers=layers, heads=heads)
        for mixer in self.mixers:
            mixer.beta = Halved(width, self.steps * heads, bias=False)
