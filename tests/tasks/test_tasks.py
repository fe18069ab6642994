"""The contract of a task, for every task in the registry; then each task's own arithmetic."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest

from kbench.data.splits import universe
from kbench.data.supervision import steps_of
from kbench.errors import KbenchError
from kbench.registry import tasks
from kbench.tasks import NONE, Steps

ENUMERABLE = 3_000


def made(name, family):
    """The task of a preset, without the lengths that the preset also holds."""
    params = dict(tasks[name].preset(family))
    params.pop("lengths")
    return tasks[name].cls(**params)


def whole_universe(task, n):
    """Every sample of length n [universe, digits], spelled out."""
    return np.array(list(itertools.product(*map(range, task.radices(n)))))


def some_digits(task, n, count=500):
    """The whole universe where it is small, otherwise distinct samples from it."""
    if universe(task, n) <= ENUMERABLE:
        return whole_universe(task, n)
    drawn = np.random.default_rng(n).integers(0, task.radices(n), (count, len(task.radices(n))))
    return np.unique(drawn, axis=0)


def words(steps, k=None):
    """What has been read of each sample after k updates, or after all of them."""
    pairs = zip(steps.prompt.tolist(), steps.updates[:, :k].tolist(), strict=True)
    return [
        tuple(t for t in [*prompt, *sum(updates, [])] if t != NONE) for prompt, updates in pairs
    ]


PRESETS = [(name, family) for name in tasks.names() for family in tasks[name].presets]
every_task = pytest.mark.parametrize(
    "task", [made(*preset) for preset in PRESETS], ids=["-".join(preset) for preset in PRESETS]
)
LENGTHS = (1, 2, 3, 5, 8, 13)


@pytest.mark.parametrize("name", tasks.names())
def test_presets_name_a_range_of_lengths_and_make_a_frozen_task(name):
    assert tasks[name].presets
    for family, preset in tasks[name].presets.items():
        first, last = preset["lengths"]
        assert 1 <= first < last
        task = made(name, family)
        parameter = dataclasses.fields(task)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(task, parameter, getattr(task, parameter))


@every_task
def test_a_task_survives_the_way_to_a_worker_process(task):
    assert pickle.loads(pickle.dumps(task)) == task


@every_task
@pytest.mark.parametrize("n", LENGTHS)
def test_states_are_one_per_update(task, n):
    digits = some_digits(task, n)
    steps = steps_of(task, digits, n)
    assert steps.states.shape[:2] == steps.updates.shape[:2] == (len(digits), n)
    assert len(steps.prompt) == len(steps.answers) == len(digits)
    assert (steps.updates != NONE).any(axis=2).all() and (steps.answers != NONE).any(axis=1).all()


@every_task
@pytest.mark.parametrize("n", LENGTHS)
def test_tokens_lie_inside_the_vocabulary(task, n):
    made = task.simulate(some_digits(task, n), n)
    arrays = (
        [made.prompt, made.updates, made.states, made.answers] if isinstance(made, Steps) else made
    )
    for tokens in arrays:
        assert np.issubdtype(tokens.dtype, np.integer)
        assert tokens.min(initial=0) >= (NONE if isinstance(made, Steps) else 0)
        assert tokens.max(initial=0) < task.vocab_size


@every_task
@pytest.mark.parametrize("n", LENGTHS)
def test_distinct_digits_give_distinct_inputs(task, n):
    digits = some_digits(task, n)
    assert len(set(words(steps_of(task, digits, n)))) == len(digits)


@every_task
def test_the_universe_is_the_number_of_distinct_inputs(task):
    lengths = [n for n in range(1, 9) if universe(task, n) <= ENUMERABLE]
    if not lengths:
        pytest.skip("no universe of this preset is small enough to spell out")
    for n in lengths:
        steps = steps_of(task, whole_universe(task, n), n)
        assert universe(task, n) == len(set(words(steps)))


@every_task
@pytest.mark.parametrize("n", LENGTHS)
def test_a_state_depends_on_nothing_after_its_update(task, n):
    # Otherwise `aligned` would ask for what a causal model cannot know.
    steps = steps_of(task, some_digits(task, n), n)
    for k in range(1, n + 1):
        seen = {}
        for prefix, s in zip(words(steps, k), steps.states[:, k - 1].tolist(), strict=True):
            assert seen.setdefault(prefix, s) == s


@every_task
@pytest.mark.parametrize("n", LENGTHS)
def test_the_answer_is_not_the_same_for_all(task, n):
    answers = steps_of(task, some_digits(task, n), n).answers
    assert len(set(map(tuple, answers.tolist()))) > 1


@every_task
@pytest.mark.parametrize("n", LENGTHS)
def test_a_sample_depends_on_its_own_digits_alone(task, n):
    digits = some_digits(task, n)[:50]
    untouched = digits.copy()
    together = steps_of(task, digits, n)
    assert (digits == untouched).all()
    # narrow digits too: small universes come as int64, large ones as int32
    for i in range(len(digits)):
        alone = steps_of(task, digits[i : i + 1].astype(np.int32), n)
        for part in ("prompt", "updates", "states", "answers"):
            assert getattr(alone, part).tolist() == [getattr(together, part)[i].tolist()]


def slow_modadd(x, m):
    """Count up to the token one by one, as on a clock face of m hours."""
    hand, states = 0, []
    for token in x:
        for _ in range(token):
            hand = 0 if hand == m - 1 else hand + 1
        states.append(hand)
    return states


@pytest.mark.parametrize(("m", "n"), [(2, 12), (3, 7), (5, 10), (100, 30)])
def test_modadd_agrees_with_a_clock(m, n):
    digits = np.random.default_rng(m).integers(0, m, (2_500, n))
    inputs, states = tasks["modadd"].cls(m=m).simulate(digits, n)
    assert inputs.tolist() == digits.tolist()
    assert states.tolist() == [slow_modadd(x, m) for x in digits.tolist()]


def test_modadd_on_the_example_of_its_docstring():
    inputs, states = tasks["modadd"].cls(m=5).simulate(np.array([[3, 4, 1]]), 3)
    assert (inputs.tolist(), states.tolist()) == ([[3, 4, 1]], [[3, 2, 3]])


@pytest.mark.parametrize("m", [2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_modadd_has_every_word_over_its_residues(m, n):
    task = tasks["modadd"].cls(m=m)
    inputs, _ = task.simulate(whole_universe(task, n), n)
    assert set(map(tuple, inputs.tolist())) == set(itertools.product(range(m), repeat=n))
    assert universe(task, n) == m**n


def test_modadd_counts_universes_of_any_size():
    assert universe(tasks["modadd"].cls(m=100), 500) == 10**1000


@pytest.mark.parametrize("m", [-1, 0, 1, 2.5])
def test_modadd_refuses_a_modulus_that_makes_no_sense(m):
    with pytest.raises(KbenchError, match=f"modadd: m .*{m}") as refused:
        tasks["modadd"].cls(m=m)
    assert "\n" not in str(refused.value)
