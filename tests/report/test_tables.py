"""Tables in the terminal: what is censored reads so, and what is known reads as a figure."""

import dataclasses
import io
import re

import pytest
from conftest import FakeExecutor, Inventor, board_cell, invented_result
from rich.console import Console

from kbench import protocol as protocols
from kbench.report.format import bracket_text, decimals, interval_text, kappa_text
from kbench.report.tables import headline, tables
from kbench.statistics.brackets import Bracket
from kbench.statistics.likelihood import Interval
from kbench.study.driver import Driver
from kbench.study.store import Store


def measured(rule, tmp_path, **changes):
    with Store(tmp_path) as store:
        driver = Driver([board_cell(**changes)], store, FakeExecutor(rule))
        for _ in driver.run():
            pass
    return driver.progress[0].run


def shown(run):
    out = io.StringIO()
    Console(file=out, width=160, markup=False, emoji=False).print(tables([run]))
    return out.getvalue()


def rows(text, model="lstm"):
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if f"  {model}" in line]


def test_a_model_that_learns_nothing_reads_so_at_a_glance(tmp_path):
    run = measured(lambda trial: "memorised", tmp_path)
    text = shown(run)
    kappa, n_star, *_ = rows(text)
    assert kappa[-3:] == ["not identified", "not-learned", "not identified"]
    assert n_star[2:] == ["> 7 (all)", "> 13 (all)", "> 26 (all)", "> 46"]
    assert "(all): all training samples there are do not suffice" in text
    assert not re.search(r"\d–\d", text)
    assert "not-learned" in headline(run)


def test_a_model_that_does_not_fit_its_training_set_says_unfit(tmp_path):
    def rule(trial):
        return "unfit" if len(trial.lengths) > 1 else "passed"

    text = shown(measured(rule, tmp_path))
    assert rows(text)[0][-2] == "not-learned"
    assert rows(text)[1][-1] == "unfit"
    assert "unfit: runs did not even fit" in text


def test_runs_that_diverged_are_counted(tmp_path):
    def rule(trial):
        return "diverged" if len(trial.lengths) > 1 else "passed"

    run = measured(rule, tmp_path)
    count = sum(ending.failure == "diverged" for ending in run.results.values())
    assert count > 0
    assert f"{count} of {len(run.results)} runs diverged" in shown(run)
    assert "diverged" not in shown(measured(lambda trial: "passed", tmp_path / "other"))


def test_kappa_by_length_has_a_table_and_reach_a_column(tmp_path):
    def rule(trial):
        learned = len(trial.lengths) < 3 and trial.n_samples >= 3 * len(trial.lengths)
        return "passed" if learned else "memorised"

    protocol = dataclasses.replace(protocols.load("quick-1"), by_length=True)
    run = measured(rule, tmp_path, protocol=protocol)
    kappa, by_length, n_star, *_ = rows(shown(run))
    assert kappa[4:6] == ["4 of 5", "4"]
    assert by_length[2:] == [interval_text(run.kappa_of((3, 4))), "not-learned"]
    assert len(n_star) == 6


def test_what_of_validation_is_seen_is_said_below(tmp_path):
    def dress(trial, outcome):
        return dataclasses.replace(invented_result(trial, outcome), seen_prefixes=0.42)

    with Store(tmp_path) as store:
        executor = Inventor(lambda trial: "passed", dress)
        driver = Driver([board_cell()], store, executor)
        for _ in driver.run():
            pass
    run = driver.progress[0].run
    assert run.seen_prefixes == pytest.approx(0.42)
    said = " ".join(shown(run).split())
    assert "the training set holds 42 % of the validation positions" in said


def test_a_kappa_of_lengths_that_ran_out_is_marked(tmp_path):
    def rule(trial):
        return "passed" if len(trial.lengths) > 1 and trial.n_samples >= 10 else "memorised"

    text = shown(measured(rule, tmp_path))
    assert "‡ 100 %" in rows(text)[0][4]
    assert rows(text)[0][5] == "sharing"
    assert "‡: so much of Σ N*_n" in text


def test_runs_of_which_it_is_not_known_why_they_failed_are_marked(tmp_path):
    text = shown(measured(lambda trial: "failed", tmp_path))
    assert rows(text)[0][5] == "not-learned °"
    assert "°: with runs from before kbench recorded why they failed" in text
    known = shown(measured(lambda trial: "memorised", tmp_path / "known"))
    assert "°" not in known


@pytest.mark.parametrize(
    ("bracket", "text"),
    [
        (Bracket(low=49, high=66), "49–66"),
        (Bracket(low=8, high=9, censored="right"), "> 8 (all)"),
        (Bracket(low=None, high=4, censored="right"), "> 0 (all)"),
        (Bracket(low=874, high=None, censored="right"), "> 874"),
        (Bracket(low=None, high=1, censored="left"), "≤ 1"),
        (Bracket(low=None, high=None, censored="unfit"), "unfit"),
        (Bracket(low=None, high=None), "?"),
    ],
)
def test_brackets_as_text(bracket, text):
    assert bracket_text(bracket) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(low=1.6, high=2.8, estimate=2.1), "2.10 [1.60, 2.80]"),
        (Interval(low=1.9, high=2.3), "1.90 – 2.30"),
        (Interval(low=None, high=0.0729), "< 0.0729"),
        (Interval(low=None, high=0.0729, estimate=0.01), "< 0.0729"),
        (Interval(low=103, high=None), "> 103"),
        (Interval(low=None, high=None, estimate=2.0), "2.00 (no interval)"),
        (Interval(low=None, high=None), "not identified"),
    ],
)
def test_intervals_as_text(interval, text):
    assert interval_text(interval) == text


def test_kappa_is_marked_from_half_on_and_slopes_have_two_decimals():
    kappa = Interval(low=1.6, high=2.8, estimate=2.1)
    assert kappa_text(kappa, 0.5) == kappa_text(kappa, None) == "2.10 [1.60, 2.80]"
    assert kappa_text(kappa, 0.62) == "2.10 [1.60, 2.80] ‡ 62 %"
    assert kappa_text(Interval(low=None, high=None), 1.0) == "not identified"
    assert interval_text(Interval(low=-0.294, high=0.1), decimals) == "-0.29 – 0.10"
