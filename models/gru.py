"""Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), in the variant of torch and cuDNN."""

from typing import Any

from torch import Tensor, nn

from kbench.registry import models


@models.register(
    "gru",
    version=1,
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
    """

    def __init__(self, vocab_size: int, max_len: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.recurrence = nn.GRU(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is h of every layer."""
        h_BTD, state = self.recurrence(self.embedding(tokens_BT), state)
        return self.head(h_BTD), state
