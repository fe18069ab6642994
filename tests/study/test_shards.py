"""Shares of a study: every cell in exactly one, the same one every time."""

import dataclasses
import random

import pytest

from kbench.errors import KbenchError
from kbench.study.cell import Cell
from kbench.study.shards import Shard, shares


@pytest.fixture
def cells(cell):
    return [
        dataclasses.replace(cell, supervision=supervision, seeds=(seed,))
        for supervision in ("outcome", "cot", "aligned")
        for seed in range(1, 5)
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12, 20])
def test_every_cell_is_in_one_share_and_shares_differ_by_at_most_one_cell(cells, n):
    divided = [Shard(k, n).share(cells) for k in range(1, n + 1)]
    found = [cell for own in divided for cell in own]
    assert sorted(map(cells.index, found)) == list(range(len(cells)))
    sizes = [len(own) for own in divided]
    assert max(sizes) - min(sizes) <= 1
    assert shares(cells, n) == [own for own in divided if own]


def test_a_share_does_not_depend_on_the_order_of_the_cells(cells):
    mixed = random.Random(1).sample(cells, len(cells))
    for k in (1, 2, 3):
        own = Shard(k, 3).share(cells)
        assert [cell for cell in cells if cell in Shard(k, 3).share(mixed)] == own


def test_a_share_is_the_same_for_cells_that_come_from_a_store(cells):
    stored = [Cell.from_spec(cell.spec()) for cell in cells]
    assert Shard(2, 5).share(stored) == Shard(2, 5).share(cells)


def test_shares_are_read_and_written_alike():
    assert Shard.of("3/10") == Shard(3, 10)
    assert str(Shard.of("3/10")) == "3/10"


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "", "3", "/3", "1/0", "-1/3", "1/3/4"])
def test_what_is_no_share_is_refused_in_one_line(text):
    with pytest.raises(KbenchError, match="--shard wants one share") as refused:
        Shard.of(text)
    assert repr(text) in str(refused.value)
