"""What a run says in the end: what it found, in words, and a command that makes sense."""

import dataclasses

import pytest
from conftest import FakeExecutor, board_cell

from kbench.cli.epilogue import found, what_next
from kbench.study.driver import Driver
from kbench.study.store import Store

WORDS = ["run", "--model", "lstm", "--task", "modadd"]
RULES = {
    "sharing": lambda trial: "passed" if trial.n_samples >= 8 else "memorised",
    "not-learned": lambda trial: "memorised",
    "interference": lambda trial: (
        "passed" if trial.n_samples >= (40 if len(trial.lengths) > 1 else 2) else "memorised"
    ),
}


@pytest.fixture
def run_of(tmp_path):
    def run_of(rule, **changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with Store(folder) as store:
            driver = Driver([board_cell(extrapolate=(), **changes)], store, FakeExecutor(rule))
            for _ in driver.run():
                pass
        return driver.progress[0].run

    return run_of


def test_one_cell_is_told_in_words(run_of):
    says = {
        "sharing": "lstm on modadd m=2 under aligned shares what it learns across lengths: lengths "
        "3 to 5 together take",
        "not-learned": "did not learn lengths 3 to 5 together within 1,500 steps a run",
        "interference": "the lengths get in each other's way",
    }
    for verdict, rule in RULES.items():
        run = run_of(rule)
        assert run.verdict == verdict
        assert says[verdict] in found([run])
    drawn = run_of(RULES["sharing"], distribution="uniform")
    assert "N* under the distribution uniform is" in found([drawn])


def test_several_cells_are_counted_and_named_where_they_are_few(run_of):
    runs = [run_of(RULES["sharing"]), *[run_of(RULES["not-learned"], supervision="cot")] * 4]
    assert found(runs) == (
        "Of 5 cells 1 shares across lengths (lstm aligned) and 4 did not learn all lengths "
        "together."
    )
    assert found(runs[1:]) == "All 4 cells did not learn all lengths together."


def test_the_next_command_follows_from_the_verdict(run_of):
    sharing, failing = run_of(RULES["sharing"]), run_of(RULES["not-learned"])
    assert what_next([sharing], WORDS)[1].endswith("--task modadd --extrapolate 2x")
    tested = run_of(RULES["sharing"])
    tested.cell = dataclasses.replace(tested.cell, extrapolate=(10,))
    words = [*WORDS, "--store", "a b"]
    assert what_next([tested], words)[1] == "kbench show --store 'a b' --plot kappa.svg"
    assert what_next([failing], WORDS)[1] == "kbench show --plot curves.svg"


def test_seeds_that_do_not_decide_are_doubled_once(run_of):
    def rule(trial):
        needs = 3**trial.seed if len(trial.lengths) > 1 else 5
        return "passed" if trial.n_samples >= needs else "memorised"

    few = run_of(rule)
    assert few.verdict == "not-identified"
    assert "3 seeds do not decide" in found([few])
    few.seeds = few.seeds[:1]
    assert "1 seed does not decide" in found([few])
    few.seeds = few.cell.seeds
    text, command = what_next([few], [*WORDS, "--seeds", "3", "--quiet"])
    assert command == "kbench run --model lstm --task modadd --quiet --seeds 6"
    assert "seeds" in text
