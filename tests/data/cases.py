"""Data sets in reach of a slow reference, drawn by hypothesis, and both ways of ordering one."""

import contextlib
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

from kbench.data import splits as data
from kbench.data.splits import Source
from kbench.tasks.modadd import ModularAddition

many = settings(max_examples=100, deadline=None, derandomize=True)  # on each path, so 200
both_paths = pytest.mark.parametrize("path", ["permuted", "drawn"])


@contextlib.contextmanager
def ordered_by(path):
    """Send universes that can be spelled out through the path of the huge ones, in small blocks."""
    with pytest.MonkeyPatch.context() as patch:
        if path == "drawn":
            patch.setattr(data, "SMALL_UNIVERSE", 1)
            patch.setattr(data, "BLOCK", 64)
        yield


def source(m, lengths, supervision="aligned", *, max_validation=2_000):
    return Source(
        task=ModularAddition(m=m),
        supervision=supervision,
        lengths=tuple(lengths),
        max_validation=max_validation,
        max_validation_fraction=0.2,
    )


@dataclass(frozen=True)
class Case:
    """One data set in reach of a slow reference, and how many samples it has for training."""

    m: int
    lengths: tuple[int, ...]
    supervision: str
    max_validation: int
    seed: int
    fraction: float
    """N as a share of all there is."""

    @property
    def source(self):
        return source(self.m, self.lengths, self.supervision, max_validation=self.max_validation)

    @property
    def capacity(self):
        at_length = {n: self.m**n for n in self.lengths}
        held_out = min(self.max_validation, sum(u // 5 for u in at_length.values()))
        return sum(at_length.values()) - held_out

    @property
    def n_samples(self):
        return max(1, int(self.fraction * self.capacity))


@st.composite
def cases(draw):
    m = draw(st.integers(2, 6))
    in_reach = [n for n in range(1, 10) if m**n <= 600]
    return Case(
        m=m,
        lengths=tuple(sorted(draw(st.sets(st.sampled_from(in_reach), min_size=1)))),
        supervision=draw(st.sampled_from(["outcome", "cot", "aligned"])),
        max_validation=draw(st.sampled_from([1, 5, 40, 2_000])),
        seed=draw(st.integers(0, 2**40)),
        fraction=draw(st.floats(0, 1)),
    )


def words(split, case):
    """The inputs of each sample as a tuple, read back from its row."""
    found = []
    for tokens, targets in zip(split.tokens.tolist(), split.targets.tolist(), strict=True):
        said = sum(target != -100 for target in targets)
        found.append(
            tuple(tokens[: said if case.supervision == "aligned" else tokens.index(case.m)])
        )
    return found


def row(word, case, width):
    """The row that a word of residues must have become, by the definitions of the formats."""
    sums = [sum(word[: k + 1]) % case.m for k in range(len(word))]
    if case.supervision == "aligned":
        tokens, targets = list(word), sums
    elif case.supervision == "cot":
        tokens, targets = [*word, case.m, *sums[:-1]], [-100] * len(word) + sums
    else:
        tokens, targets = [*word, case.m], [-100] * len(word) + [sums[-1]]
    room = width - len(tokens)
    return tokens + [0] * room, targets + [-100] * room


def evenness(counts):
    """p-value of the chi-square test that all of these are equally likely."""
    return stats.chisquare(counts).pvalue


def independence(pairs, k):
    """p-value of the chi-square test that two columns of k values each are unrelated."""
    table = np.zeros((k, k))
    np.add.at(table, tuple(np.transpose(pairs)), 1)
    return stats.chi2_contingency(table).pvalue


# Splits
