"""Why runs failed, and what that says of N*: only memorised training sets were too small."""

import pytest
from conftest import FakeExecutor, changed
from test_cell import document, run

from kbench.statistics.brackets import Bracket
from kbench.study.driver import recall
from kbench.study.searches import CellRun
from kbench.study.store import Store


def found(cell, rule, tmp_path):
    """The cell's run, which must be the same when it is told by the store at once."""
    with Store(tmp_path) as store:
        driver = run(cell, store, FakeExecutor(rule))
        again = CellRun(cell)
        recall(again, store)
    done = driver.progress[0].run
    for lengths in (*cell.alone, cell.joint):
        assert again.brackets(lengths) == done.brackets(lengths)
    return done, document(driver.progress)["results"][0]


def joint_only(cell, rule):
    """Each length alone passes from two samples on; all together go by the rule."""

    def both(trial):
        if len(trial.lengths) == 1:
            return "passed" if trial.n_samples >= 2 else "memorised"
        return rule(trial)

    return both


def test_interference_needs_joint_runs_that_memorised(wide, tmp_path):
    cell = changed(wide, seeds=(1, 2, 3, 4, 5))
    for why, verdict in (("memorised", "interference"), ("unfit", "not-learned")):
        done, result = found(cell, joint_only(cell, lambda _, w=why: w), tmp_path / why)
        assert done.verdict == verdict
        assert result["kappa"]["verdict"] == verdict
        assert result["n_star"]["joint"]["failures"] == {why: 5}
    assert set(done.brackets(cell.joint)) == {Bracket(low=None, high=None, censored="unfit")}
    assert result["kappa"]["over_seeds"]["high"] is None
    assert result["n_star"]["joint"]["censored"] == "unfit"


def test_failures_from_before_that_was_recorded_count_as_they_did(wide, tmp_path):
    cell = changed(wide, seeds=(1, 2, 3, 4, 5))
    done, result = found(cell, joint_only(cell, lambda _: "failed"), tmp_path)
    assert done.verdict == "interference"
    assert result["n_star"]["joint"]["failures"] == {"unknown": 5}


def test_an_unfit_length_bounds_no_kappa_from_above(wide, tmp_path):
    def rule(trial):
        if trial.lengths == (7,):
            return "unfit"
        return "passed" if trial.n_samples >= 10 else "memorised"

    done, result = found(wide, rule, tmp_path)
    assert {b.censored for b in done.brackets((7,))} == {"unfit"}
    assert all(i.high is None and i.low is not None for i in done.kappa_by_seed())


def test_below_a_size_that_passes_only_memorised_ones_were_too_small(wide, tmp_path):
    def rule(trial):
        if trial.n_samples >= 100:
            return "passed"
        return "unfit" if trial.n_samples >= 40 else "memorised"

    done, _ = found(wide, rule, tmp_path)
    for bracket in done.brackets(wide.joint):
        assert bracket.high >= 100
        assert bracket.low is None or bracket.low < 40
        assert bracket.censored == ("left" if bracket.low is None else None)


def test_the_best_run_of_a_size_says_why_it_failed(wide, tmp_path):
    """Of two learning rates, the one that came closest."""
    from conftest import made_up

    run_of = CellRun(wide)
    trial = run_of.wanted()[0]
    pair = [t for t in run_of.wanted(2) if (t.lengths, t.seed) == (trial.lengths, trial.seed)]
    for each, why, loss in zip(pair, ("unfit", "memorised"), (0.2, 0.4), strict=True):
        run_of.tell(each, made_up("failed", failure=why, best_loss=loss))
    assert run_of.failures(trial.lengths) == {"unfit": 1}


@pytest.mark.parametrize("why", ["memorised", "unfit", "diverged"])
def test_the_store_keeps_why_and_the_digest_does_not_hold_it(wide, tmp_path, why):
    from conftest import made_up

    trial = CellRun(wide).wanted()[0]
    result = made_up("failed", failure=why, training_loss=0.3)
    with Store(tmp_path) as store:
        store.put(trial, result)
        assert store.get(trial.key()) == result
        assert store.endings(trial)[trial.variant].failure == why
    assert result.digest("") == made_up("failed").digest("")
