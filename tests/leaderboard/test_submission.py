"""From the store to an entry, and what is turned away."""

import dataclasses
import re

import pytest
from conftest import FakeExecutor, board_cell, invented_result, learned_from, made_up, measured

from kbench import protocol as protocols
from kbench.errors import KbenchError
from kbench.leaderboard import board, submission
from kbench.leaderboard.checking.validation import validate
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import command, location
from kbench.leaderboard.submission import build
from kbench.recipe import plain
from kbench.study.driver import Driver
from kbench.study.executors.local import InProcess
from kbench.study.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as store:
        yield store


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


@pytest.mark.parametrize(("changes", "reason"), [
    ({"dirty": True}, "trials: ran from a working tree with uncommitted changes"),
    ({"dirty": None}, "trials: ran from a kbench that is no clone of its repository"),
    ({"revision": None}, "trials: ran from a kbench that is no clone of its repository"),
])  # fmt: skip
def test_trials_of_an_unknown_source_are_refused(store, changes, reason):
    def unknown(trial, outcome):
        result = invented_result(trial, outcome)
        changed = result.environment | changes if trial.seed == 2 else result.environment
        return dataclasses.replace(result, environment=changed)

    cell = board_cell()
    measured(cell, store, dress=unknown)
    message = refusal(cell, store)
    assert reason in message
    assert f"{command(cell)} --store .kbench-clean" in message


def test_cells_that_no_board_would_take(store, tiny_yaml):
    few = board_cell(seeds=(1,))
    measured(few, store)
    assert "1 seeds, quick-1 has 3" in refusal(few, store)
    chosen = board_cell(seeds=(1, 2, 7))
    measured(chosen, store)
    assert "measure with" in refusal(chosen, store)
    own = board_cell(protocol=protocols.load(str(tiny_yaml)), seeds=(1, 2))
    measured(own, store, dress=lambda trial, outcome: made_up(outcome))
    assert "unknown protocol 'tiny-1'" in refusal(own, store)
    narrow = board_cell(size={"width": 8, "layers": 1})
    assert "compares presets" in refusal(narrow, store)
    changed = dataclasses.replace(board_cell().protocol, recipes=(plain(3e-3, 64),))
    assert "not the packaged protocol" in refusal(board_cell(protocol=changed), store)


def test_a_trial_that_broke_down_is_no_result(store):
    class Breaking(FakeExecutor):
        def finished(self):
            return [
                f if f.result is None
                else dataclasses.replace(f, result=invented_result(f.trial, f.result.outcome))
                for f in super().finished()
            ]  # fmt: skip

    def rule(trial):
        return "error" if len(trial.lengths) > 1 and trial.n_samples > 20 else "passed"

    cell = board_cell(extrapolate=())
    for _ in Driver([cell], store, Breaking(rule)).run():
        pass
    # An error is not stored, so the searches that met one are not done.
    assert "3 of 12 searches and tests are not done" in refusal(cell, store)


def test_the_source_of_ones_own_model_is_text(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "# -*- coding: latin-1 -*-\n# caf\xe9\nfrom kbench.models.rnn import RNN as Rnn\n"
    source += "class Mine(Rnn):\n    presets = {'quick': {'width': 8, 'layers': 1}}\n"
    (tmp_path / "mine.py").write_bytes(source.encode("latin-1"))
    cell = board_cell(model="mine.py:Mine")
    measured(cell, store)
    assert refusal(cell, store) == "mine.py: the source of an entry is text in UTF-8"


@pytest.mark.slow
def test_real_training_makes_an_entry_that_is_true(store, tmp_path, monkeypatch):
    """Through training, store, submission and every check, the spot-check included."""
    from kbench.cli import app

    known = {"revision": "0123456789" * 4, "dirty": False}
    monkeypatch.setattr("kbench.training.loop.revision", lambda: known)
    cell = board_cell(model="rnn", lengths=(3, 4), extrapolate=(8,))
    for _ in Driver([cell], store, InProcess()).run():
        pass
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


def test_why_runs_failed_stands_in_the_entry_and_decides_as_it_did(store):
    """A joint search that is unfit bounds no κ, whether a store or an entry tells of it."""

    def dressed(trial, outcome):
        result = invented_result(trial, outcome)
        if outcome == "passed":
            return result
        joint = len(trial.lengths) > 1
        return dataclasses.replace(
            result, failure="unfit" if joint else "memorised", training_loss=1.0 if joint else 1e-3
        )

    cell = board_cell(seeds=(1, 2, 3, 4, 5))
    needs = learned_from(lambda trial: 10**9 if len(trial.lengths) > 1 else 5)
    measured(cell, store, needs, dressed)
    entry = build(cell, store)
    run = entry.run()
    assert {b.censored for b in run.brackets(cell.joint)} == {"unfit"}
    assert run.verdict == entry.results.kappa.verdict == "not-learned"
    assert entry.results.n_star["joint"].failures == {"unfit": 5}
    assert {row.failure for row in entry.trials} == {None, "unfit", "memorised"}


CLEAN = {"revision": "0123456789" * 4, "dirty": False}


@pytest.mark.parametrize(("changes", "here", "reason"), [
    ({}, CLEAN, None),
    ({"seeds": range(1, 61)}, CLEAN, None),
    ({"seeds": range(1, 2001)}, CLEAN, "seeds: List should have at most 1000 items"),
    ({"seeds": (1,)}, CLEAN, "1 seeds, quick-1 has 3"),
    ({"model": "mödel.py:M"}, CLEAN, "'own.mödel.M' makes no file name"),
    ({"size": {"width": 8, "layers": 1}}, CLEAN, "compares presets"),
    ({"hold_out_pairs": 0.1}, CLEAN, "boards do not mix splits"),
    ({"task": "automaton", "task_params": {"regex": "(01)*"}}, CLEAN, None),
    ({"task": "automaton", "task_params": {"regex": "0|" * 50 + "1"}}, CLEAN,
     "task_params.regex: Value error, an entry holds whole numbers to 4,096"),
    ({"lengths": tuple(range(2, 90))}, CLEAN, "lengths: List should have at most 50 items"),
    ({}, {"revision": None, "dirty": None}, "no clone of its repository"),
    ({}, CLEAN | {"dirty": True}, "uncommitted changes"),
])  # fmt: skip
def test_what_is_refused_is_said_before_anything_is_measured(monkeypatch, changes, here, reason):
    monkeypatch.setattr(submission, "revision", lambda: here)
    cell = dataclasses.replace(
        board_cell(), **{k: tuple(v) if k == "seeds" else v for k, v in changes.items()}
    )
    found = submission.refusal(cell)
    assert (found is None) == (reason is None), found
    assert (reason or "") in (found or "")


OWN_AUTOMATA = (
    {"regex": "(01)*|0*(1|00)+"}, {"regex": "(01)*"}, {"name": "S3"},
    {"table": [[0, 1], [1, 0]]}, {"table": [[1, 0], [1, 0]]},
)  # fmt: skip


def test_tasks_with_parameters_that_make_no_file_name_have_places_of_their_own():
    cells = [board_cell(task="automaton", task_params=params) for params in OWN_AUTOMATA]
    names = [location(cell).parent.parent.name for cell in cells]
    assert names[2] == "automaton.name-S3.3-5"
    assert len({*names}) == len(names)
    for name in {*names} - {names[2]}:
        assert re.fullmatch(r"automaton\.(regex|table)-[0-9a-f]{12}\.3-5", name)
    # A table is the same one as a tuple, which Python may give.
    other = board_cell(task="automaton", task_params={"table": ((0, 1), (1, 0))})
    assert location(other) == location(cells[3])


@pytest.mark.parametrize("params", [OWN_AUTOMATA[0], OWN_AUTOMATA[3]], ids=str)
def test_an_entry_of_an_automaton_of_ones_own_is_made_and_holds(store, tmp_path, params):
    cell = board_cell(task="automaton", task_params=params)
    measured(cell, store, learned_from(lambda trial: 5))
    path = tmp_path / "leaderboards" / location(cell)
    path.parent.mkdir(parents=True)
    path.write_text(text_of(build(cell, store)), "utf-8")
    (found,) = validate([path], tmp_path / "leaderboards")
    assert found.problems == ()
    (row,) = board.load(tmp_path / "leaderboards")
    assert row.run.cell == cell
