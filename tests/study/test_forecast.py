"""What is left of a run: right in the end, and no surprise on the way."""

from pathlib import Path

import pytest
from conftest import FakeExecutor, changed
from test_cell import rule

from kbench import protocol as protocols
from kbench.leaderboard.entry import Trials, read
from kbench.study.driver import Driver, Progress
from kbench.study.plan import Forecast, Left
from kbench.study.searches import CellRun
from kbench.study.store import Store

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


def test_it_counts_down_to_nothing(wide, tmp_path):
    with Store(tmp_path) as store:
        driver = Driver([wide], store, FakeExecutor(rule, capacity=1))
        timings = dict.fromkeys([*wide.alone, *wide.together], 0.01)
        forecast = Forecast(driver.progress, [timings])
        first, trials = forecast.left(), []
        for progress in driver.run():
            trials.append(progress.trials_run + forecast.left().trials)
    last = forecast.left()
    assert (last.trials, last.seconds, last.with_all_seeds) == (0, 0, None)
    assert last.done == pytest.approx(0.01 * 10 * progress.trials_run)  # made-up trials: 10 steps
    assert first.seconds > 0
    assert 0.3 < first.trials / progress.trials_run < 3
    assert trials[len(trials) // 2] / progress.trials_run == pytest.approx(1, abs=0.6)


def test_seeds_that_may_be_added_are_told_apart(wide):
    quick = protocols.load("quick-2")
    cell = changed(wide, protocol=quick, lengths=(2, 3), seeds=quick.seeds.values(None))
    left = Forecast([Progress(run=CellRun(cell))], [dict.fromkeys(cell.alone, 0.01)]).left()
    assert left.with_all_seeds > 1.5 * left.seconds


def test_time_goes_by_the_pace_so_far_and_by_what_is_under_way():
    left = Left(trials=9, seconds=100.0, with_all_seeds=None, done=95.0)
    assert left.clock(1, 95.0) == (100.0, None)
    assert left.clock(1, 195.0) == (200.0, None)
    assert left.clock(2, 47.5) == (50.0, None)
    assert left.clock(1, 115.0, begun=20.0)[0] == 90.0


@pytest.mark.parametrize("place", ["lookup/outcome/dense-ssm", "permutation/cot/transformer-rope"])
def test_time_left_does_not_climb_by_a_third_after_the_first_minute(place):
    """Replayed from what a board's entry says of its trials, one after the other."""
    entry = read(LEADERBOARDS / "quick-1" / f"{place}.json")
    cell = entry.cell()
    trials, progress = Trials(entry, cell), Progress(run=CellRun(cell))
    timings = {}
    for row in entry.trials:
        each, lengths = row.wall_s / row.steps, tuple(row.lengths)
        timings[lengths] = min(each, timings.get(lengths, each))
    forecast, now, shown = Forecast([progress], [timings]), 0.0, []
    while not progress.run.complete:
        trial = progress.run.wanted()[0]
        result = trials.get(trial.key())
        for part in (0.3, 0.9):
            begun = forecast.cost(progress, trial.lengths, int(part * result.steps))
            at = now + part * result.wall_s
            shown.append((at, forecast.left().clock(1, at, begun)[0]))
        now += result.wall_s
        progress.run.tell(trial, result)
        progress.steps_run[trial.lengths] += result.steps
        shown.append((now, forecast.left().clock(1, now)[0]))
    (*_, at_a_minute) = (left for at, left in shown if at <= 60)
    assert now > 180
    assert 0.5 < at_a_minute / (now - 60) < 4
    assert max(left for at, left in shown if at > 60) < at_a_minute * 4 / 3
