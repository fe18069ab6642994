"""Lengths as they are asked for and as they are written down again, all of a range or some."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.errors import KbenchError
from kbench.leaderboard.place import command, location
from kbench.report.format import lengths_words
from kbench.study.parameters import lengths_of, lengths_text
from kbench.study.request import Request

READ = {
    "2-7": (2, 3, 4, 5, 6, 7),
    (2, 4): (2, 3, 4),
    "4,6,10": (4, 6, 10),
    "10, 4,6": (4, 6, 10),
    "4,10": (4, 10),
    (4, 6, 10): (4, 6, 10),
    "2-5,8,5-6": (2, 3, 4, 5, 6, 8),
}


@pytest.mark.parametrize(("given", "lengths"), READ.items())
def test_lengths_are_read(given, lengths):
    assert lengths_of(given) == lengths


@settings(max_examples=200, derandomize=True)
@given(lengths=st.sets(st.integers(1, 40), min_size=2))
def test_lengths_are_written_as_they_are_read(lengths):
    assert lengths_of(lengths_text(sorted(lengths))) == tuple(sorted(lengths))


def test_lengths_are_written_short():
    assert lengths_text(range(2, 8)) == "2-7"
    assert lengths_text([4, 6, 7, 8, 10]) == "4,6-8,10"
    assert lengths_words([4, 6, 10]) == "4, 6, 10"
    assert lengths_words([3]) == "3"


WRONG = [
    "",
    "7",
    "7-2",
    "3-3",
    "0-3",
    "4,,6",
    "4,x",
    "4-",
    "-4",
    "4-6-8",
    "4,4",
    "9-3,5",
    (3,),
    [4, "6"],
]


@pytest.mark.parametrize("given", [*WRONG, (0, 4, 6), (2.0, 4), (4, "6"), (4, 6, "8")])
def test_lengths_that_make_no_sense_are_refused_in_one_line(given):
    with pytest.raises(KbenchError, match="^--lengths wants .* as in 2-7, or .* 4,6,10, got") as no:
        lengths_of(given)
    assert "\n" not in str(no.value)
    with pytest.raises(KbenchError, match="lengths go up to 10,000, got 99,999"):
        lengths_of("4,99999")


def test_a_cell_of_some_lengths_has_its_own_place_and_command_that_asks_for_it_again():
    (cell,) = Request.of(
        model="lstm", task="modadd", supervision="aligned", lengths="2-4,6", protocol="quick-1"
    ).cells()
    assert cell.alone == [(2,), (3,), (4,), (6,)] and cell.joint == (2, 3, 4, 6)
    assert str(location(cell)) == "quick-1/modadd.2-4+6/aligned/lstm.json"
    words = shlex.split(command(cell))
    assert words[words.index("--lengths") + 1] == "2-4,6"
    (whole,) = Request.of(
        model="lstm", task="modadd", supervision="aligned", lengths="2-6", protocol="quick-1"
    ).cells()
    assert str(location(whole)) == "quick-1/modadd/aligned/lstm.json"
    assert "--lengths" not in command(whole)
