"""How a trained model does at lengths that it was not trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kbench.data.splits import Source, stream, universe
from kbench.data.supervision import prompt
from kbench.training.modules import has_extend

SAMPLES = 1_000
"""Tested at each length, or all there are: a standard error of at most 0.016."""
CHUNK_TOKENS = 8192
"""Tokens per forward pass: some models keep kilobytes for every token."""


def longest_input(source: Source, n: int) -> int:
    """T: what a model reads, its own words included, until it has given the answer at length n."""
    tokens, words = _prompts(source, n, np.zeros((1, len(source.task.radices(n))), dtype=np.int32))
    return tokens.shape[1] + words - 1


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

    `on_word` is called before each forward pass, and may raise to give the test up.
    """
    count = min(SAMPLES, universe(source.task, n))
    digits = stream(source.task, n, seed, count)
    tokens, words = _prompts(source, n, digits)
    _, states = source.task.simulate(digits, n)
    right = 0
    rows = max(1, CHUNK_TOKENS // longest_input(source, n))
    for start in range(0, count, rows):
        chunk_BT = torch.from_numpy(tokens[start : start + rows]).to(device).long()
        said = _say(model, chunk_BT, words, on_word).cpu().numpy()
        right += int((said == states[start : start + rows, -1]).sum())
    return right / count


def _prompts(source: Source, n: int, digits: np.ndarray) -> tuple[np.ndarray, int]:
    inputs, _ = source.task.simulate(digits, n)
    return prompt(source.supervision, inputs, n, source.task.vocab_size)


def _say(model: Any, tokens_BT: Tensor, words: int, on_word: Callable[[], None]) -> Tensor:
    """The last of so many words, each the likeliest after what was read and said before."""
    on_word()
    goes_on = words > 1 and has_extend(model)
    if goes_on:
        logits_BTV, state = model.extend(tokens_BT, None)
    else:
        logits_BTV = model(tokens_BT)
    for _ in range(words - 1):
        on_word()
        word_B1 = logits_BTV[:, -1:].argmax(-1)
        if goes_on:
            logits_BTV, state = model.extend(word_B1, state)
        else:
            tokens_BT = torch.cat([tokens_BT, word_B1], dim=1)
            logits_BTV = model(tokens_BT)
    return logits_BTV[:, -1].argmax(-1)
