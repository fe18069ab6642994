"""From the store to an entry, and what is turned away."""

import dataclasses

import pytest
from conftest import FakeExecutor, board_cell, invented_result, made_up

from kbench import protocol as protocols
from kbench.driver import Driver
from kbench.errors import KbenchError
from kbench.executors.local import InProcess
from kbench.leaderboard.entry import command
from kbench.leaderboard.submission import build
from kbench.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as store:
        yield store


def measured(cell, store, rule=lambda trial: "passed", dress=invented_result):
    """Put all that a cell asks for into the store."""

    class Dressed(FakeExecutor):
        def finished(self):
            return [
                dataclasses.replace(f, result=dress(f.trial, f.result.outcome))
                for f in super().finished()
            ]

    for _ in Driver([cell], store, Dressed(rule)).run():
        pass


def refusal(cell, store):
    with pytest.raises(KbenchError) as error:
        build(cell, store)
    return str(error.value)


def test_what_is_missing_is_said_with_the_command_that_completes_it(store):
    cell = board_cell()
    assert "15 of 15 searches" in refusal(cell, store)
    assert f"complete it with: {command(cell)} --store /" in refusal(cell, store)
    untested = board_cell(extrapolate=())
    measured(untested, store)
    assert "3 of 15 searches and tests are not done" in refusal(cell, store)
    measured(cell, store)
    assert len(build(cell, store).trials) > 0


def test_a_changed_working_tree_is_refused(store):
    def dirty(trial, outcome):
        result = invented_result(trial, outcome)
        changed = {**result.environment, "dirty": True} if trial.seed == 2 else result.environment
        return dataclasses.replace(result, environment=changed)

    cell = board_cell()
    measured(cell, store, dress=dirty)
    message = refusal(cell, store)
    assert "trials ran from a working tree with uncommitted changes" in message
    assert f"{command(cell)} --store .kbench-clean" in message


def test_cells_that_no_board_would_take(store, tiny_yaml):
    few = board_cell(seeds=(1,))
    measured(few, store)
    assert "1 seeds, quick-1 has 3" in refusal(few, store)
    own = board_cell(protocol=protocols.load(str(tiny_yaml)), seeds=(1, 2))
    measured(own, store, dress=lambda trial, outcome: made_up(outcome))
    assert "unknown protocol 'tiny-1'" in refusal(own, store)
    narrow = board_cell(size={"width": 8, "layers": 1})
    assert "compares presets" in refusal(narrow, store)
    changed = dataclasses.replace(board_cell().protocol, learning_rates=(3e-3,))
    assert "not the packaged protocol" in refusal(board_cell(protocol=changed), store)


@pytest.mark.slow
def test_real_training_makes_an_entry_that_is_true(store, tmp_path, monkeypatch):
    """Through training, store, submission and every check, the spot-check included."""
    from kbench.cli import app

    monkeypatch.setattr("kbench.training.revision", lambda: {"revision": None, "dirty": None})
    cell = board_cell(model="rnn", lengths=(3, 4), extrapolate=(8,))
    for _ in Driver([cell], store, InProcess()).run():
        pass
    from kbench.leaderboard.entry import location, text_of

    path = tmp_path / "leaderboards" / location(cell)
    path.parent.mkdir(parents=True)
    path.write_text(text_of(build(cell, store)), "utf-8")
    import typer

    run = typer.main.get_command(app)
    words = ["validate", str(tmp_path / "leaderboards"), "--spot-check", "4", "--record"]
    assert run(words, standalone_mode=False) == 0
    from kbench.leaderboard.board import load

    (row,) = load(tmp_path / "leaderboards")
    assert row.trust == "verified"
    path.write_text(path.read_text().replace('"submitted_by": null', '"submitted_by": "me"'))
    (row,) = load(tmp_path / "leaderboards")
    assert row.trust == "submitted"
