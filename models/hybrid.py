"""A hybrid of recurrence and attention in turns, as Samba (Ren et al. 2024, arXiv 2406.07522).

The recurrence is the gated delta rule, as in the hybrids of Yang et al. (2024, arXiv 2412.06464).
Samba's attention has a window, which short inputs never fill. As in Jamba (Lieber et al. 2024,
arXiv 2403.19887) it has no positions: the recurrence tells about order.
"""

from typing import Any

from torch import Tensor, nn

from kbench.models.gated_deltanet import GatedDeltaNet, Mixer
from kbench.models.transformer_nope import Attention as AttentionBTD
from kbench.ops.positions import at_positions
from kbench.registry import models


class Attention(nn.Module):
    """That of the transformer without positions, time first: x_TBD → x_TBD."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = AttentionBTD(width, heads)

    def forward(
        self, x_TBD: Tensor, past: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """x_TBD → x_TBD, or x_PD at some positions; keys and values so far."""
        y_BTD, past = self.attention(x_TBD.transpose(0, 1), past)
        return at_positions(y_BTD.transpose(0, 1), at_P), past


@models.register(
    "hybrid",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 2, "heads": 4},
        "cpu": {"width": 64, "layers": 2, "heads": 4},
        "paper": {"width": 256, "layers": 6, "heads": 4},
    },
)
class Hybrid(GatedDeltaNet):
    """The gated DeltaNet, but every other block mixes by attention.

    Expressivity: its parts alone: no parity (arXiv 2411.12537), in TC⁰ (arXiv 2207.00729).
    """

    turns = (Mixer, Attention)
