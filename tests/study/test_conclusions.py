"""κ up to each length, reach, and the length that κ is stated for."""

import dataclasses
import random

import pytest
from conftest import FakeExecutor, changed
from test_cell import broken_off, document, run, stable

from kbench.report.tables import headline, reach_text
from kbench.statistics.likelihood import median_interval
from kbench.study.plan import plan
from kbench.study.searches import CellRun
from kbench.study.store import Store


@pytest.fixture
def by_length(wide):
    """Lengths 2 to 7, three seeds, with κ up to each length."""
    protocol = dataclasses.replace(wide.protocol, by_length=True)
    return changed(wide, protocol=protocol, task_params={"m": 10})


def needs(joint, spread=0.05):
    """The rule by which n alone takes 20 n samples, and lengths up to L take joint(L)."""

    def rule(trial):
        luck = random.Random(trial.seed).gauss(0, spread)
        first, last = trial.lengths[0], trial.lengths[-1]
        threshold = 20 * first if first == last else joint(last, trial.seed)
        if threshold is None:
            return "memorised"
        return "passed" if trial.n_samples >= threshold * 2.718**luck else "memorised"

    return rule


def found(cell, rule, tmp_path):
    with Store(tmp_path) as store:
        (progress,) = run(cell, store, FakeExecutor(rule)).progress
    assert progress.run.complete
    return progress.run


def test_kappa_up_to_each_length_is_that_of_its_searches(by_length, tmp_path):
    of = found(by_length, needs(lambda last, seed: 40), tmp_path)
    for last in range(3, 8):
        together = tuple(range(2, last + 1))
        joint = of.brackets(together)
        alone = [of.brackets((n,)) for n in together]
        low = [sum(b[s].low + 1 for b in alone) / joint[s].high for s in range(3)]
        high = [sum(b[s].high for b in alone) / (joint[s].low + 1) for s in range(3)]
        assert of.kappa_of(together) == median_interval(low, high, 0.96)
        truth = 20 * sum(together) / 40
        assert of.kappa_of(together).low < truth < of.kappa_of(together).high
    assert of.up_to == by_length.lengths
    assert of.kappa == of.kappa_of(by_length.lengths)


def test_reach_is_the_longest_that_is_learned_by_seed_and_in_the_median(by_length, tmp_path):
    last_learned = {1: 4, 2: 6, 3: 7}
    rule = needs(lambda last, seed: 40 if last <= last_learned[seed] else None)
    of = found(by_length, rule, tmp_path)
    assert of.reach_by_seed == [4, 6, 7]
    assert of.reach == 6
    assert reach_text(of) == "6 of 7 [4 – 7]"


def test_kappa_is_stated_for_the_most_lengths_that_are_learned(by_length, tmp_path):
    rule = needs(lambda last, seed: 30 if last <= 5 else None)
    of = found(by_length, rule, tmp_path)
    assert of.verdict_of((2, 3, 4, 5, 6, 7)) == "not-learned"
    assert of.up_to == (2, 3, 4, 5)
    assert of.verdict == "sharing"
    assert of.reach_by_seed == [5, 5, 5]
    assert headline(of).endswith("sharing (lengths to 5); reach 5 of 7")


def test_a_bound_of_lengths_that_are_not_learned_does_not_count(by_length, tmp_path):
    """Five seeds: κ < 2.6 or so is known of all lengths, which no seed learned."""
    rule = needs(lambda last, seed: 30 if last <= 5 else None)
    cell = changed(by_length, seeds=(1, 2, 3, 4, 5))
    of = found(
        cell,
        lambda t: rule(t) if len(t.lengths) > 1 or t.n_samples >= 1500 else "memorised",
        tmp_path,
    )
    assert 1 < of.kappa_of(cell.lengths).high < 5
    assert of.verdict_of(cell.lengths) == "not-learned"
    assert (of.up_to, of.verdict) == ((2, 3, 4, 5), "sharing")


def test_what_is_needed_together_beyond_all_samples_tried_is_interference(by_length, tmp_path):
    cell = changed(by_length, seeds=(1, 2, 3, 4, 5))
    of = found(cell, needs(lambda last, seed: None), tmp_path)
    assert (of.up_to, of.verdict, of.reach) == (cell.lengths, "interference", 2)


def test_an_interval_that_decides_nothing_is_not_passed_over(by_length, tmp_path):
    """Or the length would be chosen for its verdict."""
    rule = needs(lambda last, seed: 540 if last == 7 else 30)
    of = found(by_length, rule, tmp_path)
    assert of.up_to == by_length.lengths
    assert of.verdict in ("not-identified", "isolated")
    assert of.verdict_of((2, 3, 4, 5)) == "sharing"


def test_a_model_that_learns_nothing_has_no_reach(by_length, tmp_path):
    of = found(by_length, lambda trial: "unfit", tmp_path)
    assert of.reach_by_seed == [None] * 3
    assert (of.reach, reach_text(of), of.verdict) == (None, "none", "not-learned")
    assert of.up_to == by_length.lengths


def test_one_length_learned_alone_is_a_reach(by_length, tmp_path):
    of = found(by_length, needs(lambda last, seed: None), tmp_path)
    assert of.reach == 2


def test_the_lower_of_two_seeds_counts(by_length, tmp_path):
    cell = changed(by_length, seeds=(1, 2))
    rule = needs(lambda last, seed: 40 if last <= 4 + 2 * seed else None)
    assert found(cell, rule, tmp_path).reach == 6


def test_without_it_only_all_lengths_are_searched_together(wide, tmp_path):
    of = found(wide, needs(lambda last, seed: 40), tmp_path)
    assert {lengths for lengths, _ in of.searches} == {*wide.alone, wide.joint}
    assert (of.reach_by_seed, of.reach) == ([], None)
    assert "reach" not in headline(of)


def test_it_is_the_same_whatever_runs_at_once(by_length, tmp_path):
    rule = needs(lambda last, seed: 40 if last <= 5 else None)
    documents = []
    for i, capacity in enumerate((1, 30)):
        executor = FakeExecutor(rule, capacity, random.Random(i), cohort=1 + 4 * i)
        with Store(tmp_path / str(i)) as store:
            documents.append(stable(document(run(by_length, store, executor).progress)))
    driver, ran = broken_off(by_length, rule, (1, 9, 30, 60), tmp_path / "broken")
    assert len(set(ran)) == len(ran)
    documents.append(stable(document(driver.progress)))
    assert all(of == documents[0] for of in documents)


def test_a_document_holds_kappa_by_length_and_reach(by_length, tmp_path):
    rule = needs(lambda last, seed: 40 if last <= 5 else None)
    with Store(tmp_path) as store:
        (of,) = document(run(by_length, store, FakeExecutor(rule)).progress)["results"]
    assert list(of["by_length"]) == ["3", "4", "5", "6", "7"]
    assert of["kappa"] == of["by_length"]["5"]["kappa"]
    assert of["kappa"]["up_to"] == 5
    assert of["by_length"]["7"]["n_star"] == of["n_star"]["joint"]
    assert of["by_length"]["6"]["n_star"]["failures"].keys() == {"memorised"}
    assert of["reach"] == {
        "median": 5,
        "each_seed": [{"seed": seed, "length": 5} for seed in (1, 2, 3)],
    }
    assert of["by_length"]["5"]["n_star"]["per_seed"][0]["recipe"] == "adam-0.003"


def test_a_search_begins_at_the_top_where_fewer_lengths_were_not_learned(by_length, tmp_path):
    executor = FakeExecutor(needs(lambda last, seed: None))
    with Store(tmp_path) as store:
        run(by_length, store, executor)
    for last in range(4, 8):
        sizes = [t.n_samples for t in executor.ran if t.lengths == tuple(range(2, last + 1))]
        assert set(sizes) == {by_length.protocol.search.n_max}


def test_a_search_begins_near_what_fewer_lengths_needed(by_length, tmp_path):
    executor = FakeExecutor(needs(lambda last, seed: 40))
    with Store(tmp_path) as store:
        run(by_length, store, executor)
    for last in range(4, 8):
        sizes = [t.n_samples for t in executor.ran if t.lengths == tuple(range(2, last + 1))]
        assert max(sizes) < 200


def test_the_plan_says_what_it_costs(by_length, wide, monkeypatch):
    monkeypatch.setattr("kbench.study.plan._seconds_per_step", lambda *_: 0.001)
    with_it, without = (
        plan(CellRun(cell)) for cell in (by_length, changed(by_length, protocol=wide.protocol))
    )
    assert with_it.searches - without.searches == 4 * 3
    assert without.by_length_seconds == 0
    extra = with_it.seconds - without.seconds
    assert with_it.by_length_seconds == pytest.approx(extra, rel=0.3)
