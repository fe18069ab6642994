"""Seeds added where a verdict is open: the same for every executor, resumable, and no more."""

import dataclasses
import random

import pytest
from conftest import FakeExecutor, changed
from test_cell import broken_off, document, run, stable

from kbench.protocol import Seeds
from kbench.study.plan import plan
from kbench.study.searches import CellRun
from kbench.study.store import Store

LOOKS = (3, 5, 8)


@pytest.fixture
def looking(wide):
    """A cell whose protocol looks three times."""
    seeds = Seeds(count=3, first=1, step=1, looks=LOOKS)
    protocol = dataclasses.replace(wide.protocol, seeds=seeds, confidence=0.985)
    return changed(wide, protocol=protocol, seeds=seeds.values())


def needs(kappa, spread):
    """The rule by which κ is about this, with a spread over seeds."""

    def rule(trial):
        luck = random.Random(trial.seed).gauss(0, spread)
        alone = len(trial.lengths) == 1
        threshold = 4 * trial.lengths[0] if alone else 100 / kappa * 2.718**luck
        return "passed" if trial.n_samples >= threshold else "failed"

    return rule


def seeds_used(cell, rule, tmp_path):
    with Store(tmp_path) as store:
        found = run(cell, store, FakeExecutor(rule)).progress[0].run
    assert found.complete
    return len(found.seeds), found.verdict


def test_a_verdict_that_stands_takes_no_more_seeds(looking, tmp_path):
    assert seeds_used(looking, needs(8, 0.02), tmp_path) == (3, "sharing")


def test_an_open_verdict_takes_seeds_until_the_last_look(looking, tmp_path):
    assert seeds_used(looking, needs(1.2, 0.9), tmp_path) == (8, "not-identified")


def test_a_verdict_may_be_decided_on_the_way(looking, tmp_path):
    assert seeds_used(looking, needs(3, 0.25), tmp_path) == (5, "sharing")


def test_a_model_that_learns_nothing_gets_no_more_seeds(looking, tmp_path):
    assert seeds_used(looking, lambda trial: "failed", tmp_path) == (3, "not-learned")


def test_one_that_learns_lengths_alone_and_never_together_gets_them(looking, tmp_path):
    def rule(trial):
        return "passed" if len(trial.lengths) == 1 and trial.n_samples >= 2 else "failed"

    assert seeds_used(looking, rule, tmp_path) == (8, "interference")


def test_somebodys_own_number_of_seeds_is_one_look(looking, tmp_path):
    cell = changed(looking, seeds=(1, 2, 3, 4))
    assert cell.looks == (4,)
    assert seeds_used(cell, needs(1.2, 0.9), tmp_path)[0] == 4


def test_n_star_under_a_distribution_has_the_seeds_of_the_first_look(looking):
    cell = changed(looking, distribution="uniform", seeds=(1, 2, 3))
    assert cell.looks == (3,)
    assert cell.seeds == cell.protocol_seeds


@pytest.mark.parametrize("rule", [needs(1.2, 0.9), needs(3, 0.25)])
def test_added_seeds_do_not_depend_on_how_many_run_at_once(looking, rule, tmp_path):
    documents = []
    for i, capacity in enumerate((1, 30)):
        executor = FakeExecutor(rule, capacity, random.Random(i), cohort=1 + 4 * i)
        with Store(tmp_path / str(i)) as store:
            documents.append(stable(document(run(looking, store, executor).progress)))
    assert all(of == documents[0] for of in documents)


def test_broken_off_anywhere_it_ends_with_the_same_seeds_and_digest(looking, tmp_path):
    rule = needs(3, 0.25)
    with Store(tmp_path / "whole") as store:
        whole = stable(document(run(looking, store, FakeExecutor(rule)).progress))
    driver, ran = broken_off(looking, rule, (1, 7, 20, 30, 40), tmp_path / "broken")
    assert len(set(ran)) == len(ran)
    found = stable(document(driver.progress))
    assert found["seeds"] == whole["seeds"] == [1, 2, 3, 4, 5]
    assert found["trials"]["digest"] == whole["trials"]["digest"]
    assert found == whole


def test_the_plan_says_what_the_first_and_the_last_look_cost(looking, monkeypatch):
    monkeypatch.setattr("kbench.study.plan._seconds_per_step", lambda *_: 0.001)
    first, last = (plan(CellRun(looking), last_look=which) for which in (False, True))
    assert first.searches == 7 * 3
    assert last.searches == 7 * 8
    assert last.trials[1] == pytest.approx(first.trials[1] * 8 / 3, rel=0.01)
    assert last.seconds > 2 * first.seconds
    cell = changed(looking, seeds=(1, 2, 3))
    assert plan(CellRun(cell), last_look=True) == plan(CellRun(cell))
