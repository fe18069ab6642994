"""A cohort that trains as one stack, against its members one by one."""

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest
import torch
from recipes import Reference
from torch.utils._python_dispatch import TorchDispatchMode
from trials import a_trial, member

from kbench.data.supervision import IGNORE
from kbench.recipe import Recipe, plain
from kbench.registry import models
from kbench.training import cohort as cohorts
from kbench.training.cohort import Cohort
from kbench.training.conformance import CHECKS, Subject
from kbench.training.loop import train
from kbench.training.stack import Stack, why_not

STACKABLE = sorted(models.names())
SMALL = {"width": 16}


def cohort_of(model, **changes):
    """Members that differ in everything in which they may: samples, learning rate and seed."""
    size = models[model].preset("quick") | SMALL
    return [
        a_trial(model=model, size=size, learning_rate=rate, seed=seed, n_samples=n, **changes)
        for rate, seed, n in ((1e-4, 3, 40), (1e-2, 2, 170), (3e-3, 1, 90), (3e-3, 1, 64))
    ]


def exact_member(trial):
    """In double precision, where rounding does not grow into something that shows."""
    m = member(trial)
    m.model.double()
    return m


def vector(m):
    return torch.nn.utils.parameters_to_vector(m.model.parameters()).detach()


def test_every_model_stacks():
    for name in models.names():
        subject = Subject(
            entry=models[name], size=models[name].preset("quick"), vocab_size=4, max_len=6
        )
        assert CHECKS["cohort"](subject) == "stacks", name


@pytest.mark.parametrize("model", STACKABLE)
def test_every_step_is_that_of_the_members_alone(model):
    trials = cohort_of(model)
    alone, stacked = ([exact_member(t) for t in trials] for _ in range(2))
    together = Cohort(stacked)
    sums = [0.0] * len(trials)
    for _ in range(20):
        together.step()
        for k, m in enumerate(alone):
            before = m._fit_sum.item()
            m.step()
            sums[k] += m._fit_sum.item() - before
    expected = [m.validation_loss() * m.n_targets for m in alone]
    assert together.validation_nats(stacked) == pytest.approx(expected, rel=1e-4)
    assert together.take_fit(stacked) == pytest.approx(sums, rel=1e-4)
    assert together.take_fit(stacked) == [0.0] * len(trials)
    together.leave(stacked)
    for ours, theirs in zip(stacked, alone, strict=True):
        torch.testing.assert_close(vector(ours), vector(theirs), rtol=1e-6, atol=1e-9)


def test_those_that_stay_go_on_as_if_nobody_had_left():
    trials = cohort_of("rnn")
    alone, stacked = ([exact_member(t) for t in trials] for _ in range(2))
    together = Cohort(stacked)
    for left, steps in (([1], 7), ([0, 3], 80), ([2], 5)):  # 80 steps: more than are drawn ahead
        present = [m for m in stacked if m in together._learners]
        for _ in range(steps):
            together.step()
            for k, m in enumerate(alone):
                if stacked[k] in present:
                    m.step()
        expected = [alone[stacked.index(m)].validation_loss() * m.n_targets for m in present[::-1]]
        assert together.validation_nats(present[::-1]) == pytest.approx(expected, rel=1e-4)
        together.leave([stacked[k] for k in left])
        for k in left:
            torch.testing.assert_close(vector(stacked[k]), vector(alone[k]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("model", STACKABLE)
def test_verdicts_are_those_of_the_trials_alone(model):
    cohort = cohort_of(model, eps=0.8)
    together, alone = train(cohort, stack=True), train(cohort)
    assert len({(r.reason, r.steps) for r in alone}) > 1, "they should end at different times"
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.outcome, ours.reason) == (theirs.outcome, theirs.reason)
        assert ours.steps == pytest.approx(theirs.steps, abs=10)  # rounding, at most one validation
        assert ours.best_loss == pytest.approx(theirs.best_loss, rel=0.05)
        assert (ours.data_sha256, ours.histogram) == (theirs.data_sha256, theirs.histogram)


def test_a_member_that_diverges_takes_no_other_along():
    wild, *others = cohort_of("rnn", steps=40)
    wild = dataclasses.replace(wild, recipe=plain(1e38, 64))
    first, *rest = train([wild, *others], stack=True)
    assert first.reason == "diverged"
    for ours, theirs in zip(rest, train(others, stack=True), strict=True):
        assert (ours.outcome, ours.steps) == (theirs.outcome, theirs.steps)
        assert ours.best_loss == pytest.approx(theirs.best_loss, rel=1e-2)


def test_a_trained_model_comes_back_from_the_stack_to_be_tested():
    common = {"model": "rnn", "size": {"width": 32, "layers": 1}, "lengths": (3, 4), "steps": 400}
    trials = [
        a_trial(n_samples=80, learning_rate=rate, tested=(5,), **common) for rate in (1e-2, 3e-3)
    ]
    together, alone = train(trials, stack=True), train(trials)
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.accuracy["5"]["accuracy"] == pytest.approx(
            theirs.accuracy["5"]["accuracy"], abs=0.05
        )
    assert together[0].accuracy["5"]["accuracy"] > 0.6


class Mixed(torch.nn.Module):
    """A frozen parameter, a buffer, and weights used twice: what a plain stack forgets."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = torch.nn.Embedding(4, 8)
        self.scale = torch.nn.Parameter(torch.full((8,), 1.0 + seed), requires_grad=False)
        self.register_buffer("shift", torch.full((8,), 0.1 * seed))
        self.head = torch.nn.Linear(8, 4)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head((self.embedding(tokens) * self.scale + self.shift).cumsum(1))


def test_a_stack_is_its_recipe_on_each_of_its_models():
    stacked, alone = ([Mixed(seed).double() for seed in (1, 2, 3, 4)] for _ in range(2))
    warm = Recipe(
        name="warm", learning_rate=1e-2, batch_size=5, betas=(0.8, 0.95), weight_decay=0.5,
        warmup=10, clip=0.1,
    )  # fmt: skip
    recipes = [*(plain(rate, 5) for rate in (1e-1, 1e-2, 1e-3)), warm]
    stack = Stack(stacked, recipes)
    optimizers = [Reference(m.parameters(), r) for m, r in zip(alone, recipes, strict=True)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        tokens = torch.randint(4, (4, 5, 6), generator=generator)
        targets = tokens.roll(1, 2).clone()
        targets[torch.rand(4, 5, 6, generator=generator) < 0.3] = IGNORE
        losses = stack.step(tokens, targets)
        for k, (m, optimizer) in enumerate(zip(alone, optimizers, strict=True)):
            loss = torch.nn.functional.cross_entropy(
                m(tokens[k]).flatten(0, 1), targets[k].flatten(), ignore_index=IGNORE
            )
            assert losses[k].item() == pytest.approx(loss.item(), rel=1e-9)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for k, m in enumerate(alone):
        stack.unstack(k, stacked[k])
        for (name, ours), theirs in zip(stacked[k].named_parameters(), m.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, msg=name)


def test_a_model_that_torch_could_only_loop_over_does_not_count_as_stackable():
    class Dropped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(4, 8)
            self.recurrence = torch.nn.LSTM(8, 4, num_layers=2, dropout=0.1)

        def forward(self, tokens):
            return self.recurrence(self.embedding(tokens))[0]

    reason = why_not([Dropped() for _ in range(2)], torch.zeros(2, 1, 3).long())
    assert reason
    assert "\n" not in reason


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", STACKABLE)
def test_a_step_never_looks_at_what_it_computes(model):
    """Copies from the host and values read by it cannot be captured in a CUDA graph."""
    together = Cohort([member(t) for t in cohort_of(model)])
    together.step()
    with Log() as log:
        together._advance()
    assert len(log.names) > 10
    assert not log.names & {"lift_fresh", "_local_scalar_dense", "nonzero", "item"}


def fake_cuda(monkeypatch, graph, make_graph):
    stream = SimpleNamespace(wait_stream=lambda other: None)
    fakes = {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda s: contextlib.nullcontext(),
        "CUDAGraph": make_graph,
        "graph": graph,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)


def test_a_step_that_cannot_be_captured_is_taken_all_the_same(monkeypatch):
    @contextlib.contextmanager
    def graph(g):
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    fake_cuda(monkeypatch, graph, lambda: None)
    plain, tried = ([exact_member(t) for t in cohort_of("rnn")] for _ in range(2))
    reference, together = Cohort(plain), Cohort(tried)
    together._captures = True
    for _ in range(3):
        reference.step()
        together.step()
    assert not together._captures
    torch.testing.assert_close(together._stack.parameters_KP, reference._stack.parameters_KP)


def test_the_captured_step_is_the_plain_one(monkeypatch):
    """The CUDA path on CPU tensors: capturing leaves no trace, and every change of size is new."""
    captured = []

    class Graph:
        def replay(self):
            assert self.shape == self.cohort._index_KB.shape
            self.cohort._advance()

    @contextlib.contextmanager
    def graph(g):
        captured.append(g)
        g.cohort, g.shape = together, together._index_KB.shape
        yield

    fake_cuda(monkeypatch, graph, Graph)
    trials = cohort_of("transformer")
    plain, graphed = ([exact_member(t) for t in trials] for _ in range(2))
    reference, together = Cohort(plain), Cohort(graphed)
    together._captures = True
    for left in (1, 3, None):
        for _ in range(3):
            reference.step()
            together.step()
        ours, theirs = ([*c._stack.state(), c._fit_K] for c in (together, reference))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        if left:
            reference.leave([plain[left]])
            together.leave([graphed[left]])
    assert [g.shape for g in captured] == [(4, 64), (3, 64), (2, 64)]


def test_a_captured_validation_is_the_plain_one(monkeypatch):
    """In chunks of equal size, for all members and for some, before and after others leave."""
    graphs = []

    def capture(work, changes):
        graphs.append(SimpleNamespace(replay=work))
        return graphs[-1]

    monkeypatch.setattr(cohorts, "CHUNK", 128)
    trials = cohort_of("gru")
    plain, judged = ([exact_member(t) for t in trials] for _ in range(2))
    reference, together = Cohort(plain), Cohort(judged)
    for _ in range(3):
        reference.step()
        together.step()
    monkeypatch.setattr(cohorts, "captured", capture)
    together._captures = True
    everyone = slice(None)
    for left, due in (
        (None, (everyone, slice(0, 2), slice(2, 4), everyone)),
        (1, (everyone, slice(1, 3))),
        (0, (slice(0, 1), slice(1, 2))),
    ):
        if left is not None:
            reference.leave([reference._learners[left]])
            together.leave([together._learners[left]])
        for some in due:
            expected = reference.validation_nats(reference._learners[some])
            found = together.validation_nats(together._learners[some])
            assert found == pytest.approx(expected, rel=1e-9)
    assert len(graphs) == 5, "one for each number of members, and anew when some have left"


def test_a_validation_that_cannot_be_captured_is_made_all_the_same(monkeypatch):
    monkeypatch.setattr(cohorts, "captured", lambda work, changes: None)
    members = [exact_member(t) for t in cohort_of("rnn")]
    together = Cohort(members)
    expected = together.validation_nats(members)
    together._captures = True
    assert together.validation_nats(members) == pytest.approx(expected, rel=1e-9)
    assert not together._captures
