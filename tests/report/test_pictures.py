"""The pictures of the documentation are those of the committed entries."""

import runpy
from importlib import metadata
from pathlib import Path

import pytest

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def test_the_pictures_of_the_concepts_are_drawn_from_the_boards(tmp_path):
    """To the byte, with the matplotlib that they were drawn with."""
    pinned = (PICTURES.parents[1] / "constraints.txt").read_text()
    if f"matplotlib=={metadata.version('matplotlib')}\n" not in pinned:
        pytest.skip("another matplotlib draws other bytes")
    runpy.run_path(str(PICTURES / "draw.py"))["main"](tmp_path)
    drawn = {p.name: p.read_bytes() for p in tmp_path.glob("*.svg")}
    assert drawn == {p.name: p.read_bytes() for p in PICTURES.glob("*.svg")}
    pages = "".join(p.read_text() for p in PICTURES.parent.glob("concept-*.md"))
    assert all(f"](pictures/{name})" in pages for name in drawn)
