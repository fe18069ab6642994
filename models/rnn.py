"""The simple recurrent network (Elman 1990)."""

from typing import Any

from torch import Tensor, nn

from kbench.ops.positions import at_positions
from kbench.ops.recurrence import Elman, through_layers
from kbench.registry import models


@models.register(
    "rnn",
    version=2,
    earlier={1: "sha256:7e9d9b55cbbb4c4a5e2d78c374c7aabdb3d0db50056b7abfd519c5f9fdc04cde"},
    presets={
        "quick": {"width": 64, "layers": 1},
        "cpu": {"width": 64, "layers": 1},
        "paper": {"width": 768, "layers": 1},
    },
)
class RNN(nn.Module):
    """Token embedding, stacked tanh layers, linear read-out.

    h_t = tanh(W x_t + b + U h_{t-1} + d)

    Expressivity: every regular language, in saturation (arXiv 1906.01615).
    """

    def __init__(self, vocab_size: int, max_len: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.recurrence = nn.RNN(width, width, layers, batch_first=True)
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
    h_TBD: Tensor = Elman.apply(pre_TBG + d, U, start_BD)
    return h_TBD
