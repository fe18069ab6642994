"""Plots: the same bytes for the same numbers, with every series and what it is."""

import re

import pytest
from conftest import FakeExecutor, changed

from kbench.errors import KbenchError
from kbench.report.figures.plots import save, scaling_figure, sharing_figure
from kbench.report.readings import Scaling
from kbench.study.driver import Driver
from kbench.study.store import Store


def finished(cells, directory, rule):
    with Store(directory) as store:
        driver = Driver(cells, store, FakeExecutor(rule))
        for _ in driver.run():
            pass
    return [p.run for p in driver.progress]


def power_law(trial):
    """N* = L², larger for larger seeds."""
    needed = max(trial.lengths) ** 2 * (1 + 0.2 * trial.seed)
    return "passed" if trial.n_samples >= needed else "failed"


@pytest.fixture
def rows(cell, tmp_path):
    def series(model, rule):
        cells = [
            changed(cell, model=model, task_params={"m": 4}, lengths=(3, L), distribution="uniform")
            for L in (4, 5, 6)
        ]
        runs = finished(cells, tmp_path / model, rule)
        return Scaling(over="L", values=("4", "5", "6"), sizes=(4, 5, 6), runs=runs)

    return [
        series("lstm", power_law),
        series("gru", lambda t: "failed"),
        series("rnn", lambda t: power_law(t) if t.seed == 1 else "failed"),
    ]


def text_of(path):
    """What an SVG says in words (matplotlib writes each text as a comment beside its outlines)."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", path.read_text(), re.DOTALL))


def test_a_scaling_plot_names_its_series_and_slopes(rows, tmp_path):
    save(scaling_figure(rows), tmp_path / "a.svg")
    said = text_of(tmp_path / "a.svg")
    assert {"longest length L", "lstm aligned uniform", "rnn aligned uniform"} <= set(
        said.splitlines()
    )
    assert re.search(r"slope \d\.\d\d \[", said)
    assert "slope not identified" in said


def test_the_same_numbers_give_the_same_bytes(rows, tmp_path):
    for suffix in ("svg", "png"):
        pictures = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for picture in pictures:
            save(scaling_figure(rows), picture)
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
        assert len(pictures[0].read_bytes()) > 10_000


def beyond(cell, directory, rule=power_law):
    """Complete runs whose tests were made up: right in three of four answers, half by chance."""
    import dataclasses

    class Executor(FakeExecutor):
        def finished(self):
            (done,) = super().finished()
            found = {str(n): {"accuracy": 0.75, "chance": 0.5} for n in done.trial.tested}
            result = dataclasses.replace(done.result, accuracy=found)
            return [dataclasses.replace(done, result=result)]

    with Store(directory) as store:
        driver = Driver([cell], store, Executor(rule))
        for _ in driver.run():
            pass
    return driver.progress[0].run


def test_sharing_against_extrapolation_is_drawn_where_both_are_known(cell, tmp_path):
    from kbench.report.readings import answer_beyond

    both = beyond(changed(cell, extrapolate=(10, 20)), tmp_path / "1")
    assert answer_beyond(both) == [0.5, 0.5]
    never = beyond(
        changed(cell, model="gru", extrapolate=(10,)), tmp_path / "2", lambda t: "failed"
    )
    assert answer_beyond(never) == [0.5, 0.5]
    elsewhere = beyond(changed(cell, extrapolate=(20,)), tmp_path / "3")
    without = beyond(cell, tmp_path / "4")
    drawn = beyond(changed(cell, extrapolate=(10,), distribution="uniform"), tmp_path / "5")
    assert [answer_beyond(run) for run in (elsewhere, without, drawn)] == [[], [], []]

    save(sharing_figure([both, never, elsewhere, without, drawn]), tmp_path / "k.svg")
    said = set(text_of(tmp_path / "k.svg").splitlines())
    assert {"sharing factor κ", "aligned", "lstm", "gru"} <= said
    with pytest.raises(KbenchError, match="nothing to plot.*--extrapolate 2x"):
        save(sharing_figure([elsewhere, without, drawn]), tmp_path / "none.svg")
    other = beyond(changed(cell, lengths=(3, 4), extrapolate=(8,)), tmp_path / "6")
    with pytest.raises(KbenchError, match="one plot is of one task"):
        save(sharing_figure([both, other]), tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()


def test_a_place_that_cannot_be_written_to_is_said(rows):
    with pytest.raises(KbenchError, match="/dev/full/a.svg cannot be written"):
        from pathlib import Path

        save(scaling_figure(rows), Path("/dev/full/a.svg"))
