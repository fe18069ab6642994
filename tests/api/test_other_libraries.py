"""The models of other libraries in docs/examples, where these are installed."""

from pathlib import Path

import pytest

import kbench

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize(
    ("library", "model"),
    [
        ("transformers", "hugging_face.py:GPT2"),
        ("x_transformers", "x_transformer.py:Rotary"),
        ("xlstm", "xlstm_block.py:MLSTM"),
    ],
)
def test_a_model_of_another_library_is_a_model(library, model, monkeypatch):
    pytest.importorskip(library)
    monkeypatch.chdir(EXAMPLES)
    assert [found.name for found in kbench.check(model) if not found.passed] == []
