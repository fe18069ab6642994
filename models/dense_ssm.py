"""Dense, input-dependent linear recurrence (Ebrahimi & Memisevic 2025, arXiv 2505.21749)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.registry import models


@models.register(
    "dense-ssm",
    version=1,
    presets={
        "quick": {"width": 32, "state": 32},
        "cpu": {"width": 64, "state": 64},
        "paper": {"width": 256, "state": 256},
    },
)
class DenseSSM(nn.Module):
    """h_t = A(x_t) h_{t-1} from a learned h_0 ≠ 0, A linear in the embedding x_t, linear read-out.

    Without an additive term only the direction of h_t carries information. Its length is therefore
    set to √state at every step, which changes no direction and keeps any sequence finite.
    """

    def __init__(self, vocab_size: int, max_len: int, *, width: int, state: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.transition = nn.Linear(width, state * state, bias=False)
        # Entries of A(x) with variance 1/state: on average it keeps the length of h.
        nn.init.normal_(self.transition.weight, std=1 / math.sqrt(width * state))
        self.start = nn.Parameter(torch.randn(state))
        self.head = nn.Linear(state, vocab_size)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is h."""
        S = len(self.start)
        A_BTSS = self.transition(self.embedding(tokens_BT)).unflatten(-1, (S, S))
        h_BS = self.start.expand(len(tokens_BT), S) if state is None else state
        h = []
        for A_BSS in A_BTSS.unbind(1):
            h_BS = math.sqrt(S) * F.normalize((A_BSS @ h_BS.unsqueeze(-1)).squeeze(-1), dim=-1)
            h.append(h_BS)
        return self.head(torch.stack(h, dim=1)), h_BS
