"""Pictures of single runs, and which a file's name asks for."""

import dataclasses
from pathlib import Path

import pytest
from conftest import invented_result, learned_from, measured

import kbench
from kbench import KbenchError
from kbench import protocol as protocols
from kbench.report.figures.curves import PLOTS, named
from kbench.report.figures.plots import save
from kbench.study.store import Store


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of made-up runs that pass from 20 samples on, each with a curve of three points."""
    from conftest import board_cell

    def dressed(trial, outcome):
        curve = [[10, 1.0], [100, 0.5], [250, 0.001 if outcome == "passed" else 0.4]]
        return dataclasses.replace(invented_result(trial, outcome), curve=curve)

    folder = tmp_path_factory.mktemp("store")
    with Store(folder) as store:
        cell = board_cell(protocol=dataclasses.replace(protocols.load("quick-1"), by_length=True))
        store.add_cell(cell.spec())
        measured(cell, store, learned_from(lambda trial: 20), dressed)
    return kbench.load(folder)


@pytest.mark.parametrize("what", PLOTS)
def test_every_plot_is_written_the_same_each_time(results, what, tmp_path):
    paths = [tmp_path / f"{i}.svg" for i in (1, 2)]
    for path in paths:
        save(results.plot(what), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_curves_are_one_line_a_run_in_a_panel_for_each_search(results):
    figure = results.plot("curves")
    lines = [len(axes.lines) for axes in figure.axes if axes.get_visible()]
    searched = [trial for trial in results[0].trials if not trial.tested]
    assert len(lines) == 5
    assert sum(lines) == len(searched)


def test_success_is_the_share_of_seeds_that_pass(results):
    for axes in filter(lambda a: a.get_visible(), results.plot("success").axes):
        sizes, shares = axes.lines[0].get_data()
        assert all(share == (n >= 20) for n, share in zip(sizes, shares, strict=True))
        assert len(axes.patches) == any(shares)  # the interval of N*, where there is one


def test_a_files_name_says_what_is_drawn():
    assert named(Path("curves-lstm.svg")) is PLOTS["curves"]
    assert named(Path("success.png")) is PLOTS["success"]
    assert named(Path("kappa.svg")) is PLOTS["kappa"]
    assert named(Path("docs/sharing.svg")) is PLOTS["extrapolation"]


def test_what_was_kept_without_curves_is_one_line():
    entry = kbench.load("leaderboards/quick-1/modadd/aligned/lstm.json")
    with pytest.raises(KbenchError, match="no learning curve is stored"):
        entry.plot("curves")


def test_too_many_panels_are_one_line():
    entries = kbench.load("leaderboards/quick-1/modadd/aligned")
    with pytest.raises(KbenchError, match="panels are too many for one picture"):
        entries.plot("success")
