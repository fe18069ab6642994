"""Which models can be tested at longer lengths than those that they are trained at."""

import re

import pytest
import torch
from test_conformance import Mean, subject
from torch import nn

from kbench.training.conformance import check, not_lengthened


class Positions(Mean):
    def __init__(self, vocab_size, max_len, width=8):
        super().__init__(vocab_size, max_len, width)
        self.positions = nn.Parameter(torch.zeros(max_len, width))

    def mix(self, x):
        return super().mix(x + self.positions[: x.shape[1]])


class FromTheEnd(Positions):
    """A table of offsets that ends with the nearest, as relative positions often do."""

    def mix(self, x):
        return Mean.mix(self, x + self.positions.flip(0)[: x.shape[1]])


class ByItsLength(Mean):
    def __init__(self, vocab_size, max_len, width=8):
        super().__init__(vocab_size, max_len, width)
        self.scale = 1 / max_len

    def mix(self, x):
        return self.scale * super().mix(x)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Mean, None),
        (Positions, None),
        (
            FromTheEnd,
            r"predicts otherwise than built for 8, .* \(positions has another shape there\)",
        ),
        (ByItsLength, r"it hangs on max_len"),
    ],
)
def test_a_model_that_longer_inputs_would_change_is_not_tested_on_them(model, why):
    (longer,) = (c for c in check(subject(model)) if c.name == "longer")
    assert longer.passed
    assert re.search(why or "^can be tested", longer.detail), longer.detail
    assert (not_lengthened(subject(model)) is None) == (why is None)
