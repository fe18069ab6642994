"""Your own task: by the path of a file, and from an installed package."""

import json
import os
import re
from pathlib import Path

import pytest
from forked import kbench

ROOT = Path(__file__).parents[2]
TEMPLATE = re.search(
    r"```python\n(\"\"\"A counter.*?)```",
    (ROOT / "docs" / "tutorial-task.md").read_text(),
    re.DOTALL,
)[1]
MODEL = ["--model", "rnn", "--lengths", "2-4", "--seeds", "1", "--workers", "1"]


def run(*args, cwd, protocol, **options):
    done = kbench("run", *MODEL, "--protocol", protocol, "--json", *args, cwd=cwd, **options)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert all(result["complete"] for result in results)
    return results


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "counter.py"
    path.write_text(TEMPLATE)
    return path


def test_the_template_is_forty_lines():
    assert len([line for line in TEMPLATE.splitlines() if line.strip()]) <= 40


@pytest.mark.slow
def test_a_file_gets_every_supervision_and_tests_beyond_and_an_edited_one_starts_from_nothing(
    counter, tmp_path, tiny_yaml
):
    task = ["--task", "counter.py:Counter"]
    results = run(*task, "--extrapolate", "2x", cwd=tmp_path, protocol=tiny_yaml)
    assert [r["supervision"] for r in results] == ["outcome", "cot", "aligned"]
    for result in results:
        assert result["task"] == "counter.py:Counter"
        assert result["task_params"] == {"top": 3}
        assert result["kappa"]["best_of_grid"]
        assert {"8"} == {n for entry in result["extrapolation"] for n in entry["accuracy"]}
    aligned = [*task, "--supervision", "aligned"]
    (again,) = run(*aligned, cwd=tmp_path, protocol=tiny_yaml)
    assert again["trials"]["run"] == 0
    (other,) = run(*aligned, "--set", "top=2", cwd=tmp_path, protocol=tiny_yaml)
    assert (other["task_params"], other["trials"]["reused"]) == ({"top": 2}, 0)
    (two,) = run(*aligned, "--workers", "2", "--store", "two", cwd=tmp_path, protocol=tiny_yaml)
    assert two["trials"]["digest"] == again["trials"]["digest"]

    counter.write_text(TEMPLATE.replace("top: int", "top: int  # edited"))
    (edited,) = run(*aligned, cwd=tmp_path, protocol=tiny_yaml)
    assert edited["trials"]["reused"] == 0
    counter.unlink()  # what is stored needs no source to be shown
    shown = json.loads(kbench("show", "--json", "--task", task[1], cwd=tmp_path).stdout)
    assert len(shown["results"]) == 6
    table = kbench("show", cwd=tmp_path).stdout
    assert "counter.py:Counter top=3 version " in table


def test_an_installed_package_offers_a_task(counter, tmp_path, tiny_yaml):
    site = tmp_path / "site"
    info = site / "games-1.2.dist-info"
    (site / "games").mkdir(parents=True)
    info.mkdir()
    counter.rename(site / "games" / "counter.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: games\nVersion: 1.2\n")
    points = ["counter = games.counter:Counter", "gone = games.nowhere:Counter"]
    (info / "entry_points.txt").write_text("\n".join(["[kbench.tasks]", *points, ""]))
    path = {"env": os.environ | {"PYTHONPATH": str(site)}}
    aligned = ["--task", "counter", "--supervision", "aligned"]
    (result,) = run(*aligned, cwd=tmp_path, protocol=tiny_yaml, **path)
    assert result["task"] == "counter"
    listed = kbench("list", "tasks", cwd=tmp_path, **path).stdout
    assert re.search(r"counter +games.* top=3 .* 2 to 6 .* A counter that stops", listed)
    assert re.search("gone .*cannot be used: task gone", listed)
    sample = kbench("sample", "--task", "counter", "--length", "3", cwd=tmp_path, **path)
    assert "counter top=3, length 3\n27 samples in all" in sample.stdout


def test_a_class_that_is_no_dataclass_and_has_no_presets_will_do(counter, tmp_path, tiny_yaml):
    plain = "    def __init__(self, top=2, steep: bool = False):\n        self.top = top\n"
    source = TEMPLATE.replace("@dataclass(frozen=True)\n", "").replace("    top: int\n", plain)
    counter.write_text(re.sub(r"    presets = .*\n", "", source))
    aligned = ["--task", "counter.py:Counter", "--supervision", "aligned"]
    (result,) = run(*aligned, cwd=tmp_path, protocol=tiny_yaml)
    assert result["task_params"] == {}
    settings = ["--set", "top=4", "--set", "steep=true"]
    (other,) = run(*aligned, *settings, cwd=tmp_path, protocol=tiny_yaml)
    assert other["task_params"] == {"top": 4, "steep": True}
    for setting, said in {
        "steep=ture": "steep must be of type bool, got 'ture'",
        "steep=.nan": "steep must be of type bool, got '.nan'",
        "top=2020-01-01": "top must be a number, a text or a list of these, got '2020-01-01'",
        "top=.inf": "top must be a number, a text or a list of these, got '.inf'",
    }.items():
        done = kbench("run", *MODEL, *aligned, "--set", setting, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert said in done.stderr
    done = kbench("run", "--model", "rnn", *aligned, cwd=tmp_path)
    assert done.returncode == 2
    assert "`lengths` in its preset must be a first and a larger last length" in done.stderr


def edited(old, new):
    assert old in TEMPLATE
    return TEMPLATE.replace(old, new)


BAD = {
    "counter.py:Cuonter": (TEMPLATE, "did you mean 'Counter'?"),
    "counter.py:Counter": (edited("return digits", "return digits // 2"), "give the same inputs"),
    "none.py:Counter": (TEMPLATE, "task file none.py: No such file"),
    "counter.py:np": (TEMPLATE, "unknown class defined in counter.py 'np'"),
    "counter.py:A": (
        "class A:\n presets = {'quick': {}}\n",
        "A is no subclass of kbench.tasks.Task",
    ),
    "counter.py:B": ("x = 1\n1 / 0\n", r"ZeroDivisionError: .*\(line 2\)"),
    "counter.py:C": (
        "class C:\n presets = {'quick': {'f': len}}\n",
        "presets must hold keyword arg",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(name, tmp_path, kbench_here):
    source, said = BAD[name]
    (tmp_path / "counter.py").write_text(source)
    for command in (["run", *MODEL], ["sample", "--length", "3"]):
        done = kbench_here(*command, "--task", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert re.search(said, done.stderr), done.stderr
    assert not (tmp_path / ".kbench").exists()


BAD_LENGTHS = ["(2,)", "(3, 3)", "(0, 4)", "'2-6'", "(2, 6.0)", "None"]


@pytest.mark.parametrize("lengths", BAD_LENGTHS)
def test_lengths_of_a_preset_that_make_no_sense_are_said(lengths, counter, tmp_path, kbench_here):
    counter.write_text(edited("(2, 6)", lengths))
    done = kbench_here("run", "--model", "rnn", "--task", "counter.py:Counter", cwd=tmp_path)
    assert done.returncode == 2
    assert "must be a first and a larger last length" in done.stderr
    assert len(done.stderr.splitlines()) == 1
