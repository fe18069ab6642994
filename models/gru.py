"""Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), in the variant of torch and cuDNN."""

from typing import Any

from torch import Tensor, nn

from kbench.ops.positions import at_positions
from kbench.ops.recurrence import GRU as Cell
from kbench.ops.recurrence import through_layers
from kbench.registry import models


@models.register(
    "gru",
    version=2,
    earlier={1: "sha256:fe316b4b6cfc882cdb9e226e2f18931d522ecc3cd4a7237a0eabcec0bde9876c"},
    presets={
        "quick": {"width": 64, "layers": 1},
        "cpu": {"width": 64, "layers": 1},
        "paper": {"width": 768, "layers": 1},
    },
)
class GRU(nn.Module):
    """Token embedding, stacked GRU layers, linear read-out.

    r, z = σ(W x_t + b + U h_{t-1} + d);  n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + d_n))
    h_t = (1 − z) n + z h_{t-1}

    Expressivity: every regular language, in saturation (arXiv 1906.01615).
    """

    def __init__(self, vocab_size: int, max_len: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.recurrence = nn.GRU(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens_BT: Tensor, at_P: Tensor | None = None) -> Tensor:
        """tokens_BT int64 → logits_BTV, or logits_PV at these positions of the B · T."""
        return self.extend(tokens_BT, at_P=at_P)[0]

    def extend(
        self, tokens_BT: Tensor, state: Any = None, at_P: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The state is h of every layer."""
        h_TBD, last = through_layers(_cell, self.recurrence, self.embedding, tokens_BT, state)
        return self.head(at_positions(h_TBD.transpose(0, 1), at_P)), last


def _cell(pre_TBG: Tensor, U: Tensor, d: Tensor, start_BD: Tensor) -> Tensor:
    h_TBD: Tensor = Cell.apply(pre_TBG, U, d, start_BD)[0]
    return h_TBD
