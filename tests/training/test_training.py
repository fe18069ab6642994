"""The training loop: verdicts, losses, batches, and a cohort equal to its runs alone."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from trials import TRIAL, a_trial, digests, member, splits

import kbench.training.member
from kbench.data.splits import Split
from kbench.data.supervision import IGNORE
from kbench.errors import KbenchError
from kbench.registry import models
from kbench.training.loop import seconds_per_step, train
from kbench.training.member import Member


def test_a_trial_is_deterministic_and_leaves_global_generators_alone():
    def states():
        return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes()

    torch.manual_seed(1)
    before = states()
    first = digests([TRIAL])
    assert states() == before
    torch.manual_seed(2)
    assert digests([TRIAL]) == first


@pytest.mark.parametrize("model", models.names())
def test_a_cohort_equals_its_trials_alone(model):
    common = {"model": model, "size": models[model].preset("quick"), "eps": 0.8}
    cohort = [
        a_trial(learning_rate=1e-5, seed=3, n_samples=60, **common),
        a_trial(learning_rate=3e-2, seed=2, n_samples=170, **common),
        a_trial(learning_rate=3e-3, seed=1, n_samples=90, **common),
    ]
    together = train(cohort)
    assert len({(r.reason, r.steps) for r in together}) > 1, "they should end at different times"
    assert [sum(r.histogram.values()) for r in together] == [t.n_samples for t in cohort]
    alone = [digest for trial in cohort for digest in digests([trial])]
    assert [r.digest(t.key()) for t, r in zip(cohort, together, strict=True)] == alone
    assert len(set(alone)) == len(cohort)


def test_weights_start_from_the_seed_alone():
    first, again, other = (
        torch.nn.utils.parameters_to_vector(member(trial).model.parameters())
        for trial in (TRIAL, a_trial(learning_rate=1e-4, n_samples=20), a_trial(seed=2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_recorded_data_is_the_data():
    (result,) = train([TRIAL])
    training, validation = splits(TRIAL)
    assert result.data_sha256 == {"train": training.sha256(), "validation": validation.sha256()}
    assert result.histogram == {str(n): count for n, count in training.histogram.items()}


def test_an_exception_from_on_validation_gives_the_cohort_up():
    class GiveUp(Exception):
        pass

    def give_up(member):
        seen.append((member.trial.seed, member.steps))
        if seen[-1] == (1, 20):
            raise GiveUp

    seen = []
    with pytest.raises(GiveUp):
        train([TRIAL, a_trial(seed=2)], give_up)
    assert seen == [(1, 10), (2, 10), (1, 20)]


# Batches. Samples of one length are unique: a row of tokens tells which sample it is.


def batches_of(member, count):
    """The rows that go into the model in each of `count` steps."""
    seen = []
    member.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for _ in range(count):
        member.step()
    return [[tuple(row) for row in tokens.tolist()] for tokens in seen]


def test_an_epoch_visits_distinct_samples_in_an_order_of_its_own():
    m = member(a_trial(lengths=(5,)))
    rows = {tuple(row) for row in m.tokens.tolist()}
    batches = batches_of(m, 20)
    assert {len(batch) for batch in batches} == {64}
    epochs = [batches[i] + batches[i + 1] for i in range(0, 20, 2)]
    for epoch in epochs:
        assert len(set(epoch)) == 128
        assert set(epoch) <= rows
    assert len({tuple(epoch) for epoch in epochs}) == 10
    # The 22 left out are others each time.
    assert len(rows) == 150
    assert set().union(*map(set, epochs)) == rows


def test_a_batch_is_the_whole_set_where_that_is_smaller():
    m = member(a_trial(lengths=(5,), n_samples=40))
    rows = {tuple(row) for row in m.tokens.tolist()}
    for batch in batches_of(m, 3):
        assert len(batch) == 40
        assert set(batch) == rows


def test_the_order_is_the_seeds():
    data = splits(a_trial(lengths=(5,)))
    first, again, other = (
        batches_of(Member(a_trial(lengths=(5,), **changes), *data), 4)
        for changes in ({}, {"learning_rate": 1e-4, "steps": 9}, {"seed": 2})
    )
    assert first == again
    assert first != other


# Losses, by hand.


def nats_by_hand(model, tokens, targets):
    """−log p of every supervised target, one by one."""
    log_p = model(torch.as_tensor(tokens, dtype=torch.int64)).double().log_softmax(-1)
    return torch.stack(
        [
            -log_p[i, t, target]
            for i, row in enumerate(targets.tolist())
            for t, target in enumerate(row)
            if target != IGNORE
        ]
    )


@pytest.mark.parametrize("supervision", ["aligned", "outcome", "cot"])
def test_steps_are_adam_on_the_mean_nats_of_the_supervised_positions(supervision):
    trial = a_trial(supervision=supervision, n_samples=40, learning_rate=0.1)  # one batch
    m, twin = member(trial), member(trial)
    data, _ = splits(trial)
    mean = square = [torch.zeros(()) for _ in m.model.parameters()]
    for step in (1, 2, 3):
        twin.model.load_state_dict(m.model.state_dict())
        loss = nats_by_hand(twin.model, data.tokens, data.targets).mean()
        gradients = torch.autograd.grad(loss, list(twin.model.parameters()))
        mean = [0.9 * a + 0.1 * g for a, g in zip(mean, gradients, strict=True)]
        square = [0.999 * a + 0.001 * g**2 for a, g in zip(square, gradients, strict=True)]
        m.step()
        before, after = twin.model.parameters(), m.model.parameters()
        for was, now, gradient, a, b in zip(before, after, gradients, mean, square, strict=True):
            torch.testing.assert_close(now.grad, gradient, rtol=1e-4, atol=1e-6)
            scale = (b / (1 - 0.999**step)).sqrt() + 1e-8
            expected = was - 0.1 * a / (1 - 0.9**step) / scale
            torch.testing.assert_close(now, expected, rtol=1e-4, atol=1e-5)


def test_training_loss_is_the_mean_over_the_steps_since_the_last_validation():
    m = member(a_trial(n_samples=40))  # one batch
    for steps in (3, 2):
        losses = []
        for _ in range(steps):
            losses.append(nats_by_hand(m.model, m.tokens, m.targets).mean().item())
            m.step()
        m.validate()
        assert m.last_training_loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert m.last_validation_loss == m.validation_loss()


@pytest.mark.parametrize("chunk", [1, 7, 512])
@pytest.mark.parametrize("supervision", ["aligned", "outcome", "cot"])
def test_validation_loss_is_the_mean_over_all_supervised_positions(monkeypatch, supervision, chunk):
    monkeypatch.setattr(kbench.training.member, "VALIDATION_CHUNK", chunk)
    m = member(a_trial(supervision=supervision))
    for _ in range(5):
        m.step()
    _, validation = splits(m.trial)
    nats = nats_by_hand(m.model, validation.tokens, validation.targets)
    assert m.validation_loss() == pytest.approx(nats.mean().item(), rel=1e-5)


def test_a_protocol_may_judge_by_the_positions_that_are_new():
    m = member(a_trial(n_samples=60, only_new_positions=True))
    for _ in range(5):
        m.step()
    training, validation = splits(m.trial)
    known = {
        tuple(row[: t + 1])
        for row, targets in zip(training.tokens.tolist(), training.targets.tolist(), strict=True)
        for t, target in enumerate(targets)
        if target != IGNORE
    }
    nats = iter(nats_by_hand(m.model, validation.tokens, validation.targets).tolist())
    new = [
        nat
        for row, targets in zip(
            validation.tokens.tolist(), validation.targets.tolist(), strict=True
        )
        for t, target in enumerate(targets)
        if target != IGNORE and (nat := next(nats)) and tuple(row[: t + 1]) not in known
    ]
    assert 20 < len(new) == m.n_targets < (validation.targets != IGNORE).sum()
    assert m.validation_loss() == pytest.approx(sum(new) / len(new), rel=1e-5)
    assert m.trial.key() != a_trial(n_samples=60).key()


@pytest.mark.parametrize("model", models.names())
def test_padding_has_no_influence(model):
    trial = a_trial(model=model, size=models[model].preset("quick"))
    rng = np.random.default_rng(0)

    def other_padding(split):
        noise = rng.integers(0, 4, split.tokens.shape, dtype=np.int32)
        # Aligned: every position of a sample is supervised, so all the others are padding.
        tokens = np.where(split.targets == IGNORE, noise, split.tokens)
        assert (tokens != split.tokens).any()
        return Split(tokens=tokens, targets=split.targets, histogram=split.histogram)

    data = splits(trial)
    plain, padded = Member(trial, *data), Member(trial, *map(other_padding, data))
    assert padded.validation_loss() == pytest.approx(plain.validation_loss(), rel=1e-6)
    plain.step(), padded.step()
    for ours, theirs in zip(plain.model.parameters(), padded.model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)


# Learning, timing.


def test_an_lstm_learns_to_add_modulo_two():
    trial = a_trial(
        task_params={"m": 2},
        lengths=(3, 4, 5, 6),
        n_samples=80,
        size={"width": 32, "layers": 1},
        learning_rate=1e-2,
        steps=600,
    )
    (result,) = train([trial])
    assert (result.outcome, result.reason) == ("passed", "success")
    assert result.best_loss < trial.training.eps
    assert result.best_step == result.steps < 600


def test_seconds_per_step_is_the_fastest_of_a_few(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(kbench.training.loop, "time", SimpleNamespace(perf_counter=clock.__next__))
    assert seconds_per_step([TRIAL], steps=3) == 2.0


def test_a_tested_trial_ends_as_the_plain_one_and_tells_its_accuracy():
    (plain,) = train([a_trial()])
    (tested,) = train([a_trial(tested=(8, 12))])
    assert plain.accuracy == {}
    assert set(tested.accuracy) == {"8", "12"}
    assert all(0 <= a["accuracy"] <= 1 for a in tested.accuracy.values())
    assert tested.accuracy["8"]["chance"] == pytest.approx(1 / 3, abs=1e-3)  # 3^8 is enumerated
    assert dataclasses.replace(tested, accuracy={}).digest("") == plain.digest("")


def test_the_accuracy_is_that_of_the_trained_model_and_not_of_a_fresh_one():
    solved = a_trial(lengths=(3, 4), steps=600, n_samples=80, tested=(6,), learning_rate=1e-2)
    (result,) = train([solved])
    assert result.outcome == "passed"
    assert result.accuracy["6"]["accuracy"] > 0.6


@pytest.mark.parametrize("what", ["model", "task"])
def test_a_source_that_has_changed_since_the_run_began_is_not_trained(what):
    with pytest.raises(KbenchError, match="the source of (lstm|modadd) has changed"):
        train([a_trial(**{f"{what}_version": "sha256:0"})])


@pytest.mark.parametrize("stack", [False, True])
def test_every_second_of_a_cohort_is_some_members(monkeypatch, stack):
    """On a clock that ticks once whenever it is read, each lap is one second of somebody."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(
        kbench.training.loop, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    )
    cohort = [a_trial(model="rnn", steps=steps) for steps in (10, 30)]
    results = train(cohort, stack=stack)
    spent = {name: sum(r.seconds[name] for r in results) for name in results[0].seconds}
    # 30 steps; validations after 10, 20 and 30; a start and two ends.
    assert spent == {"data": 1.0, "training": 30.0, "validation": 3.0, "other": 3.0}
    assert results[0].seconds["training"] == 5.0
