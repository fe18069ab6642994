"""Entries of a model's earlier version, while it still stands."""

import dataclasses

import pytest
from test_validation import content, only_problem, problems, redo_digests, root, write

from kbench.leaderboard.board import load
from kbench.leaderboard.checking.spotcheck import why_not
from kbench.leaderboard.text import markdown
from kbench.registry import models

__all__ = ["content", "root"]


@pytest.fixture
def lstm_3(monkeypatch, content):
    """The entry's model has become version 3, and its version 1 still stands."""
    stated = content["environments"][0]["model_source"]
    here = dataclasses.replace(models["lstm"], version=3, earlier={1: stated})
    monkeypatch.setitem(models._entries, "lstm", here)
    return here


def test_an_earlier_version_that_still_stands(root, content, lstm_3):
    write(root, content)
    assert problems(root) == {"lstm.json": ()}
    (row,) = load(root)
    assert row.is_earlier
    assert " †" in markdown([row])
    assert why_not(row.entry, "cpu") == "lstm: version 1 is here no more, 3 is"


def test_an_earlier_version_has_the_source_that_it_had(root, content, lstm_3):
    content["environments"][0]["model_source"] = "sha256:" + "0" * 64
    write(root, content)
    assert only_problem(root).startswith("model lstm: measured with source sha256:000000000000…")


def test_another_earlier_version_stands_no_more(root, content, lstm_3):
    content["settings"]["model_version"] = 2
    redo_digests(content)
    write(root, content)
    assert only_problem(root) == "model lstm: measured in version 2, here it is 3"
