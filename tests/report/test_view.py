"""What a run says while it is under way."""

import dataclasses
import io
import re
import time

import pytest
from conftest import FakeExecutor, changed
from rich.console import Console

from kbench.report.format import interval_text
from kbench.report.view import View
from kbench.study.driver import Driver
from kbench.study.executors import Reached
from kbench.study.plan import Forecast
from kbench.study.store import Store


@pytest.fixture
def said(wide, tmp_path):
    """Lines of a run over lengths 2 to 5 of which each needs 20 samples, and the run."""
    protocol = dataclasses.replace(wide.protocol, by_length=True)
    cell = changed(wide, protocol=protocol, task_params={"m": 10}, lengths=(2, 3, 4, 5))
    console = Console(file=io.StringIO(), width=300)
    executor = FakeExecutor(lambda trial: "passed" if trial.n_samples >= 20 else "memorised")
    with Store(tmp_path) as store:
        driver = Driver([cell], store, executor)
        forecast = Forecast(driver.progress, [{}])
        with View(driver, forecast, console, console) as view:
            for progress in driver.run():
                view.update(progress)
    return console.file.getvalue().splitlines(), driver.progress[0].run


def test_the_first_kappa_is_of_one_seed_and_few_lengths_then_of_more(said):
    lines, run = said
    first = [line for line in lines if "by one seed of 3" in line]
    of = [re.search(r"κ of lengths 2 to (\d) is (.*) \(after", line).groups() for line in first]
    assert [int(last) for last, _ in of] == [3, 4, 5]
    for last, text in of:
        (seed_1, *_) = run.kappa_by_seed(tuple(range(2, int(last) + 1)))
        assert text == interval_text(seed_1)


def test_it_comes_before_the_verdict_which_is_the_last_line(said):
    lines, _ = said
    assert ["verdict" if "sharing" in line else "first" for line in lines] == [
        *["first"] * 3, "verdict"
    ]  # fmt: skip


@pytest.fixture
def mid_run(wide, tmp_path):
    """A view of a run of which some trials have ended and two are under way; its console."""
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    executor = FakeExecutor(lambda trial: "passed" if trial.n_samples >= 20 else "memorised")
    with Store(tmp_path) as store:
        driver = Driver([wide], store, executor)
        forecast = Forecast(driver.progress, [dict.fromkeys([*wide.alone, wide.joint], 0.01)])
        view = View(driver, forecast, console, console)
        steps = driver.run()
        for _ in range(30):
            view.update(next(steps))
        yield view, executor, driver


def test_it_shows_trials_of_a_total_step_and_loss_and_time_left(mid_run):
    view, executor, driver = mid_run
    (_, first, _), *_ = driver.under_way()
    executor.reached = {first.key(): Reached(480, 0.4123)}
    line = view._line()
    run = driver.progress[0].trials_run
    assert re.match(rf"{run} of about (\d+) trials, about .* left; lstm modadd m=3 aligned: ", line)
    assert int(re.search(r"of about (\d+)", line).group(1)) > run
    assert f"N = {first.n_samples}: step 480 of 1,500, loss 0.412" in line
    assert re.search(r"\d+ of \d+ searches, κ (not known yet|of lengths)", line)
    executor.reached = {first.key(): Reached(490, 0.3)}
    assert "step 490 of 1,500, loss 0.300" in view._line()


def test_on_a_terminal_it_fits_the_screen(mid_run):
    view, executor, driver = mid_run
    executor.reached = {t.key(): Reached(10, None) for _, t, _ in driver.under_way()}
    out = Console(file=io.StringIO(), width=80, height=24)
    out.print(view._lines())
    lines = out.file.getvalue().splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert any("step 10 of 1,500" in line for line in lines)


def test_a_thread_looks_while_nothing_ends(mid_run, monkeypatch):
    view, executor, driver = mid_run
    monkeypatch.setattr("kbench.report.view.TICK_S", 0.01)
    monkeypatch.setattr("kbench.report.view.LINE_S", 0.0)
    view._is_live = False
    (_, first, _), *_ = driver.under_way()
    with view:
        executor.reached = {first.key(): Reached(7, 1.0)}
        while "step 7 of" not in view._console.file.getvalue():
            time.sleep(0.01)
