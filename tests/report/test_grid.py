"""Tables at any width and in any encoding: nothing is cut, nothing sticks out."""

import io
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from kbench.report.grid import Grid, counted, listed, plain

words = st.text("abcdef- ", max_size=40).map(lambda text: " ".join(text.split()))


def lines_of(grid, width, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=width, markup=False, emoji=False).print(grid)
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


def made(rows=1):
    grid = Grid("T", names=["model", "task"], figures=["seeds", "κ ≥"], prose=["what it is"])
    for _ in range(rows):
        grid.add_row("lstm", "modadd m=3", "12", "2.91 [2.05, 4.35]", "a recurrent network " * 3)
    return grid


@given(
    width=st.integers(24, 160),
    rows=st.lists(st.tuples(words, words, words, words, words), min_size=1, max_size=3),
)
def test_every_letter_is_there_and_no_line_is_too_long(width, rows):
    grid = Grid("TITLE", names=["N", "M"], figures=["P", "Q"], prose=["R"])
    for row in rows:
        grid.add_row(*row)
    lines = lines_of(grid, width)
    assert max(map(cell_len, lines)) <= width
    text = "".join(lines)
    letters = Counter(c for row in rows for cell in row for c in cell if c in "abcdef-")
    assert Counter(c for c in text if c in "abcdef-") == letters
    assert all(name in text for name in "TITLENMPQR")


def test_a_row_is_one_line_where_that_fits_and_stacked_where_it_does_not():
    wide = lines_of(made(), 140)
    assert [line.split()[:2] for line in wide if "2.91" in line] == [["lstm", "modadd"]]
    narrow = lines_of(made(), 50)
    at = narrow.index("  lstm, modadd m=3")
    assert narrow[at + 1].split(maxsplit=1) == ["12", "2.91 [2.05, 4.35]"]
    assert narrow[at + 2].strip().startswith("a recurrent network")


def test_a_row_that_is_one_letter_too_wide_is_stacked():
    grid = Grid(names=["model"], figures=["verdict"])
    grid.add_row("transformer", "interference")
    row = "  transformer   interference"
    assert row in lines_of(grid, len(row))
    stacked = [line.strip() for line in lines_of(grid, len(row) - 1)]
    assert "transformer" in stacked and "interference" in stacked


def test_headings_are_broken_before_rows_are_stacked():
    grid = Grid(names=["model"], figures=["searches done", "trials to run"])
    grid.add_row("transformer", "1 of 2", "24 to 180")
    assert "transformer   1 of 2     24 to 180" in [line.strip() for line in lines_of(grid, 36)]


def test_columns_stand_where_an_encoding_has_no_such_letters():
    grid = Grid("κ", names=["model"], figures=["κ", "verdict"])
    grid.add_row("lstm", "≤ 1", "sharing")
    grid.add_row("gru", "2 – 3 ‡ 71 %", "none")
    lines = lines_of(grid, 80, "ascii")
    assert lines[0] == "kappa"
    assert lines[3].strip().strip("-") == ""
    assert lines[4].index("sharing") == lines[5].index("none") == lines[2].index("verdict")
    assert "<= 1" in lines[4]
    assert "2 - 3 (!) 71 %" in lines[5]


def test_two_kinds_of_prose_say_which_they_are():
    grid = Grid(names=["name"], prose=["what it is", "expressivity"])
    grid.add_row("lstm", "a gated network " * 4, "parity and more " * 4)
    text = "\n".join(lines_of(grid, 50))
    assert "what it is: a gated" in text
    assert "expressivity: parity" in text


def test_plurals():
    assert [counted(n, "trial") for n in (0, 1, 2000)] == ["0 trials", "1 trial", "2,000 trials"]
    assert counted(2, "entry", "entries") == "2 entries"


def test_lists_of_words_and_plain_letters():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert plain("N* ≤ κ", "latin-1") == "N* <= kappa"
    assert plain("N* ≤ κ", "utf-8") == "N* ≤ κ"
