"""Published beside here: how figures are read from runs, and what is committed."""

import dataclasses
import json
from pathlib import Path

import pytest
from test_experiments import GOOD

from kbench.reproduce import load, names
from kbench.reproduce.experiment import FOLDER, from_text
from kbench.reproduce.page import everything, misses, rewritten, unexplained
from kbench.reproduce.results import Run, committed, document, read
from kbench.reproduce.running import run, stored
from kbench.study.executors.local import InProcess
from kbench.study.store import Store

ROOT = Path(__file__).parents[2]


def made_up(trial, accuracy):
    return Run(
        key=trial.key(), model=trial.model, seed=trial.seed, reason="budget", steps=10,
        best_loss=0.5, accuracy={str(n): (a, 0.5) for n, a in accuracy.items()}, wall_s=1.0,
        data_sha256={}, digest="", environment={},
    )  # fmt: skip


def runs_of(experiment, *accuracies, model="rnn"):
    trials = [trial for trial in experiment.trials() if trial.model == model]
    return {t.key(): made_up(t, a) for t, a in zip(trials, accuracies, strict=False)}


FLAT = dict.fromkeys((1, 2, 3, 5), 0.5)


def test_a_scaled_figure_is_the_mean_over_lengths_of_the_best_run():
    good = from_text(GOOD, "good")
    runs = runs_of(good, FLAT | {4: 0.7, 8: 0.8}, FLAT | {4: 0.5, 8: 0.5})
    reading = read(good, runs)[0]
    assert reading.each == pytest.approx([0.5, 0.0])
    assert reading.here == pytest.approx(0.5) and reading.within is True
    assert reading.learned == (0.0, 0.0)


def test_nothing_is_judged_before_every_run_is_there():
    good = from_text(GOOD, "good")
    reading = read(good, runs_of(good, FLAT | {4: 0.7, 8: 0.8}))[0]
    assert reading.here == pytest.approx(0.5)
    assert (reading.complete, reading.within) == (False, None)
    assert read(good, {})[0].here is None


def test_a_run_of_another_set_up_does_not_count():
    good = from_text(GOOD, "good")
    runs = runs_of(from_text(GOOD.replace("steps: 10", "steps: 11"), "good"), FLAT, FLAT)
    assert read(good, runs)[0].each == ()


def test_the_score_of_positions_is_the_mean_of_all_lengths_up_to_the_last():
    text = GOOD.replace("score: answers", "score: positions")
    text = text.replace("scaled: true", "scaled: false")
    text = text.replace("at: [4, 8]", "at: 4").replace(", at_least", ", at: 3, at_least")
    positions = from_text(text, "good")
    runs = runs_of(positions, {1: 1.0, 2: 1.0, 3: 0.5, 4: 0.3, 5: 0.0, 8: 0.0})
    assert read(positions, runs)[0].each == pytest.approx([0.7])


def test_what_is_within():
    figure = from_text(GOOD, "good").figures[0]
    assert figure.holds(0.6004, 0.0) and not figure.holds(0.601, 0.0) and figure.holds(0.601, 0.01)
    assert figure.holds(0.4, 0.0) and not figure.holds(0.399, 0.0)
    at_least, at_most = (
        dataclasses.replace(figure, sense=sense) for sense in ("at_least", "at_most")
    )
    assert at_least.holds(0.9, 0.0) and not at_least.holds(0.45, 0.0)
    assert at_most.holds(0.1, 0.0) and not at_most.holds(0.55, 0.0)


def test_a_stopped_experiment_goes_on_where_it_was(tmp_path):
    good = from_text(GOOD, "good")
    trials, said = good.trials(), []
    with Store(tmp_path) as store:
        run(trials, store, InProcess(), lambda: len(said) == 1, said.append)
        first = stored(trials, store)
        assert list(first) == [trials[0].key()] and "rnn seed 1: budget after 10 steps" in said[0]
        run(trials, store, InProcess(), lambda: False, said.append)
        assert len(said) == len(trials) == len(stored(trials, store))
        run(trials, store, InProcess(), lambda: False, said.append)
        assert len(said) == len(trials)
        runs = stored(trials, store)
    assert document(good, runs, "")["complete"]
    assert all(reading.within is not None for reading in read(good, runs))


@pytest.mark.parametrize("name", [name for name in names() if committed(name)])
def test_committed_runs_are_of_the_experiment_and_of_a_commit(name):
    of, runs = load(name), committed(name)
    assert runs.keys() <= {trial.key() for trial in of.trials()}
    for one in runs.values():
        assert one.environment["dirty"] is False and one.environment["revision"]
    file = json.loads((FOLDER / "results" / f"{name}.json").read_text("utf-8"))
    assert file == json.loads(json.dumps(document(of, runs, file["command"])))


def test_the_page_and_the_readme_say_what_the_committed_runs_give():
    found = everything()
    for path in (ROOT / "docs" / "reproduced.md", ROOT / "README.md"):
        assert path.read_text("utf-8") == rewritten(path, found), "python studies/reproduced.py"


def test_every_miss_has_a_reason():
    assert not unexplained(everything(), misses())
