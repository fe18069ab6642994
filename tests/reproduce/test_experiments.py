"""Published experiments as they are packaged, and what is refused of one."""

import re

import pytest

from kbench.data.splits import source_of
from kbench.errors import KbenchError
from kbench.registry import models
from kbench.reproduce import load, names
from kbench.reproduce.experiment import from_text

GOOD = """
name: good
version: 1
title: A small one
source: nowhere
scaled_down: all of it
task: parity
task_params: {}
supervision: aligned
lengths: {from: 3, to: 5}
tested: [1, 2, 3, 4, 8]
samples: 20
recipe: {learning_rate: 1.0e-2, batch_size: 8}
training: {eps: 1.0e-9, steps: 10, max_validation: 8, max_validation_fraction: 0.2}
seeds: 2
score: answers
scaled: true
models:
  rnn: {width: 4, layers: 1}
  lstm: {width: 4, layers: 1}
figures:
  - {label: RNN, model: rnn, at: [4, 8], over: best, published: 0.5, spread: 0.1}
  - {label: LSTM, model: lstm, at_least: 0.9}
"""


@pytest.mark.parametrize("name", names())
def test_every_packaged_experiment_can_be_run_as_it_stands(name):
    of = load(name)
    assert of.name == name and of.figures and {f.model for f in of.figures} == {*of.models}
    trials = of.trials()
    assert len({trial.key() for trial in trials}) == len(trials) == of.seeds * len(of.models)
    source = source_of(trials[0])
    assert sum(source.shares().training_capacity(1).values()) >= of.samples
    for model, size in of.models.items():
        assert size.keys() < models[model].parameters().keys()


def test_a_figure_is_read_at_all_lengths_tested_where_it_says_no_other():
    rnn, lstm = from_text(GOOD, "good").figures
    assert (rnn.at, lstm.at) == ((4, 8), (1, 2, 3, 4, 8))
    assert (lstm.published, lstm.sense) == (0.9, "at_least")


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("seeds: 2", "seed: 2", "unknown field .* 'seed'; did you mean 'seeds'"),
        ("lengths: {from: 3, to: 5}", "", "missing .*'lengths'"),
        ("recipe: {", "recip: {", "recipe: expected a mapping"),
        ("spread: 0.1", "spraed: 0.1", "did you mean 'spread'"),
        ("spread: 0.1", "spread: 0.1, tolerance: 0.1", "a spread, a tolerance or a bound"),
        ("spread: 0.1", "again: true", "a spread, a tolerance or a bound"),
        ("model: lstm", "model: gru", "a figure is of one of its models"),
        ("at: [4, 8]", "at: [4, 9]", "a figure is read where there are tests"),
        ("score: answers", "score: answer", "score must be one of answers, positions"),
        ("over: best", "over: bets", "over must be one of mean, median, best"),
    ],
)
def test_what_is_out_of_place_is_said_in_one_line(good, bad, said):
    assert good in GOOD
    with pytest.raises(KbenchError) as refused:
        from_text(GOOD.replace(good, bad), "good")
    assert re.search(said, str(refused.value)) and "\n" not in str(refused.value)
