"""Comparison of two result sets: what is the same, what gives alarm, and how often by chance."""

import itertools
import math

import pytest
from made_results import (
    BROKEN,
    INCONCLUSIVE,
    REGRESSION,
    SAME,
    SEEDS,
    behaving_otherwise,
    bracket,
    compared,
    read_cell,
    result,
    rows,
    times,
)

from kbench.regression.compare import compare, gravest

# By digest


def test_equal_digests_are_the_same_without_statistics():
    found = compared(result(), result())
    assert found.verdict == SAME
    assert found.cells[0].rows == ()
    assert "10 trials bit for bit" in found.cells[0].notes[0]


def test_without_trials_the_digest_over_all_of_them_counts():
    base = result()
    del base["trials"]["each"]
    assert compared(base, base).verdict == SAME
    assert rows(
        compared(base, behaving_otherwise(base | {"trials": base["trials"] | {"each": []}}))
    )


def test_a_source_of_ones_own_that_behaves_alike_is_the_same():
    base, head = (result(model_version=f"sha256:{x}") for x in "ab")
    for row in head["trials"]["each"]:
        row["key"] += " of another version"
    assert compared(base, head).verdict == SAME


def test_other_data_for_equal_specs_is_an_alarm_whatever_came_of_it():
    head = result()
    head["trials"]["each"][3]["data_sha256"]["train"] = "other"
    found = compared(result(), head)
    assert found.verdict == REGRESSION
    assert found.cells[0].notes == (
        "data changed: 1 of 10 trials with equal specs had other data, "
        "first lengths 4, seed 2, N = 60",
    )


def test_a_task_of_ones_own_may_be_edited_to_have_other_data():
    base, head = (result(task_version=f"sha256:{x}") for x in "ab")
    head = behaving_otherwise(head, data_sha256={"train": "other"})
    assert rows(compared(base, head))


def test_one_changed_trial_leads_on_to_statistics():
    head = result()
    head["trials"]["each"][3]["digest"] = "other"
    found = compared(result(), head)
    assert found.verdict == SAME
    assert found.cells[0].notes[0] == "behaviour changed in 1 of 10 trials that both sides have"
    assert set(rows(found)) == {"N* n = 4", "N* n = 5", "N* alone", "N* joint", "κ", "steps"}


def test_a_trial_that_only_one_side_asked_for_leads_on_to_statistics():
    for short in itertools.product((True, False), repeat=2):
        sides = [result(), result()]
        for side, cut in zip(sides, short, strict=True):
            del side["trials"]["each"][:cut]
        assert bool(compared(*sides).cells[0].rows) == (short[0] != short[1])


def test_it_says_what_else_differs():
    head = behaving_otherwise(result(environment={"torch": "2.1", "model_source": "b"}))
    notes = compared(result(environment={"torch": "2.0", "model_source": "a"}), head).cells[0].notes
    assert notes[1:] == ("model source differs", "torch 2.0 → 2.1")


# Broken


def test_the_gravest_decides():
    assert gravest([]) == SAME
    assert gravest([SAME, INCONCLUSIVE]) == INCONCLUSIVE
    assert gravest([REGRESSION, INCONCLUSIVE, SAME]) == REGRESSION
    assert gravest([REGRESSION, BROKEN, INCONCLUSIVE]) == BROKEN


BREAKS = {
    "trial left out, it broke": {"errors": ["it broke"]},
    "not complete": {"complete": False},
    "fails the check `causal`": {"checks_failed": ["causal"]},
    "version 1 of the model against 2": {"model_version": 2},
    "version 1 of the task against 2": {"task_version": 2},
    "version 1 of the model against sha256:a": {"model_version": "sha256:a"},
    "two specs": {"size": {"width": 32}},
}


@pytest.mark.parametrize("said", BREAKS)
def test_what_cannot_be_compared_is_broken(said):
    found = compared(result(), result(**BREAKS[said]))
    assert found.verdict == BROKEN
    assert said in found.cells[0].notes[0]


def test_keys_tell_protocols_of_one_name_apart():
    head = result()
    head["trials"]["each"][0]["key"] = "other"
    assert compared(result(), head).verdict == BROKEN


def test_no_seed_in_common_is_broken():
    found = compared(result(), result(seeds=(6, 7, 8, 9, 10)))
    assert (found.verdict, found.cells[0].notes) == (BROKEN, ("no seed in common",))


def test_nothing_in_common_says_what_differs():
    found = compared(result(), result(protocol="cpu-2"))
    assert found.verdict == BROKEN
    assert found.notes[0] == "no cell in common: protocol quick-1 against protocol cpu-2"


def test_a_cell_that_head_lacks_is_broken_and_one_that_it_has_more_is_not():
    one, other = read_cell(result()), read_cell(result(supervision="cot"))
    assert compare([one, other], [one]).verdict == BROKEN
    found = compare([one], [one, other])
    assert (found.verdict, len(found.notes)) == (SAME, 1)


# By statistics


@pytest.mark.parametrize(
    ("factor", "verdict", "finding"),
    [
        (1.05, SAME, "same"),
        (1.5, INCONCLUSIVE, "inconclusive"),
        (1 / 1.5, INCONCLUSIVE, "inconclusive"),
        (3, REGRESSION, "worse"),
        (1 / 3, REGRESSION, "better"),
    ],
)
def test_n_star_beyond_the_tolerance_either_way_is_an_alarm(factor, verdict, finding):
    head = behaving_otherwise(result(times(factor), times(factor, (50, 55, 60, 52, 70))))
    found = compared(result(), head)
    assert found.verdict == verdict
    of = rows(found)
    assert {of[name].finding for name in ("N* alone", "N* joint")} == {finding}
    assert of["κ"].finding == "same"
    assert of["N* joint"].low < factor < of["N* joint"].high


def test_kappa_up_is_better_and_down_is_worse():
    for factor, finding in ((3, "worse"), (1 / 3, "better")):
        head = behaving_otherwise(result(joint=times(factor, (50, 55, 60, 52, 70))))
        assert rows(compared(result(), head))["κ"].finding == finding


def test_a_learning_rate_that_n_star_does_not_feel_shows_in_the_steps():
    found = compared(result(), behaving_otherwise(result(), steps=440))
    assert found.verdict == REGRESSION
    assert {n for n, row in rows(found).items() if row.verdict == REGRESSION} == {"steps"}
    assert rows(found)["steps"].finding == "worse"


def test_steps_are_those_of_trials_that_pass_on_both_sides():
    base, head = result(), behaving_otherwise(result())
    for i, row in enumerate(head["trials"]["each"]):
        if i % 2:
            row |= {"outcome": "failed", "steps": 1500}
    assert rows(compared(base, head))["steps"].finding == "same"


def test_steps_are_known_only_to_the_interval_of_validation():
    base, head = behaving_otherwise(result(), steps=20), behaving_otherwise(result(), steps=40)
    head["trials"]["digest"] += " too"
    for row in head["trials"]["each"]:
        row["digest"] += " too"
    assert rows(compared(base, head))["steps"].verdict == INCONCLUSIVE


def test_a_single_length_can_only_give_alarm():
    head = result()
    head["n_star"]["5"]["per_seed"] = [
        {"seed": s, **bracket(n)} for s, n in zip(SEEDS, times(1.45), strict=True)
    ]
    found = rows(compared(result(), behaving_otherwise(head)))
    assert (found["N* n = 5"].verdict, found["N* n = 5"].finding) == (SAME, "no alarm")
    head["n_star"]["5"]["per_seed"] = [
        {"seed": s, **bracket(n)} for s, n in zip(SEEDS, times(4), strict=True)
    ]
    found = rows(compared(result(), behaving_otherwise(head)))
    assert found["N* n = 5"].verdict == REGRESSION


def test_inconclusive_says_the_command_that_adds_seeds():
    head = behaving_otherwise(result(times(1.5)))
    assert compared(result(), head).commands == (
        "kbench run --model lstm --task modadd --supervision aligned --protocol quick-1 "
        "--lengths 4-5 --set m=3 --seeds 10",
    )
    canary = [read_cell(of, "kbench canary --model mine.py:Mine") for of in (result(), head)]
    assert compare(canary[:1], canary[1:]).commands == (
        "kbench canary --model mine.py:Mine --seeds 10",
    )


def test_seeds_are_paired_and_those_of_one_side_only_are_named():
    base = result()
    more = (40, 50, 45, 42, 60, 900, 900)
    head = behaving_otherwise(result(more, more, seeds=(1, 2, 3, 4, 5, 6, 7)))
    found = compared(base, head)
    assert rows(found)["N* alone"].seeds == 5
    assert rows(found)["N* alone"].finding == "same"
    assert "5 seeds in common, of 5 and 7" in found.cells[0].notes
    assert rows(compared(head, base))["N* alone"].seeds == 5


# Censored sides


def test_a_side_beyond_the_largest_size_is_a_bound():
    joint = (50, 55, 60, 52, 70)
    bounded, beyond = result(joint=joint), result(joint=(None,) * 5)
    worse = rows(compared(bounded, behaving_otherwise(beyond)))["N* joint"]
    assert (worse.verdict, worse.finding, worse.high) == (REGRESSION, "worse", math.inf)
    assert worse.low == pytest.approx(1001 / math.prod(joint) ** 0.2, rel=0.4)
    better = rows(compared(beyond, behaving_otherwise(bounded)))["N* joint"]
    assert (better.verdict, better.finding, better.low) == (REGRESSION, "better", 0)
    near = [*joint[:4], None]
    one = rows(compared(bounded, behaving_otherwise(result(joint=near))))["N* joint"]
    assert (one.verdict, one.high, one.seeds) == (INCONCLUSIVE, math.inf, 5)


def test_kappa_of_a_censored_joint_search_is_bounded_as_well():
    head = behaving_otherwise(result(joint=(None,) * 5))
    row = rows(compared(result(), head))["κ"]
    assert (row.verdict, row.finding, row.low) == (REGRESSION, "worse", 0)


def test_beyond_the_largest_size_on_both_sides_is_the_same_and_said():
    base, head = (result(joint=(None,) * 5) for _ in range(2))
    found = rows(compared(base, behaving_otherwise(head)))
    for name in ("N* joint", "κ"):
        assert found[name].verdict == SAME
        assert "on both sides" in found[name].finding
    some = result(joint=(50, 55, 60, None, None))
    row = rows(compared(some, behaving_otherwise(some)))["N* joint"]
    assert (row.seeds, row.finding) == (
        3,
        "same (2 of 5 seeds beyond the largest N on both sides)",
    )


def test_a_length_beyond_the_largest_size_on_both_sides_leaves_the_others():
    base, head = result(), behaving_otherwise(result(times(3)))
    for side in (base, head):
        side["n_star"]["4"]["per_seed"] = [{"seed": s, **bracket(None)} for s in SEEDS]
    row = rows(compared(base, head))["N* alone"]
    assert (row.finding, row.seeds) == ("worse", 5)


def test_a_single_seed_decides_nothing():
    base, head = (result((n,), (n,), seeds=(1,)) for n in (50, 500))
    assert compared(base, behaving_otherwise(head)).verdict == INCONCLUSIVE
