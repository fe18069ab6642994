"""Callbacks hear of every trial and result, change none, and cannot end a run."""

import re
import sys
import types
from pathlib import Path

import pytest

import kbench
from kbench import KbenchError
from kbench.report import callbacks as room

CELL = {
    "model": "lstm", "task": "modadd", "supervision": "aligned", "task_params": {"m": 2},
    "lengths": (3, 4), "workers": 1, "progress": False,
}  # fmt: skip


class Ears:
    """Keeps what it hears."""

    def __init__(self):
        self.trials, self.results, self.closed = [], [], 0

    def on_trial(self, settings, trial):
        self.trials.append((settings.model, trial))

    def on_result(self, result):
        self.results.append(result)

    def close(self):
        self.closed += 1


class Deaf(Ears):
    """Raises as soon as it is told anything."""

    def on_trial(self, settings, trial):
        raise RuntimeError("no network")

    def on_result(self, result):
        self.results.append(result)


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_yaml):
    """The same cell without callbacks, and with one that hears and one that fails."""
    ears, deaf = Ears(), Deaf()
    folder = tmp_path_factory.mktemp("measured")
    plain = kbench.run(**CELL, protocol=str(tiny_yaml), store=folder / "plain")
    told = kbench.run(
        **CELL, protocol=str(tiny_yaml), store=folder / "told", callbacks=[deaf, ears]
    )
    return plain[0], told[0], ears, deaf, folder / "told"


def test_a_callback_hears_of_all_and_changes_nothing(measured):
    plain, told, ears, _, _ = measured
    assert told.trials_behind.digest == plain.trials_behind.digest
    assert told.kappa == plain.kappa
    assert ears.closed == 1
    (heard,) = ears.results
    assert heard.verdict == told.verdict
    by_key = {trial.key: trial for model, trial in ears.trials if model == "lstm"}
    assert {t.key for t in told.trials} <= by_key.keys()
    for trial in told.trials:
        heard = by_key[trial.key]
        assert heard.model_copy(update={"curve": trial.curve}) == trial
        # The store rounds to five figures.
        assert [x for point in heard.curve for x in point] == pytest.approx(
            [x for point in trial.curve for x in point], rel=1e-4
        )


def test_a_callback_that_fails_is_left_out_and_ends_nothing(measured, capsys, tiny_yaml):
    *_, deaf, store = measured
    assert not deaf.results
    assert not deaf.closed

    class Late(Ears):
        def on_result(self, result):
            raise OSError("disk")

    (result,) = kbench.run(**CELL, protocol=str(tiny_yaml), store=store, callbacks=[Late()])
    assert result.complete
    said = capsys.readouterr().err
    assert said == "kbench: Late failed (OSError: disk) and is left out from here on\n"


def test_nothing_is_put_together_for_nobody(measured, monkeypatch, tiny_yaml):
    monkeypatch.setattr(room.Callbacks, "trial", None)
    monkeypatch.setattr(room, "result_of", None)
    (result,) = kbench.run(**CELL, protocol=str(tiny_yaml), store=measured[-1])
    assert result.complete


def test_tensorboard_files_hold_curves_and_readings_once(measured, tmp_path, tiny_yaml):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told, store, where = measured[1], measured[-1], f"tensorboard:{tmp_path}"
    for _ in range(2):  # a second time nothing is added
        kbench.run(**CELL, protocol=str(tiny_yaml), store=store, callbacks=[where])
        (cell,) = tmp_path.iterdir()
        files = sorted(cell.rglob("*tfevents*"))
        assert len(files) == len({t.key for t in told.trials}) + 1
    trial = told.trials[0]
    (folder,) = cell.glob(f"*-{trial.key[:8]}")
    assert folder.name.startswith(f"n=3_seed={trial.seed}_N={trial.n_samples}_")
    found = EventAccumulator(str(folder)).Reload().Scalars("validation_loss")
    assert [(e.step, pytest.approx(e.value)) for e in found] == [(*p,) for p in trial.curve]
    (folder,) = cell.glob("result-*")
    found = EventAccumulator(str(folder)).Reload()
    alone = {e.step: e.value for e in found.Scalars("n_star/high")}
    highs = {int(n): told.n_star[n].over_seeds.high for n in "34"}
    assert alone == {n: high for n, high in highs.items() if high is not None} != {}


def test_weights_and_biases_get_a_run_for_each_cell(measured, monkeypatch, tiny_yaml):
    made = []

    class Run:
        def __init__(self, **given):
            self.given, self.logged, self.summary, self.finished = given, [], {}, 0
            made.append(self)

        def define_metric(self, name, step_metric):
            self.metric = name, step_metric

        def log(self, values):
            self.logged.append(values)

        def finish(self):
            self.finished += 1

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Run))
    told, store = measured[1], measured[-1]
    kbench.run(**CELL, protocol=str(tiny_yaml), store=store, callbacks=["wandb:mine"])
    (run,) = made
    assert run.given["project"] == "mine"
    assert run.given["config"]["task_params"] == {"m": 2}
    assert "trials" not in run.given["config"]
    assert len(run.logged) == sum(len(t.curve) for t in told.trials)
    assert run.summary["verdict"] == told.verdict
    assert run.summary["n_star/high/4"] == told.n_star["4"].over_seeds.high
    assert run.finished == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["tensorbord"], "unknown log 'tensorbord'; did you mean 'tensorboard'?"),
        (["wandb"], "the package wandb is not installed: pip install wandb"),
        ([Ears], "a callback is an object with on_trial, on_result and close, got <class"),
        ("wandb", "callbacks is a list of callbacks, got 'wandb'"),
    ],
)
def test_what_is_no_callback_is_refused_before_anything_is_measured(given, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
    with pytest.raises(KbenchError) as refused:
        kbench.run(**CELL, callbacks=given)
    assert str(refused.value).startswith(said)


def test_the_command_line_has_an_option(kbench_here, measured, tmp_path, tiny_yaml):
    pytest.importorskip("tensorboard")
    done = kbench_here(
        "run", "--model", "lstm", "--task", "modadd", "--supervision", "aligned", "--set", "m=2",
        "--lengths", "3-4", "--protocol", tiny_yaml, "--store", measured[-1], "--workers", 1,
        "--log", "tensorboard", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/*/result-*/*tfevents*"))


def test_the_callback_of_the_documentation_works(
    measured, tmp_path, monkeypatch, tiny_yaml, capsys
):
    page = (Path(__file__).parents[2] / "docs" / "logging.md").read_text()
    (code,) = re.findall(r"```python\n(import csv.*?)```", page, re.DOTALL)
    exec(code, made := {})
    monkeypatch.chdir(tmp_path)
    lines = made["Lines"]("trials.csv")
    where = {"protocol": str(tiny_yaml), "store": tmp_path / "store", "callbacks": [lines]}
    (result,) = kbench.run(**CELL, **where)
    written = (tmp_path / "trials.csv").read_text().splitlines()
    assert len(written) == result.trials_behind.run
    assert written[0].startswith("lstm,1,")
    assert capsys.readouterr().out == f"lstm {result.verdict}\n"
