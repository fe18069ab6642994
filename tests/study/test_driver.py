"""The driver: cells brought to their end by any executor, and nothing lost on the way."""

import dataclasses
import random

import pytest
from conftest import FakeExecutor, changed, fill, made_up
from test_cell import THRESHOLDS, broken_off, document, rule, run, stable

from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study.driver import Driver, recall
from kbench.study.searches import CellRun
from kbench.study.store import Store, StoreFullError


@pytest.mark.parametrize("cohort", [1, 7, 60])
def test_results_do_not_depend_on_how_many_run_at_once(wide, tmp_path, cohort):
    """Idle workers run ahead: more trials, and not one of them heard of before its time."""
    ran, documents = [], []
    for i, capacity in enumerate((1, 2, 5, 40)):
        executor = FakeExecutor(rule, capacity, random.Random(i), cohort)
        with Store(tmp_path / str(i)) as store:
            driver = run(wide, store, executor)
            assert len(store) == driver.progress[0].trials_run == len(executor.ran)
        ran.append({t.key() for t in executor.ran})
        assert len(ran[-1]) == len(executor.ran)
        assert driver.progress[0].trials_reused == 0
        documents.append(stable(document(driver.progress)))
    assert all(document == documents[0] for document in documents)
    if cohort == 1:
        assert all(ran[0] <= more for more in ran)
        assert len(ran[0]) < len(ran[3])


def test_a_second_run_runs_nothing_and_says_the_same(wide, tmp_path):
    with Store(tmp_path) as store:
        first = run(wide, store, FakeExecutor(rule))
        executor = FakeExecutor(rule)
        second = run(wide, store, executor)
    assert executor.ran == []
    assert stable(document(second.progress)) == stable(document(first.progress))
    assert second.progress[0].trials_reused == first.progress[0].trials_run


def test_a_run_broken_off_anywhere_goes_on_without_repeating_a_trial(wide, tmp_path):
    with Store(tmp_path / "whole") as store:
        whole = document(run(wide, store, FakeExecutor(rule)).progress)
    driver, ran = broken_off(wide, rule, (1, 3, 10, 20), tmp_path / "broken")
    assert len(set(ran)) == len(ran)
    assert stable(document(driver.progress)) == stable(whole)


def test_more_lengths_reuse_the_trials_of_fewer(wide, tmp_path):
    with Store(tmp_path) as store:
        run(changed(wide, lengths=(2, 3, 4, 5)), store, FakeExecutor(rule))
        executor = FakeExecutor(rule)
        run(wide, store, executor)
    assert all(len(t.lengths) > 1 or t.lengths[0] > 5 for t in executor.ran)


def test_a_trial_that_fails_once_is_run_again_and_leaves_no_trace(wide, tmp_path):
    with Store(tmp_path / "a") as store:
        plain = document(run(wide, store, FakeExecutor(rule)).progress)
    failed = set()

    def flaky(trial):
        if trial.key() not in failed:
            failed.add(trial.key())
            return "error"
        return rule(trial)

    with Store(tmp_path / "b") as store:
        assert stable(document(run(wide, store, FakeExecutor(flaky)).progress)) == stable(plain)


def test_a_trial_that_fails_twice_is_said_and_only_widens_the_bracket(wide, tmp_path):
    with Store(tmp_path) as store:
        executor = FakeExecutor(
            lambda t: "error" if t.lengths == (5,) and 40 < t.n_samples < 80 else rule(t)
        )
        driver = run(wide, store, executor)
    (result,) = document(driver.progress)["results"]
    assert result["complete"]
    assert result["errors"]
    assert all("failed twice: it broke" in line for line in result["errors"])
    for bracket, seed in zip(result["n_star"]["5"]["per_seed"], wide.seeds, strict=True):
        assert bracket["low"] < 50 * (1 + 0.2 * seed) <= bracket["high"]
    counts = [t.key() for t in executor.ran]
    assert max(map(counts.count, counts)) == 2


def test_a_full_disk_ends_the_run_and_loses_nothing(wide, small_disk):
    def fills_the_disk(trial):
        if len(first.ran) == 30:
            fill(small_disk)
        return rule(trial)

    store_at = small_disk / "store"
    first = FakeExecutor(fills_the_disk)
    with Store(store_at) as store:
        driver = Driver([wide], store, first)
        with pytest.raises(StoreFullError, match="no room left"):
            list(driver.run())
        assert len(store) == len(first.ran) > 30
    (small_disk / "filler").unlink()
    second = FakeExecutor(rule)
    with Store(store_at) as store:
        assert run(wide, store, second).progress[0].run.complete
    assert not {t.key() for t in first.ran} & {t.key() for t in second.ran}


def test_results_that_another_process_stored_meanwhile_are_taken(wide, tmp_path):
    with Store(tmp_path) as store:
        run(wide, store, FakeExecutor(rule))
        fresh = CellRun(wide)
        assert recall(fresh, store) == len(store)
        assert fresh.complete


def test_a_profile_adds_up_what_the_trials_say_and_the_rest_is_idle(wide, tmp_path):
    seconds = {"data": 1.0, "training": 5.0, "validation": 2.0, "other": 0.5}

    class Executor(FakeExecutor):
        def finished(self):
            done = super().finished()
            return [
                dataclasses.replace(f, result=dataclasses.replace(f.result, seconds=seconds))
                for f in done
            ]

    executor = Executor(rule, capacity=5)
    with Store(tmp_path) as store:
        driver = run(wide, store, executor)
    driver._elapsed += 10_000
    profile = driver.profile()
    n = len(executor.ran)
    assert profile.trials == {name: value * n for name, value in seconds.items()}
    assert profile.idle == pytest.approx(5 * profile.elapsed - 8.5 * n)
    asked_for = len(driver.progress[0].run.results)
    assert n > asked_for
    assert profile.ahead == pytest.approx(8.5 * (n - asked_for))
    assert 0 < profile.store < 10


def test_seconds_are_no_part_of_what_a_trial_came_to():
    assert made_up("passed", seconds={"training": 1.0}).digest("k") == made_up("passed").digest("k")


def test_a_cohort_differs_in_samples_learning_rate_and_seed_alone(cell):
    trial = cell.trial((3, 4), 1, Probe(n_samples=8, recipe=plain(0.01, 64)))
    other = cell.trial((3, 4), 2, Probe(n_samples=9, recipe=plain(0.02, 64)))
    assert trial.stacks_with(other)
    assert trial.family() == other.family()
    for changes in ({"tested": (9,)}, {"lengths": (3,)}, {"supervision": "cot"}):
        assert not trial.stacks_with(dataclasses.replace(other, **changes))


def test_what_breaks_a_cohort_takes_no_other_trial_along(wide, tmp_path):
    """Executors lose a cohort as a whole; alone, all but the culprits end as they should."""

    def culprit(trial):
        return trial.lengths == (5,) and 40 < trial.n_samples < 60

    class Executor(FakeExecutor):
        def finished(self):
            done = super().finished()
            if any(culprit(f.trial) for f in done):
                return [dataclasses.replace(f, result=None, error="it broke") for f in done]
            return done

    documents = []
    for cohort in (1, 15):
        with Store(tmp_path / str(cohort)) as store:
            driver = run(wide, store, Executor(rule, 2, random.Random(1), cohort))
        documents.append(stable(document(driver.progress)))
    assert documents[0]["errors"]
    assert documents[0] == documents[1]


def test_a_learning_rate_that_always_breaks_down_only_widens_brackets(wide, tmp_path):
    with Store(tmp_path) as store:
        executor = FakeExecutor(lambda t: "error" if t.recipe.learning_rate == 3e-3 else rule(t))
        cell_run = run(wide, store, executor).progress[0].run
    assert cell_run.complete
    for n, threshold in THRESHOLDS.items():
        for seed, bracket in zip(wide.seeds, cell_run.brackets((n,)), strict=True):
            assert bracket.low is None  # no size is known to fail
            assert bracket.high is None or bracket.high >= threshold * (1 + 0.2 * seed)


class Shared(Store):
    """A store in which another process is at work on one cell, until it lets go."""

    taken = None

    def claim(self, spec):
        return spec != self.taken and super().claim(spec)


def test_what_another_process_measures_is_left_to_it_and_taken_from_the_store(
    wide, tmp_path, monkeypatch
):
    monkeypatch.setattr("kbench.study.driver._POLL_S", 0)
    other = changed(wide, supervision="cot")
    theirs, ours = FakeExecutor(rule), FakeExecutor(rule)
    with Store(tmp_path) as of_theirs, Shared(tmp_path) as store:
        store.taken = wide.spec()
        driver = Driver([wide, other], store, ours)
        news = driver.run()
        assert (
            next(p for p in news if p.elsewhere and p.run.n_done < p.run.n_searches).run.cell
            == wide
        )
        assert driver.progress[1].run.complete
        assert {t.supervision for t in ours.ran} == {"cot"}
        run(wide, of_theirs, theirs)
        assert all(p.run.complete for p in [*news] and driver.progress)
    assert {t.supervision for t in ours.ran} == {"cot"}
    assert driver.progress[0].trials_run == 0
    assert driver.progress[0].trials_reused == len(theirs.ran)


def test_what_a_process_that_ended_left_undone_is_done(wide, tmp_path, monkeypatch):
    monkeypatch.setattr("kbench.study.driver._POLL_S", 0)
    ours = FakeExecutor(rule)
    with Shared(tmp_path) as store:
        store.taken = wide.spec()
        news = Driver([wide], store, ours).run()
        assert next(news).elsewhere
        store.taken = None
        assert not [*news][-1].elsewhere
    assert len(ours.ran) > 10


def test_with_a_full_disk_nobody_waits_for_another_process(wide, tmp_path, monkeypatch):
    monkeypatch.setattr("kbench.study.driver._POLL_S", 0)
    with Shared(tmp_path) as store:
        store.taken = wide.spec()
        news = Driver([wide], store, FakeExecutor(rule)).run()
        assert next(news).elsewhere
        store.full = "no room left"
        with pytest.raises(StoreFullError):
            list(news)
