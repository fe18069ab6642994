"""Where a measured model would stand on the board."""

import pytest
from conftest import board_cell, invented

from kbench import KbenchError
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import location
from kbench.leaderboard.standing import HERE, standings


def run_of(needs, **changes):
    return invented(board_cell(**changes), lambda trial: needs * len(trial.lengths)).run()


@pytest.fixture
def root(tmp_path):
    """A board with an LSTM that shares, and one entry without κ."""
    for changes in ({}, {"distribution": "uniform", "extrapolate": ()}):
        entry = invented(board_cell(**changes), lambda trial: 20)
        path = tmp_path / location(entry.cell())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(entry))
    return tmp_path


def test_own_models_stand_among_the_entries_largest_kappa_first(root):
    (found,) = standings([run_of(15, model="gru"), run_of(4, model="rnn")], root)
    assert found.board == "quick-1/modadd.m-2.3-5/aligned"
    middles = [line.middle for line in found.lines]
    assert middles == sorted(middles, reverse=True)
    assert {(line.model, line.origin) for line in found.lines} == {
        ("gru", HERE),
        ("rnn", HERE),
        ("lstm", "submitted"),
    }
    assert found.has_entries


def test_cells_of_two_boards_are_two_standings(root):
    runs = [run_of(15, model="gru", supervision=way) for way in ("aligned", "outcome")]
    aligned, outcome = standings(runs, root)
    assert (aligned.has_entries, outcome.has_entries) == (True, False)


def test_what_has_no_kappa_stands_nowhere(root):
    run = run_of(15, model="gru", distribution="uniform", extrapolate=())
    assert standings([run], root) == []


def test_without_a_folder_it_is_one_line(tmp_path):
    with pytest.raises(KbenchError, match="--board: no folder of leaderboards at"):
        standings([], tmp_path / "nowhere")


def test_run_shows_the_board(tmp_path, root, kbench_here, tiny_yaml):
    done = kbench_here(
        "run", "--model", "lstm", "--task", "modadd", "--set", "m=2", "--supervision", "aligned",
        "--lengths", "3-4", "--seeds", 1, "--workers", 1, "--protocol", tiny_yaml, "--board",
        "--leaderboards", root, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert HERE in done.stdout
    assert "no entry is on the board tiny-1/" in done.stderr
