"""The Python API: what it gives, what it refuses, and that it is light to import."""

import subprocess
import sys

import pytest

import kbench
from kbench import KbenchError

SMALL = {"task": "modadd", "supervision": "aligned", "task_params": {"m": 2}, "lengths": (3, 4)}


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_yaml):
    """Two small cells, really measured."""
    return kbench.run(
        model=["lstm", "gru"],
        **SMALL,
        protocol=str(tiny_yaml),
        extrapolate="2x",
        workers=1,
        store=tmp_path_factory.mktemp("store"),
        progress=False,
    )


def test_results_are_found_by_number_by_name_and_one_after_the_other(results):
    assert len(results) == 2
    assert [r.model for r in results] == ["lstm", "gru"]
    assert results[0] is results["lstm"] is results["modadd", "aligned", "lstm"]
    assert [r.model for r in results[1:]] == ["gru"]


def test_a_result_holds_typed_values(results):
    r = results["lstm"]
    assert r.complete
    assert r.kappa.best_of_grid.low <= r.kappa.best_of_grid.high
    assert r.kappa.over_seeds.seeds == 2
    assert r.verdict == r.kappa.verdict
    assert r.n_star["joint"].high > (r.n_star["joint"].low or 0)
    assert {seed.seed for seed in r.n_star["3"].per_seed} == {1, 2}
    assert all(t.outcome in ("passed", "failed") and t.steps > 0 for t in r.trials)


def test_stored_results_load_as_they_were_measured(results, tmp_path, tiny_yaml):
    where = {"protocol": str(tiny_yaml), "workers": 1, "store": tmp_path, "progress": False}
    measured = kbench.run(model="lstm", **SMALL, **where)
    again = kbench.run(model="lstm", **SMALL, **where)
    (loaded,) = kbench.load(tmp_path)
    assert again[0].trials_behind.run == 0
    assert loaded.trials == measured[0].trials == again[0].trials
    assert loaded.kappa == measured[0].kappa


def test_a_plan_says_what_is_left(results, tmp_path, tiny_yaml):
    plan = kbench.plan(model="lstm", **SMALL, protocol=str(tiny_yaml), store=tmp_path)
    assert (plan.searches, plan.searches_done) == (6, 0)
    assert 6 <= plan.trials[0] <= plan.trials[1]


def test_entries_load_too():
    (entry,) = kbench.load("leaderboards/quick-1/modadd/aligned/lstm.json")
    assert entry.verdict == "sharing"
    assert entry.trials


def test_what_is_drawn_and_shown(results):
    assert results.plot("kappa").axes
    assert results.plot("extrapolation").axes
    assert "Sharing factor κ" in repr(results)
    shown = results._repr_html_()
    assert shown.count("<tr>") == 3
    assert "<td>lstm</td>" in shown


WRONG = {
    "unknown model 'lstn'; did you mean 'lstm'?": {"model": "lstn"},
    "model is a name or a list of names, got 3": {"model": 3},
    "model: no name is given": {"model": []},
    "model Mine: a class is named by its file": {"model": type("Mine", (), {})},
    "model must be a text, got 3": {"model": ["lstm", 3]},
    "model file nowhere.py: No such file": {"model": "nowhere.py:Mine"},
    "unknown task 'modad'; did you mean 'modadd'?": {"task": "modad"},
    "task is a name or a list of names, got None": {"task": None},
    "unknown supervision 'aligne'; did you mean 'aligned'?": {"supervision": "aligne"},
    "unknown distribution 'unform'; did you mean 'uniform'?": {"distribution": "unform"},
    "unknown protocol 'quik'; did you mean 'quick'?": {"protocol": "quik"},
    "protocol must be a text, got None": {"protocol": None},
    "--lengths wants a first and a larger last length": {"lengths": (4, 3)},
    "as in 2-7, or several, as in 4,6,10, got 'x'": {"lengths": "x"},
    "lengths is a first and a last length, as in (2, 7), got 5": {"lengths": 5},
    "--lengths: lengths go up to 10,000": {"lengths": (2, 10**6)},
    "task_params is a mapping": {"task_params": "m=5"},
    "unknown parameter of modadd 'k'": {"task_params": {"k": 5}},
    "modadd: m must be of type int, got 'x'": {"task_params": {"m": "x"}},
    "modadd: m must be of type int, got True": {"task_params": {"m": True}},
    "seeds must be a whole number, got 1.5": {"seeds": 1.5},
    "--seeds is a number of seeds, at least 1, got 0": {"seeds": 0},
    "--extrapolate: 2 is not beyond the longest length": {"extrapolate": [2]},
    "extrapolate is lengths, as in ['2x', 500], got {}": {"extrapolate": {}},
    "unknown --match 'size'": {"match": "size"},
    "--reference is the model for --match params": {"reference": "lstm"},
    "unknown device 'gpu'": {"device": "gpu"},
    "unknown backend 'tourch'": {"backend": "tourch"},
    "workers must be a whole number, got '2'": {"workers": "2"},
    "--workers is a number of processes, at least 1, got 0": {"workers": 0},
    "unknown executor 'locla'": {"executor": "locla"},
    "--ray-address is the cluster": {"ray_address": "auto"},
    "a place is named by its path, got 3": {"store": 3},
}


@pytest.mark.parametrize("said", WRONG)
def test_a_wrong_call_is_one_line(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = {"model": "lstm", "task": "modadd", "progress": False} | WRONG[said]
    with pytest.raises(KbenchError) as error:
        kbench.run(**call)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_wrong_argument_name_is_pythons_own_error():
    with pytest.raises(TypeError, match="modle"):
        kbench.run(modle="lstm", task="modadd")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda r: r["lstn"], "unknown name in these results 'lstn'; did you mean 'lstm'?"),
        (lambda r: r["aligned"], "2 results have the names aligned"),
        (lambda r: r["lstm", "gru"], "no result has all of the names lstm, gru"),
        (lambda r: r[1.5], "results are chosen by number or by names, got 1.5"),
        (lambda r: r.to_pandas("kapa"), "unknown frame 'kapa'; did you mean 'kappa'?"),
        (lambda r: r.plot("kapa"), "unknown plot 'kapa'; did you mean 'kappa'?"),
        (lambda r: kbench.load("nowhere"), "no trial store, no folder of entries"),
        (lambda r: kbench.check("lstn"), "unknown model 'lstn'"),
    ],
)
def test_a_wrong_question_is_one_line(results, wrong, said):
    with pytest.raises(KbenchError) as error:
        wrong(results)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def python(*arguments, cwd, stdin=""):
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True
    )


def test_importing_loads_no_torch(tmp_path):
    done = python("-c", "import kbench, sys; print('torch' in sys.modules)", cwd=tmp_path)
    assert done.stdout == "False\n"


SCRIPT = """
import kbench
r = kbench.run(model="lstm", task="modadd", supervision="aligned", task_params={"m": 2},
               protocol=PROTOCOL, lengths=(3, 4), seeds=1, workers=2, progress=False)
print(r[0].complete, r.to_pandas("trials").shape[0] > 3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("interactive", [False, True])
def test_a_script_needs_no_guard(tmp_path, tiny_yaml, interactive):
    text = SCRIPT.replace("PROTOCOL", repr(str(tiny_yaml)))
    (tmp_path / "script.py").write_text(text)
    how = ["-i", "script.py"] if interactive else ["script.py"]
    done = python(*how, cwd=tmp_path)
    assert done.stdout.startswith("True True\n"), done.stderr
    assert "Traceback" not in done.stderr
