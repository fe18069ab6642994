"""Accuracy beyond the training lengths, by models whose answers are known beforehand."""

import numpy as np
import pytest
import torch
from torch import nn

from kbench.data.splits import Source, chance, stream, universe
from kbench.data.supervision import IGNORE, SUPERVISIONS, laid_out, plain, steps_of
from kbench.registry import models
from kbench.report.readings import normalised
from kbench.tasks.addition import Addition
from kbench.tasks.flipflop import FlipFlop
from kbench.tasks.lookup import MultiHopLookup
from kbench.tasks.modadd import ModularAddition
from kbench.tasks.permutation import GroupComposition
from kbench.tasks.stack import StackManipulation
from kbench.training import extrapolation
from kbench.training.extrapolation import SAMPLES, accuracy, longest_input
from kbench.training.modules import build, lengthened

M = 5


def source(task, supervision):
    return Source(
        task=task,
        supervision=supervision,
        lengths=(2, 3),
        max_validation=100,
        max_validation_fraction=0.2,
    )


class Adder(nn.Module):
    """Knows modular addition by heart: after the inputs it goes on from its own last word.

    `slip` is added to every word that it says after the first, so that an error made early is
    carried along.
    """

    def __init__(self, slip=0):
        super().__init__()
        self.slip = slip
        self.read = []

    def forward(self, tokens_BT):
        self.read.append(tokens_BT.shape)
        answers = torch.zeros(tokens_BT.shape, dtype=torch.long)
        for b, row in enumerate(tokens_BT.tolist()):
            inputs = row[: row.index(M)] if M in row else row
            said = row[len(inputs) + 1 :]
            for t in range(len(row)):
                if t < len(inputs):
                    answers[b, t] = sum(row[: t + 1]) % M
                elif t == len(inputs):  # at `=`: the first state under cot, all of it else
                    answers[b, t] = (inputs[0] if self.says_all else sum(inputs)) % M
                else:
                    k = t - len(inputs)
                    answers[b, t] = (said[k - 1] + inputs[min(k, len(inputs) - 1)] + self.slip) % M
        return nn.functional.one_hot(answers, M + 1).float()


def adder(supervision, slip=0):
    model = Adder(slip)
    model.says_all = supervision == "cot"
    return model


@pytest.mark.parametrize("supervision", SUPERVISIONS)
def test_a_model_that_knows_the_task_is_always_right(supervision):
    assert accuracy(adder(supervision), source(ModularAddition(m=M), supervision), 4, 1) == 1.0


def test_under_cot_a_model_goes_on_from_its_own_words_and_not_from_the_right_ones():
    # With one slip per word, the answer is off by n − 1: right for n = 6 and m = 5, else wrong.
    task = source(ModularAddition(m=M), "cot")
    assert accuracy(adder("cot", slip=1), task, 6, 1) == 1.0
    assert accuracy(adder("cot", slip=1), task, 4, 1) == 0.0


class ByHeart(nn.Module):
    """Says after each prefix of a sample what is asked for there, and a wrong word once."""

    def __init__(self, source, n, wrong_at=None):
        super().__init__()
        task = source.task
        steps = steps_of(task, stream(task, n, 1, universe(task, n)), n)
        rows = laid_out(source.supervision, steps, task.vocab_size)
        self.vocab_size, self.says = task.vocab_size, {}
        for read, targets in zip(rows.tokens.tolist(), rows.targets.tolist(), strict=True):
            for t in (t for t, target in enumerate(targets) if target != IGNORE):
                wrong = targets[t] if t != wrong_at else (targets[t] + 1) % self.vocab_size
                self.says[tuple(read[: t + 1])] = wrong

    def forward(self, tokens_BT):
        rows = tokens_BT.tolist()
        words = [[self.says.get(tuple(r[: t + 1]), 0) for t in range(len(r))] for r in rows]
        return nn.functional.one_hot(torch.tensor(words), self.vocab_size + 1).float()


@pytest.mark.parametrize("supervision", SUPERVISIONS)
@pytest.mark.parametrize(
    ("task", "wrong_at"),  # the first place where a word is read again, by supervision
    [
        (Addition(base=2, figures=2), {"outcome": 7, "cot": 7, "aligned": 1}),
        (FlipFlop(values=2), {"cot": 7}),
        (StackManipulation(symbols=2), {"outcome": 3, "cot": 3, "aligned": 4}),
    ],
)
def test_answers_of_several_tokens_are_right_when_all_of_them_are(task, supervision, wrong_at):
    of = source(task, supervision)
    assert accuracy(ByHeart(of, 3), of, 3, 1) == 1.0
    if supervision in wrong_at:  # and its own words are what it goes on from
        assert accuracy(ByHeart(of, 3, wrong_at[supervision]), of, 3, 1) < 0.75


def test_a_constant_answer_is_worth_nothing():
    class Constant(nn.Module):
        def forward(self, tokens_BT):
            logits = torch.zeros(*tokens_BT.shape, 7)
            logits[..., 0] = 1
            return logits

    task = source(GroupComposition(group="S3"), "aligned")
    assert abs(normalised(accuracy(Constant(), task, 40, 1), chance(task.task, 40))) < 0.05
    assert normalised(1.0, 0.3) == 1.0
    assert normalised(0.3, 0.3) == 0.0


@pytest.mark.parametrize("supervision", SUPERVISIONS)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_what_a_model_says_itself_is_its_chain_under_cot_and_nothing_else(supervision, n):
    task = MultiHopLookup(keys=4)
    inputs, states = task.simulate(stream(task, n, 1, 20), n)
    rows = laid_out(supervision, plain(inputs, states), task.vocab_size)
    T = rows.tokens.shape[1]
    assert longest_input(source(task, supervision), n) == T
    assert rows.is_own.all(axis=0).tolist() == [
        supervision == "cot" and t > T - n for t in range(T)
    ]
    assert rows.is_answer.all(axis=0).tolist() == [t == T - 1 for t in range(T)]
    assert (rows.targets[:, -1] == states[:, -1]).all()


@pytest.mark.parametrize("name", models.names())
def test_words_said_step_by_step_are_those_of_whole_passes(name, monkeypatch):
    model = build(models[name], M + 1, 30, models[name].preset("quick"), seed=3)
    tokens = torch.randint(M + 1, (50, 14), generator=torch.Generator().manual_seed(1))
    is_own = np.zeros((50, 14), dtype=bool)
    is_own[:, 7:12] = True
    is_own[::2, [4, 9]] = [True, False]  # not all at the same places
    with torch.no_grad():
        step_by_step = extrapolation._say(model, tokens.clone(), is_own, lambda: None)
        monkeypatch.setattr(extrapolation, "has_extend", lambda model: False)
        whole = extrapolation._say(model, read := tokens.clone(), is_own, lambda: None)
    assert len(set(whole[:, -1].tolist())) > 1
    assert torch.equal(step_by_step, whole)
    own = torch.from_numpy(is_own)
    assert torch.equal(read[~own], tokens[~own])
    assert torch.equal(read[:, 1:][own[:, 1:]], whole[:, :-1][own[:, 1:]])


def test_all_there_are_are_tested_where_they_are_few():
    model = adder("aligned")
    accuracy(model, source(ModularAddition(m=M), "aligned"), 2, 1)
    assert sum(shape[0] for shape in model.read) == M**2
    model.read.clear()
    accuracy(model, source(ModularAddition(m=M), "aligned"), 9, 1)
    assert sum(shape[0] for shape in model.read) == SAMPLES
    assert {shape[1] for shape in model.read} == {9}


@pytest.mark.parametrize("name", models.names())
def test_a_lengthened_model_is_the_same_where_the_short_one_could_read(name):
    entry, size = models[name], models[name].preset("quick")
    short = build(entry, 7, 10, size, seed=1)
    with torch.no_grad():
        for p in short.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    long = build(entry, 7, 25, size, seed=2)
    fresh = {key: p.clone() for key, p in long.state_dict().items()}
    lengthened(short, long)
    tokens = torch.randint(7, (4, 25), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(long(tokens[:, :10]), short(tokens[:, :10]))
        assert long(tokens).isfinite().all()
    for key, p in long.state_dict().items():
        if p.shape != short.state_dict()[key].shape:
            assert torch.equal(p[10:], fresh[key][10:])  # positions never seen


def test_only_learned_positions_grow_with_the_length():
    grown = []
    for name in models.names():
        size = models[name].preset("quick")
        one, two = (build(models[name], 7, T, size).state_dict() for T in (10, 25))
        grown += [f"{name} {key}" for key in one if one[key].shape != two[key].shape]
    assert grown == ["transformer positions.weight"]


@pytest.mark.parametrize("supervision", ["cot", "aligned"])
def test_a_test_can_be_given_up_before_any_of_its_words(supervision):
    class GivenUp(Exception):
        pass

    words = iter(range(3))

    def on_word():
        if next(words, None) is None:
            raise GivenUp

    model = adder(supervision)
    with pytest.raises(GivenUp):
        accuracy(model, source(ModularAddition(m=M), supervision), 3_000, 1, on_word=on_word)
    assert len(model.read) == 3
