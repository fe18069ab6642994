"""Dense, input-dependent linear recurrence (Ebrahimi & Memisevic 2025, arXiv 2505.21749)."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kbench.ops.norms import normalize
from kbench.registry import models


@models.register(
    "dense-ssm",
    version=2,
    earlier={1: "sha256:4a9c7dd4eed08c757a9ac21f2506b9b5c3761617e0c7c59cd8e1e252c48c8003"},
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

    Expressivity: NC¹-hard problems, as dense transitions depend on the input (arXiv 2404.08819).
    """

    def __init__(self, vocab_size: int, max_len: int, *, width: int, state: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.transition = nn.Linear(width, state * state, bias=False)
        # Entries of A(x) with variance 1/state: on average it keeps the length of h.
        nn.init.normal_(self.transition.weight, std=1 / math.sqrt(width * state))
        self.start = nn.Parameter(torch.randn(state))
        self.head = nn.Linear(state, vocab_size)
        # V S² multiplications a token rather than (width + 1) S².
        self.by_table = vocab_size <= width

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """tokens_BT int64 → logits_BTV."""
        return self.extend(tokens_BT)[0]

    def extend(self, tokens_BT: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is h."""
        B, S = len(tokens_BT), len(self.start)
        h_BS = self.start.expand(B, S) if state is None else state
        products = self._by_table(tokens_BT) if self.by_table else self._by_token(tokens_BT)
        h = []
        for product in products:
            h_BS = math.sqrt(S) * normalize(product(h_BS))
            h.append(h_BS)
        return self.head(torch.stack(h, dim=1)), h_BS

    def _by_token(self, tokens_BT: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
        """h_BS → A(x_t) h_BS for each t: every token makes its own matrix."""
        S = len(self.start)
        A_BTSS = self.transition(self.embedding(tokens_BT)).unflatten(-1, (S, S))
        for A_BSS in A_BTSS.unbind(1):
            yield partial(_of_token, A_BSS)

    def _by_table(self, tokens_BT: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
        """The same: h times each of the V matrices there are, of which the token's is taken."""
        S, V = len(self.start), self.embedding.num_embeddings
        A_VSS = self.transition(self.embedding.weight).unflatten(-1, (S, S))
        A_S_VS = A_VSS.permute(2, 0, 1).reshape(S, V * S)
        first_B = V * torch.arange(len(tokens_BT), device=tokens_BT.device)
        for at_B in (tokens_BT.T + first_B).unbind(0):
            yield partial(_of_table, A_S_VS, at_B)


def _of_token(A_BSS: Tensor, h_BS: Tensor) -> Tensor:
    return (A_BSS @ h_BS.unsqueeze(-1)).squeeze(-1)


def _of_table(A_S_VS: Tensor, at_B: Tensor, h_BS: Tensor) -> Tensor:
    return (h_BS @ A_S_VS).view(-1, h_BS.shape[1]).index_select(0, at_B)
