"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000)."""

from typing import Any

from torch import Tensor, nn

from kbench.registry import models


@models.register(
    "lstm",
    version=1,
    presets={
        "quick": {"width": 64, "layers": 1},
        "cpu": {"width": 64, "layers": 1},
        "paper": {"width": 768, "layers": 1},
    },
)
class LSTM(nn.Module):
    """Token embedding, stacked LSTM layers, linear read-out.

    i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
    c_t = σ(f) c_{t-1} + σ(i) tanh(g);  h_t = σ(o) tanh(c_t)

    Expressivity: every regular language, and counting (arXiv 1906.01615, arXiv 1805.04908).
    """

    def __init__(self, vocab_size: int, max_len: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.recurrence = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is h and c of every layer."""
        h_BTD, state = self.recurrence(self.embedding(tokens_BT), state)
        return self.head(h_BTD), state
