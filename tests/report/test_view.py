"""What a run says while it is under way."""

import dataclasses
import io
import re

import pytest
from conftest import FakeExecutor, changed
from rich.console import Console

from kbench.report.format import interval_text
from kbench.report.view import View
from kbench.study.driver import Driver
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
