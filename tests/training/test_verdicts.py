"""When a run ends, and whether it passed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trials import TRAINING, TRIAL, a_trial

from kbench.protocol import FarOff, Futility
from kbench.training.loop import train
from kbench.training.member import Member, validation_interval


@pytest.fixture
def run_on(monkeypatch):
    """Train on made-up losses, by step, of validation and of training (0: learned by heart)."""

    def run(curve, fit=lambda step: 0.0, **changes):
        def step(self):
            self.steps += 1
            self._fit_sum += fit(self.steps)

        def see(member):
            assert member.last_validation_loss == pytest.approx(curve(member.steps), nan_ok=True)
            validated.append(member.steps)

        validated = []
        monkeypatch.setattr(Member, "step", step)
        monkeypatch.setattr(Member, "validation_loss", lambda self: curve(self.steps))
        (result,) = train([a_trial(**changes)], see)
        return result, validated

    return run


# The verdict.


def test_success_is_the_first_validation_below_eps(run_on):
    result, validated = run_on(lambda step: 0.5 if step < 30 else 0.009)
    assert (result.outcome, result.reason) == ("passed", "success")
    assert (result.steps, result.best_step, result.best_loss) == (30, 30, 0.009)
    assert validated == [10, 20, 30]


def test_a_loss_of_exactly_eps_is_no_success(run_on):
    result, _ = run_on(lambda step: 1e-2)
    assert (result.outcome, result.reason, result.steps) == ("failed", "budget", 60)


def test_the_budget_ends_with_a_validation(run_on):
    result, validated = run_on(lambda step: 1 / step, steps=25)
    assert (result.outcome, result.reason, result.steps) == ("failed", "budget", 25)
    assert validated == [10, 20, 25]
    assert (result.best_loss, result.best_step) == (1 / 25, 25)


def test_success_at_the_last_step_counts(run_on):
    result, _ = run_on(lambda step: 0.001 if step == 25 else 1.0, steps=25)
    assert (result.outcome, result.reason, result.steps) == ("passed", "success", 25)


def test_the_best_loss_is_the_smallest_not_the_last(run_on):
    result, _ = run_on(lambda step: abs(step - 30) / 100 + 0.5)
    assert (result.best_loss, result.best_step, result.steps) == (0.5, 30, 60)


PATIENT = {"futility": Futility(patience=50, slack=2.0), "steps": 200}


def falls_to_eps_by(end):
    """A straight line in log loss, from 1 to eps = 0.01 at step `end`."""
    return lambda step: 0.01 ** (step / end)


@pytest.mark.parametrize(
    ("curve", "end"),
    [
        pytest.param(lambda step: 1 + step / 100, 60, id="rises"),
        pytest.param(lambda step: 1.0, 60, id="stands still"),
        pytest.param(falls_to_eps_by(1000), 60, id="far too slow"),
        # At step s the forecast for step 200 is at twice the speed: s + 2 (200 - s) ≥ 305 of 305.
        pytest.param(falls_to_eps_by(305), 100, id="hopeless from step 95 on"),
        # log 0.5 in 50 steps is 2 % short of the way at twice the speed, log 0.49 makes it.
        pytest.param(lambda step: 1.0 if step < 60 else 0.5, 60, id="a jump just too small"),
        pytest.param(lambda step: 1.0 if step < 60 else 0.49, 70, id="a jump just enough"),
        pytest.param(lambda step: 0.06 if step == 20 else 0.7, 70, id="counts from the best loss"),
    ],
)
def test_futility_ends_a_plateau(run_on, curve, end):
    result, _ = run_on(curve, **PATIENT)
    assert (result.outcome, result.reason, result.steps) == ("failed", "futility", end)
    result, _ = run_on(curve, **PATIENT | {"futility": None})
    assert (result.reason, result.steps) == ("budget", PATIENT["steps"])


@pytest.mark.parametrize(
    ("fit", "end"),
    [
        pytest.param(lambda step: 0.6, None, id="never"),
        pytest.param(lambda step: 0.5, None, id="exactly half is not below"),
        pytest.param(lambda step: 1.0 if step <= 100 else 0.4, 150, id="from step 100"),
        pytest.param(lambda step: 6.0 if step == 44 else 0.0, 100, id="lost it once"),
        pytest.param(lambda step: 4.0 * (step % 10 == 0), 60, id="spikes, mean below"),
        pytest.param(lambda step: 6.0 * (step % 10 == 1), None, id="spikes, mean above"),
    ],
)
def test_futility_waits_until_the_training_loss_is_below_half_the_validation_loss(run_on, fit, end):
    result, _ = run_on(lambda step: 1.0, fit, **PATIENT)
    expected = ("futility", end) if end else ("budget", PATIENT["steps"])
    assert (result.outcome, result.reason, result.steps) == ("failed", *expected)


def test_futility_compares_with_the_present_validation_loss(run_on):
    result, _ = run_on(lambda step: 1.0 if step <= 100 else 2.0, lambda step: 0.8, **PATIENT)
    assert (result.reason, result.steps) == ("futility", 150)


def test_futility_remembers_the_best_loss_from_before_the_gap(run_on):
    def curve(step):
        return 0.5 if step == 20 else 0.7 if step <= 120 else 0.6

    result, _ = run_on(curve, lambda step: 1.0 if step <= 100 else 0.0, **PATIENT)
    assert (result.reason, result.steps) == ("futility", 150)


def test_futility_lets_a_run_that_is_in_time_succeed(run_on):
    result, _ = run_on(falls_to_eps_by(185), **PATIENT)
    assert (result.outcome, result.reason, result.steps) == ("passed", "success", 190)


FAR_OFF = {
    "futility": Futility(
        patience=100, slack=2.0, far_off=FarOff(patience=30, loss=0.3, by_heart=0.1)
    ),
    "steps": 200,
}


@pytest.mark.parametrize(
    ("curve", "fit", "end"),
    [
        pytest.param(lambda step: 1.0, 0.05, 40, id="far off, and stands still"),
        pytest.param(lambda step: 1 + step / 100, 0.05, 40, id="far off, and rises"),
        pytest.param(lambda step: 1.0, 0.15, 110, id="not by heart enough"),
        pytest.param(lambda step: 0.29, 0.01, 110, id="not far off"),
        pytest.param(lambda step: 0.29 if step == 20 else 1.0, 0.01, 110, id="was near once"),
        pytest.param(lambda step: 0.31 if step == 20 else 1.0, 0.01, 50, id="never near"),
        # It rises first: what counts is the pace from the least of 30 steps to that of the next.
        pytest.param(
            lambda step: 1.0 if step < 20 else 3.0 * 0.9 ** (max(step - 40, 0) / 3), 0.01, 40,
            id="rises, and is not awaited",
        ),
        pytest.param(falls_to_eps_by(305), 0.0, 110, id="near before it is too slow"),
    ],
)  # fmt: skip
def test_a_run_that_is_far_off_is_ended_sooner(run_on, curve, fit, end):
    result, _ = run_on(curve, lambda step: fit, **FAR_OFF)
    assert (result.outcome, result.reason, result.steps) == ("failed", "futility", end)


def test_a_run_that_is_far_off_and_fast_enough_is_let_go_on(run_on):
    result, _ = run_on(lambda step: 9.0 * 0.25 ** (step / 30), lambda step: 0.0, **FAR_OFF)
    assert (result.outcome, result.steps) == ("passed", 150)


def test_a_run_that_was_far_off_has_memorised_its_training_set_or_would_have(run_on):
    for fit, failure in ((falls_to_eps_by(150), "memorised"), (lambda step: 0.05, "unfit")):
        result, _ = run_on(lambda step: 3.0, fit, **FAR_OFF)
        assert (result.reason, result.failure) == ("futility", failure)
        assert result.steps < 110


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run(run_on, loss):
    result, _ = run_on(lambda step: 0.7 if step < 20 else loss)
    assert (result.outcome, result.reason, result.steps) == ("failed", "diverged", 20)
    assert (result.best_loss, result.best_step) == (0.7, 10)


def test_weights_that_overflow_diverge():
    (result,) = train([a_trial(learning_rate=1e38)])
    assert (result.outcome, result.reason) == ("failed", "diverged")
    assert result.best_loss is None
    assert result.digest(TRIAL.key())  # no NaN in its JSON


def test_an_untrained_model_fails_near_the_entropy_of_a_guess():
    (result,) = train([a_trial(learning_rate=1e-9)])
    assert (result.outcome, result.reason, result.steps) == ("failed", "budget", TRAINING.steps)
    assert result.best_loss == pytest.approx(math.log(4), rel=0.1)


@given(st.integers(1, 5000), st.integers(1, 512))
def test_validations_cost_less_than_a_tenth(n_validation, batch_size):
    def share(interval):
        return 0.45 * n_validation / max(batch_size, 32) / interval

    interval = validation_interval(n_validation, batch_size)
    assert share(interval) <= 0.1 + 1e-9
    assert interval == 10 or interval > 10 and share(interval - 1) > 0.1


def test_validations_are_spaced_by_their_size(run_on):
    # Lengths 2 … 5 have 1 + 5 + 16 + 48 samples to validate on.
    _, validated = run_on(lambda step: 1.0, batch_size=16, n_samples=20)
    assert validated == [10, 20, 30, 40, 50, 60]
    _, validated = run_on(lambda step: 1.0, lengths=(6,), max_validation=145, steps=50)
    assert validated == [11, 22, 33, 44, 50]  # 4.5 · 145 / 64 = 10.2


# Same trial, same result.


# Why it failed.


def test_a_run_that_passes_has_no_reason_to_have_failed(run_on):
    result, _ = run_on(lambda step: 0.009)
    assert (result.failure, result.training_loss) == (None, None)


@pytest.mark.parametrize(
    ("fit", "failure"),
    [
        (lambda step: 0.009, "memorised"),
        (lambda step: 0.011, "unfit"),
        # The smallest mean between two validations counts, wherever it was.
        (lambda step: 0.001 if 10 < step <= 20 else 0.5, "memorised"),
        (lambda step: 0.0 if step % 10 == 0 else 0.02, "unfit"),
    ],
)
def test_at_the_end_of_its_budget_it_has_memorised_or_not_fitted(run_on, fit, failure):
    result, _ = run_on(lambda step: 1.0, fit)
    assert (result.reason, result.failure) == ("budget", failure)
    means = [sum(map(fit, range(s, s + 10))) / 10 for s in range(1, 61, 10)]
    assert result.training_loss == pytest.approx(min(means))


def test_one_that_is_no_number_diverged(run_on):
    result, _ = run_on(lambda step: math.nan if step >= 20 else 1.0)
    assert (result.reason, result.failure, result.training_loss) == ("diverged", "diverged", None)


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        pytest.param(150, "memorised", id="on its way to eps within the budget"),
        pytest.param(260, "unfit", id="too slow for the budget, though twice as fast would do"),
        pytest.param(math.inf, "unfit", id="it stands still"),
    ],
)
def test_ended_by_futility_it_counts_as_its_training_loss_was_going(run_on, end, failure):
    fit = falls_to_eps_by(end)
    result, _ = run_on(lambda step: 3.0, fit, **PATIENT)
    assert (result.reason, result.failure) == ("futility", failure)
    assert result.steps < 150


def test_ended_by_futility_with_its_training_set_known_by_heart(run_on):
    result, _ = run_on(lambda step: 1.0, lambda step: 0.001, **PATIENT)
    assert (result.reason, result.failure) == ("futility", "memorised")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"n_samples": 6, "lengths": (5,), "distribution": "fixed", "steps": 600}, "memorised"),
        ({"n_samples": 150, "steps": 20}, "unfit"),
    ],
)
@pytest.mark.parametrize("stack", [False, True])
def test_real_training_says_why_it_failed(changes, failure, stack):
    trial = a_trial(model="dense-ssm", size={"width": 16, "state": 16}, **changes)
    (result,) = train([trial], stack=stack)
    assert (result.outcome, result.failure) == ("failed", failure)
    assert (result.training_loss < trial.training.eps) == (failure == "memorised")
