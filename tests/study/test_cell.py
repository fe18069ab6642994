"""The study: searches wired to data, store and executor."""

import dataclasses
import random

import pytest
from conftest import FakeExecutor, changed, made_up

from kbench.report.document import document_of, plain
from kbench.statistics.brackets import Bracket
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.driver import Driver, Progress, recall
from kbench.study.searches import CellRun
from kbench.study.store import Store

THRESHOLDS = {2: 5, 3: 20, 4: 33, 5: 50, 6: 80, 7: 120}


def rule(trial, factor=1.0):
    """Known thresholds, a little different for each seed; only the last learning rate passes."""
    lengths = trial.lengths
    threshold = THRESHOLDS[lengths[0]] if len(lengths) == 1 else sum(THRESHOLDS.values()) / 2
    threshold *= factor * (1 + 0.2 * trial.seed)
    ok = trial.n_samples >= threshold and trial.recipe.learning_rate == 1e-3
    return "passed" if ok else "failed"


def run(cell, store, executor):
    driver = Driver([cell], store, executor)
    for _ in driver.run():
        pass
    return driver


def broken_off(cell, rule, stops, folder):
    """Run again and again, each time until so many trials have ended: the last driver, all keys."""
    ran = []
    for stop_after in (*stops, None):
        executor = FakeExecutor(rule)
        with Store(folder) as store:
            driver = Driver(
                [cell], store, executor, lambda e=executor, n=stop_after: len(e.ran) == n
            )
            for _ in driver.run():
                pass
        ran += [t.key() for t in executor.ran]
    return driver, ran


def document(progress):
    """Of the cells, as JSON has it."""
    return plain(document_of(progress))


def stable(doc):
    """The document without what this command alone did."""
    (result,) = doc["results"]
    result = {k: v for k, v in result.items() if k != "wall_s"}
    result["trials"] = {k: v for k, v in result["trials"].items() if k not in ("run", "reused")}
    return result


def test_every_bracket_holds_the_threshold(wide, tmp_path):
    with Store(tmp_path) as store:
        cell_run = run(wide, store, FakeExecutor(rule)).progress[0].run
    assert cell_run.complete
    for n, threshold in THRESHOLDS.items():
        for seed, bracket in zip(wide.seeds, cell_run.brackets((n,)), strict=True):
            assert bracket.low is None or bracket.low < threshold * (1 + 0.2 * seed)
            assert bracket.high >= threshold * (1 + 0.2 * seed) or bracket.censored == "right"


def test_a_small_universe_that_runs_out_bounds_a_length_but_not_the_joint_search(wide, tmp_path):
    with Store(tmp_path) as store:
        cell_run = run(wide, store, FakeExecutor(lambda t: "failed")).progress[0].run
    # m = 3, n = 3: 27 samples, of which 5 validate.
    assert set(cell_run.brackets((3,))) == {Bracket(low=22, high=27, censored="right")}
    assert {(b.high, b.censored) for b in cell_run.brackets(wide.lengths)} == {(None, "right")}


def test_n_max_leaves_a_length_unbounded(wide, tmp_path):
    cell = changed(wide, task_params={"m": 10})
    with Store(tmp_path) as store:
        cell_run = run(cell, store, FakeExecutor(lambda t: "failed")).progress[0].run
    n_max = cell.protocol.search.n_max
    assert set(cell_run.brackets((7,))) == {Bracket(low=n_max, high=None, censored="right")}


def test_a_universe_too_small_to_validate_is_bounded_by_enumeration(cell, tmp_path):
    # m = 2, n = 2: four samples, of which 20 % is none.
    cell = changed(cell, lengths=(2, 3, 4))
    with Store(tmp_path) as store:
        cell_run = run(cell, store, FakeExecutor(lambda t: "passed")).progress[0].run
    assert set(cell_run.brackets((2,))) == {Bracket(low=None, high=4, censored="right")}
    assert cell_run.complete


def test_cell_survives_the_store(wide):
    import json

    assert Cell.from_spec(json.loads(json.dumps(wide.spec()))) == wide


def test_json_contract(wide, tmp_path):
    with Store(tmp_path) as store:
        doc = document(run(wide, store, FakeExecutor(rule)).progress)
    assert doc["schema_version"] == 4
    (result,) = doc["results"]
    assert {
        "model", "task", "task_params", "supervision", "protocol", "n_star", "kappa",
        "monotonicity_violations", "trials", "wall_s", "environment",
    } <= set(result)  # fmt: skip
    assert set(result["n_star"]) == {"2", "3", "4", "5", "6", "7", "joint"}
    entry = result["n_star"]["joint"]
    assert set(entry) == {"low", "high", "censored", "over_seeds", "per_seed", "failures"}
    assert set(entry["over_seeds"]) == {"estimate", "low", "high"}
    assert entry["failures"].keys() == {"unknown"}  # made-up runs do not say why they fail
    of_seed = {"seed", "low", "high", "censored", "recipe"}
    assert [set(s) for s in entry["per_seed"]] == [of_seed] * 3
    assert {s["recipe"] for s in entry["per_seed"]} == {"adam-0.001"}
    kappa = result["kappa"]
    assert set(kappa) == {
        "up_to", "over_seeds", "each_seed", "memorised_share", "verdict", "best_of_grid",
    }  # fmt: skip
    assert kappa["up_to"] == 7
    assert (result["by_length"], result["reach"]) == ({}, None)
    assert set(kappa["best_of_grid"]) == {"low", "high"}
    assert set(kappa["over_seeds"]) == {"estimate", "low", "high", "confidence", "seeds"}
    assert [set(s) for s in kappa["each_seed"]] == [{"seed", "low", "high"}] * 3
    assert {"run", "reused", "steps"} <= set(result["trials"])
    assert result["environment"] == {"torch": "2"}


def test_a_changed_environment_is_told(wide, tmp_path):
    versions = iter(range(10_000))
    with Store(tmp_path) as store:
        cell_run = CellRun(wide)
        while wanted := cell_run.wanted():
            result = made_up(rule(wanted[0]), environment={"torch": f"2.{next(versions) % 2}"})
            store.put(wanted[0], result)
            cell_run.tell(wanted[0], result)
        driver = run(wide, store, FakeExecutor(rule))
    assert document(driver.progress)["results"][0]["environment"] == {"torch": ["2.0", "2.1"]}


def test_steering_changes_where_a_search_starts_and_not_what_it_concludes(wide):
    """Every start gives the bracket of the grid that holds the threshold."""
    from kbench.study.searches import SeedSearch

    for threshold in (7, 33, 150):
        found = set()
        for guess in (None, 1, 10, 40, 100, 500, 5000):
            search = SeedSearch(wide, (6,), guess).search
            while probes := search.ask():
                passed = probes[0].n_samples >= threshold
                search.tell(
                    Probe(n_samples=probes[0].n_samples, recipe=probes[0].recipe),
                    "passed" if passed else "failed",
                )
            found.add(search.bracket)
        assert len(found) == 1


# Distributions


@pytest.mark.parametrize("distribution", ["fixed", "uniform", "short-to-long"])
def test_under_a_distribution_there_is_one_search_per_seed_and_no_sharing_factor(
    distribution, wide, tmp_path
):
    cell = changed(wide, distribution=distribution)
    executor = FakeExecutor(lambda t: "passed" if t.n_samples >= 40 * t.seed else "failed")
    with Store(tmp_path) as store:
        (result,) = document(run(cell, store, executor).progress)["results"]
    lengths = (7,) if distribution == "fixed" else wide.lengths
    assert {(t.lengths, t.distribution) for t in executor.ran} == {(lengths, distribution)}
    assert (result["distribution"], result["kappa"]) == (distribution, None)
    assert set(result["n_star"]) == {"joint"}
    for found, seed in zip(result["n_star"]["joint"]["per_seed"], wide.seeds, strict=True):
        assert found["low"] < 40 * seed <= found["high"]


def test_the_joint_search_of_kappa_is_the_one_under_uniform_and_its_longest_the_fixed_one(
    wide, tmp_path
):
    with Store(tmp_path) as store:
        whole = run(wide, store, FakeExecutor(rule)).progress[0].run
        for distribution, lengths in (("uniform", wide.lengths), ("fixed", (7,))):
            executor = FakeExecutor(rule)
            alone = run(changed(wide, distribution=distribution), store, executor).progress[0].run
            assert alone.brackets(lengths) == whole.brackets(lengths)
            # A search that starts elsewhere ends in the same place; from its own start, for free.
            assert executor.ran == [] or distribution == "fixed"


def test_even_all_of_a_length_is_bounded_by_its_universe_under_fixed(wide, tmp_path):
    cell = changed(wide, lengths=(2, 3), distribution="fixed")
    with Store(tmp_path) as store:
        cell_run = run(cell, store, FakeExecutor(lambda t: "failed")).progress[0].run
    assert set(cell_run.brackets((3,))) == {Bracket(low=22, high=27, censored="right")}


# Extrapolation


def beyond(cell, store, executor):
    driver = run(cell, store, executor)
    (result,) = document(driver.progress)["results"]
    assert result["complete"]
    return result["extrapolation"], [t for t in executor.ran if t.tested]


def test_the_models_at_the_smallest_passing_and_at_the_largest_n_are_tested(wide, tmp_path):
    cell = changed(wide, extrapolate=(14, 500))
    with Store(tmp_path) as store:
        found, ran = beyond(cell, store, FakeExecutor(rule))
        plain = run(wide, store, FakeExecutor(rule)).progress[0].run
    assert {(t.tested, t.lengths) for t in ran} == {((14, 500), wide.lengths)}
    for seed, bracket in zip(wide.seeds, plain.brackets(wide.lengths), strict=True):
        smallest, largest = [entry for entry in found if entry["seed"] == seed]
        assert (smallest["model_of"], smallest["n_samples"]) == ("smallest to pass", bracket.high)
        assert smallest["learning_rate"] == 1e-3  # the only one that passes
        assert smallest["outcome"] == "passed"
        tried = plain.searches[wide.lengths, seed].search._outcomes
        assert (largest["model_of"], largest["n_samples"]) == ("largest tried", max(tried))
        assert smallest["reproduced"] is largest["reproduced"] is True


def test_where_nothing_passes_the_model_of_the_least_loss_is_tested(wide, tmp_path):
    cell = changed(wide, extrapolate=(14,))
    losses = {3e-3: 0.7, 1e-3: 0.3}

    class Executor(FakeExecutor):
        def finished(self):
            (done,) = super().finished()
            result = dataclasses.replace(
                done.result, best_loss=losses[done.trial.recipe.learning_rate]
            )
            return [dataclasses.replace(done, result=result)]

    with Store(tmp_path) as store:
        found, ran = beyond(cell, store, Executor(lambda t: "failed"))
    assert {(t.n_samples, t.recipe.learning_rate) for t in ran} == {(2624, 1e-3)}
    assert {entry["model_of"] for entry in found} == {"largest tried"}
    assert len(ran) == len(wide.seeds)


def test_what_is_tested_does_not_depend_on_how_many_run_at_once(wide, tmp_path):
    cell = changed(wide, extrapolate=(14,))

    def either(trial):  # both learning rates may pass, so that who comes first could matter
        threshold = 60 * trial.seed * (2 if trial.recipe.learning_rate == 3e-3 else 1)
        return "passed" if trial.n_samples >= threshold else "failed"

    seen = []
    for i, capacity in enumerate((1, 2, 7, 40)):
        with Store(tmp_path / str(i)) as store:
            found, _ = beyond(cell, store, FakeExecutor(either, capacity, random.Random(i)))
        seen.append([{k: v for k, v in entry.items() if k != "reproduced"} for entry in found])
    assert all(s == seen[0] for s in seen)


def test_a_test_that_ends_otherwise_is_said_to_and_one_that_breaks_costs_nothing_else(
    wide, tmp_path
):
    cell = changed(wide, extrapolate=(14,))
    with Store(tmp_path / "a") as store:
        found, _ = beyond(cell, store, FakeExecutor(lambda t: "failed" if t.tested else rule(t)))
    assert {entry["reproduced"] for entry in found} == {False}
    with Store(tmp_path / "b") as store:
        driver = run(cell, store, FakeExecutor(lambda t: "error" if t.tested else rule(t)))
        (result,) = document(driver.progress)["results"]
        assert result["complete"]
        assert len(result["errors"]) == len({e.partition(": failed")[0] for e in result["errors"]})
        assert all(line.startswith("test of lengths 2+3+4+5+6+7") for line in result["errors"])
        untested = document(run(wide, store, FakeExecutor(rule)).progress)["results"][0]
        assert (untested["kappa"], untested["errors"]) == (result["kappa"], [])


def test_tests_are_resumed_and_leave_the_digest_of_the_searches_as_it_is(wide, tmp_path):
    cell = changed(wide, extrapolate=(14,))
    with Store(tmp_path) as store:
        first = document(run(wide, store, FakeExecutor(rule)).progress)["results"][0]
        executor = FakeExecutor(rule)
        (again,) = document(run(cell, store, executor).progress)["results"]
        assert all(t.tested for t in executor.ran)
        nothing = FakeExecutor(rule)
        run(cell, store, nothing)
    assert nothing.ran == []
    assert again["trials"]["digest"] == first["trials"]["digest"]


def test_a_stored_result_is_shown_without_its_task(wide, tmp_path, monkeypatch):
    from kbench import registry

    with Store(tmp_path) as store:
        whole = document(run(wide, store, FakeExecutor(rule)).progress)
        monkeypatch.setattr(registry.Registry, "__getitem__", None)
        cell_run = CellRun(Cell.from_spec(store.cells()[0]))
        recall(cell_run, store)
    assert cell_run.complete
    assert stable(document([Progress(run=cell_run)])) == stable(whole)


def test_a_sharing_factor_does_not_wait_for_the_tests(wide, tmp_path):
    cell = changed(wide, extrapolate=(14,))
    with Store(tmp_path) as store:
        whole = document(run(wide, store, FakeExecutor(rule)).progress)["results"][0]
        cell_run = CellRun(cell)
        recall(cell_run, store)
    part = document([Progress(run=cell_run)])["results"][0]
    assert (cell_run.searched, cell_run.complete) == (True, False)
    assert (part["complete"], part["kappa"]) == (False, whole["kappa"])


@pytest.fixture
def likeliest(wide):
    search = dataclasses.replace(wide.protocol.search, likeliest_first=True)
    return changed(wide, protocol=dataclasses.replace(wide.protocol, search=search))


def test_the_recipe_that_passed_where_a_search_starts_from_is_tried_first(
    likeliest, wide, tmp_path
):
    """Only the last recipe ever passes: the first is tried in vain where nothing is known yet."""
    ran, found = {}, {}
    for name, cell in (("as listed", wide), ("likeliest", likeliest)):
        executor = FakeExecutor(rule)
        with Store(tmp_path / name) as store:
            found[name] = run(cell, store, executor).progress[0].run
        ran[name] = executor.ran
    for lengths in (*wide.alone, wide.joint):
        both = [of.brackets(lengths) for of in found.values()]
        assert both[0] == both[1]
    in_vain = {
        name: sum(t.recipe.learning_rate == 3e-3 and rule(_with(t, 1e-3)) == "passed" for t in of)
        for name, of in ran.items()
    }
    first = {((2,), 1), (wide.joint, 1)}  # which take their start from no other
    expected = sum(
        t.recipe.learning_rate == 3e-3 and rule(_with(t, 1e-3)) == "passed"
        for t in ran["likeliest"]
        if (t.lengths, t.seed) in first
    )
    assert in_vain["likeliest"] == expected < in_vain["as listed"] / 3


def _with(trial, rate):
    return dataclasses.replace(trial, recipe=dataclasses.replace(trial.recipe, learning_rate=rate))


def test_the_order_of_recipes_does_not_depend_on_what_runs_at_once(likeliest, tmp_path):
    cell = changed(likeliest, extrapolate=(20,))
    documents = []
    for i, capacity in enumerate((1, 30)):
        executor = FakeExecutor(rule, capacity, random.Random(i), cohort=1 + 4 * i)
        with Store(tmp_path / str(i)) as store:
            documents.append(stable(document(run(cell, store, executor).progress)))
        tested = [t for t in executor.ran if t.tested and rule(_with(t, 1e-3)) == "passed"]
        assert {t.recipe.learning_rate for t in tested} == {1e-3}, "what passed is what is tested"
    driver, ran = broken_off(cell, rule, (1, 7, 20, 40), tmp_path / "broken")
    assert len(set(ran)) == len(ran)
    documents.append(stable(document(driver.progress)))
    assert all(of == documents[0] for of in documents)


def test_a_first_kappa_waits_for_no_longer_length_than_its_own(wide, tmp_path):
    cell = changed(wide, seeds=(1,), protocol=dataclasses.replace(wide.protocol, by_length=True))
    executor = FakeExecutor(rule, capacity=1)
    with Store(tmp_path) as store:
        run(cell, store, executor)
    ran = [trial.lengths for trial in executor.ran]
    for together in cell.together:
        last = max(i for i, lengths in enumerate(ran) if lengths == together)
        longer = [i for i, lengths in enumerate(ran) if lengths[-1] > together[-1]]
        assert last < min(longer, default=len(ran)), together


def test_a_run_that_was_stopped_before_its_tests_can_be_shown(wide, tmp_path):
    executor = FakeExecutor(rule)
    with Store(tmp_path) as store:
        driver = Driver([changed(wide, extrapolate=(14,))], store, executor,
                        lambda: any(t.tested for t in executor.ran))  # fmt: skip
        for _ in driver.run():
            pass
        (result,) = plain(document_of(driver.progress, store))["results"]
    assert not result["complete"]
    assert sum(bool(trial["tested"]) for trial in result["trials"]["each"]) == 1
