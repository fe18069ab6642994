"""How a trained model does at lengths that it was not trained on."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kbench.data.splits import Source
from kbench.data.supervision import Rows, laid_out, steps_of
from kbench.training.modules import has_extend

SAMPLES = 1_000
"""Tested at each length, or all there are: a standard error of at most 0.016."""
CHUNK_TOKENS = 8192
"""Tokens per forward pass: some models keep kilobytes for every token."""


def longest_input(source: Source, n: int) -> int:
    """T: what a model reads, its own words included, until it has given the answer at length n."""
    digits = np.zeros((1, len(source.task.radices(n))), dtype=np.int32)
    return _rows(source, n, digits).tokens.shape[1]


@torch.no_grad()
def accuracy(
    model: nn.Module,
    source: Source,
    n: int,
    seed: int,
    device: str = "cpu",
    on_word: Callable[[], None] = lambda: None,
) -> float:
    """Share of right answers among SAMPLES samples of length n, the model saying its own chain.

    An answer is right when all of its tokens are. The model says as many words as the chain has.
    `on_word` is called before each forward pass, and may raise to give the test up.
    """
    digits = source.beyond(n, seed, SAMPLES)
    tokens, targets, is_own, is_answer = _rows(source, n, digits)
    right = 0
    rows = max(1, CHUNK_TOKENS // tokens.shape[1])
    for start in range(0, len(digits), rows):
        part = slice(start, start + rows)
        chunk_BT = torch.from_numpy(np.maximum(tokens[part], 0)).to(device).long()
        said = _say(model, chunk_BT, is_own[part], on_word).cpu().numpy()
        right += int(((said == targets[part]) | ~is_answer[part]).all(axis=1).sum())
    return right / len(digits)


def _rows(source: Source, n: int, digits: np.ndarray) -> Rows:
    steps = steps_of(source.task, digits, n)
    return laid_out(source.supervision, steps, source.task.vocab_size)


def _say(
    model: Any, tokens_BT: Tensor, is_own_BT: np.ndarray, on_word: Callable[[], None]
) -> Tensor:
    """The likeliest word after each position [B, T], own words in the place of those given."""
    own_places = np.flatnonzero(is_own_BT.any(axis=0)).tolist()
    goes_on = own_places and has_extend(model)
    said: list[Tensor] = []
    state = None
    for start, end in itertools.pairwise([0, *own_places, tokens_BT.shape[1]]):
        on_word()
        if said:
            is_own_B = torch.from_numpy(is_own_BT[:, start].copy()).to(tokens_BT.device)
            tokens_BT[:, start] = torch.where(is_own_B, said[-1][:, -1], tokens_BT[:, start])
        if goes_on:
            logits_BTV, state = model.extend(tokens_BT[:, start:end], state)
        else:
            logits_BTV = model(tokens_BT[:, :end])[:, start:]
        said.append(logits_BTV.argmax(-1))
    return torch.cat(said, dim=1)
