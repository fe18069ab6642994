"""Trials that are another model's, or another entry's."""

import json

import pytest
from conftest import board_cell, invented
from test_validation import only_problem, problems, redo_digests, write

from kbench.leaderboard.checking import validation
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.submission import initial_of
from kbench.statistics.search import Probe
from kbench.training.initial import initial


@pytest.fixture
def content():
    return json.loads(text_of(invented(board_cell())))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "leaderboards"


def test_the_trials_of_another_entry_under_another_name(root, content):
    write(root, content)
    gru = validation.models["gru"]
    content["settings"] |= {"model": "gru", "model_version": gru.version}
    content["environments"][0]["model_source"] = validation.source_sha256(
        validation.models, "gru", gru.version
    )
    content["trials"].reverse()
    for trial in content["trials"]:
        trial["best_loss"] *= 1 + 1e-9
    redo_digests(content)
    write(root, content, "quick-1/modadd.m-2.3-5/aligned/gru.json")
    assert "initial loss of seed 1 is" in problems(root)["gru.json"][0]
    content["initial"] = initial_of(board_cell(model="gru"))
    write(root, content, "quick-1/modadd.m-2.3-5/aligned/gru.json")
    found = problems(root)
    assert "has the trials of" in (found["lstm.json"] + found["gru.json"])[0]


@pytest.mark.parametrize("name", ["loss", "weights"])
def test_what_the_model_does_not_begin_with(root, content, name):
    content["initial"]["2"][name] += 0.01
    write(root, content)
    assert f"model lstm: initial {name} of seed 2 is" in only_problem(root)


def test_what_it_begins_with_has_to_be_there(root, content):
    del content["initial"]["3"]
    write(root, content)
    assert "initial loss of seed 3 is nothing" in problems(root)["lstm.json"][0]
    content["initial"] = None
    write(root, content)
    assert only_problem(root) == "its initial losses and weights are missing"


def test_initial_numbers_tell_models_and_seeds_apart_and_not_samples():
    """The loss is that of a guess at first, for any model."""
    found = {}
    for model in ("lstm", "gru", "transformer"):
        cell = board_cell(model=model)
        for seed in (1, 2):
            trials = [
                cell.trial(cell.joint, seed, Probe(n, cell.protocol.recipes[0])) for n in (1, 20)
            ]
            first, second = map(initial, trials)
            assert first == second
            assert first.loss == pytest.approx(0.69, abs=0.8)
            found[model, seed] = first
    assert len({round(of.weights, 3) for of in found.values()}) == 6
