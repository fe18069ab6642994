"""Your own model: by the path of a file, and from an installed package."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from forked import kbench
from test_cli import KBENCH

ROOT = Path(__file__).parents[2]
TEMPLATE = re.search(
    r"```python\n(\"\"\"A running mean.*?)```",
    (ROOT / "docs" / "tutorial-model.md").read_text(),
    re.DOTALL,
)[1]
CELL = ["--task", "modadd", "--set", "m=2", "--lengths", "3-4", "--seeds", "1", "--workers", "1"]


def run(*args, cwd, protocol, **options):
    done = kbench(
        "run", *CELL, "--supervision", "aligned", "--protocol", protocol, "--json", *args,
        cwd=cwd, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["complete"]
    return result


@pytest.fixture
def mean(tmp_path):
    path = tmp_path / "mean.py"
    path.write_text(TEMPLATE)
    return path


def test_the_template_is_twenty_lines():
    code = [line for line in TEMPLATE.splitlines() if line.strip()]
    assert len(code) <= 20


def test_a_file_runs_end_to_end_and_an_edited_one_starts_from_nothing(mean, tmp_path, tiny_yaml):
    first = run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    assert (first["model"], first["size"]) == ("mean.py:Mean", {"width": 64})
    assert re.fullmatch("sha256:[0-9a-f]{64}", first["model_version"])
    assert first["trials"]["run"] > 0
    again = run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    assert again["trials"]["run"] == 0
    assert again["n_star"] == first["n_star"]

    mean.write_text(TEMPLATE.replace("width=64", "width=32"))
    edited = run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    assert edited["model_version"] != first["model_version"]
    assert edited["trials"]["reused"] == 0

    for spelling in ("./mean.py:Mean", f"{mean}:Mean", "../" + tmp_path.name + "/mean.py:Mean"):
        other = run("--model", spelling, cwd=tmp_path, protocol=tiny_yaml)
        assert other["model"] == "mean.py:Mean"
        assert other["trials"]["reused"] == edited["trials"]["run"]
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "mean.py").write_text(mean.read_text())
    copied = run("--model", "zoo/mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    assert copied["model"] == "zoo/mean.py:Mean"
    assert copied["trials"]["reused"] == edited["trials"]["run"]
    (tmp_path / "zoo" / "mean.py").unlink()

    mean.unlink()  # what is stored needs no source to be shown
    shown = json.loads(kbench("show", "--json", cwd=tmp_path).stdout)["results"]
    assert [r["trials"]["digest"] for r in shown] == [
        first["trials"]["digest"],
        edited["trials"]["digest"],
        copied["trials"]["digest"],
    ]


def test_workers_find_the_file_too(mean, tmp_path, tiny_yaml):
    one = run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    two = run("--model", "mean.py:Mean", "--workers", "2", "--store", "two", cwd=tmp_path,
              protocol=tiny_yaml)  # fmt: skip
    assert one["trials"]["digest"] == two["trials"]["digest"]


def test_an_installed_package_offers_a_model(mean, tmp_path, tiny_yaml):
    site = tmp_path / "site"
    info = site / "zoo-1.2.dist-info"
    (site / "zoo").mkdir(parents=True)
    info.mkdir()
    mean.rename(site / "zoo" / "mean.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[kbench.models]\nmean = zoo.mean:Mean\n")
    path = {"env": os.environ | {"PYTHONPATH": str(site)}}
    result = run("--model", "mean", cwd=tmp_path, protocol=tiny_yaml, **path)
    assert result["model"] == "mean"
    assert re.fullmatch("zoo 1.2 sha256:[0-9a-f]{64}", result["model_version"])
    assert " mean " in kbench("list", "models", cwd=tmp_path, **path).stdout
    assert kbench("check", "mean", cwd=tmp_path, **path).returncode == 0

    # An edit of any file of the package makes another model.
    (site / "zoo" / "layers.py").write_text("SCALE = 2\n")
    again = run("--model", "mean", cwd=tmp_path, protocol=tiny_yaml, **path)
    assert again["trials"]["reused"] == 0

    # What is wrong with one plug-in concerns no other model.
    points = [
        "mean = zoo.mean:Mean", "lstm = zoo.mean:Mean", "gone = zoo.nowhere:Mean",
        "function = zoo.mean:torch.relu", "module = zoo.mean", "foreign = builtins:dict",
    ]  # fmt: skip
    (info / "entry_points.txt").write_text("\n".join(["[kbench.models]", *points, ""]))
    done = kbench("run", "--model", "lstm", *CELL, cwd=tmp_path, **path)
    assert done.returncode == 2
    assert "model 'lstm' is registered twice" in done.stderr
    for name in ("gone", "function", "module", "foreign"):
        done = kbench("check", name, cwd=tmp_path, **path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"kbench: error: model {name} (")
        assert len(done.stderr.splitlines()) == 1
    done = kbench("list", "models", cwd=tmp_path, **path)
    assert done.returncode == 0
    assert done.stdout.count("cannot be used") == 5
    assert done.stdout.count("numbers") == 22  # all packaged ones but lstm


def test_what_a_model_prints_does_not_spoil_the_document(mean, tmp_path, tiny_yaml):
    mean.write_text(
        TEMPLATE.replace("        x = self", "        print('hello')\n        x = self")
    )
    run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)


def test_defaults_that_are_no_numbers_are_the_constructors_own_affair(mean, tmp_path, tiny_yaml):
    mean.write_text(TEMPLATE.replace("width=64", "width=64, dtype=torch.float32, act=torch.relu"))
    result = run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    assert result["size"] == {"width": 64}


def test_rows_that_would_look_the_same_say_how_they_differ(mean, tmp_path, tiny_yaml):
    models = ["--model", "mean.py:Mean", "--model", "rnn"]
    for match in ([], ["--match", "params"]):
        options = [*CELL, "--supervision", "aligned", "--protocol", tiny_yaml, *models, *match]
        assert kbench("run", *options, cwd=tmp_path).returncode == 0
    shown = kbench("show", cwd=tmp_path).stdout
    assert "rnn layers=1 width=64 version 2" in shown
    assert shown.count("rnn layers=1 width=") == 4


def test_a_decorated_class_is_named_by_its_file_only(mean, tmp_path, tiny_yaml):
    decorator = (
        "from kbench.registry import models\n"
        "@models.register('lstm', version=1, presets={'quick': {'width': 16}})\nclass Mean"
    )
    mean.write_text(TEMPLATE.replace("class Mean", decorator))
    result = run("--model", "mean.py:Mean", cwd=tmp_path, protocol=tiny_yaml)
    assert result["model"] == "mean.py:Mean"
    assert result["size"] == {"width": 16}


def test_a_file_may_build_on_a_packaged_model(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from kbench.models.lstm import LSTM\n\nclass Mine(LSTM):\n"
        "    presets = {'quick': {'width': 8, 'layers': 1}}\n"
    )
    models = ["--model", "mine.py:Mine", "--model", "lstm"]
    done = kbench("plan", *CELL, "--supervision", "aligned", *models, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_check_says_pass_or_what_is_wrong(mean, tmp_path):
    good = kbench("check", "mean.py:Mean", cwd=tmp_path)
    assert good.returncode == 0
    assert "not measured: the model has no extend()" in good.stdout
    mean.write_text(TEMPLATE.replace(".cumsum(1)", ".flip(1).cumsum(1)"))
    bad = kbench("check", "mean.py:Mean", "lstm", "--json", cwd=tmp_path)
    assert bad.returncode == 1
    broken, lstm = json.loads(bad.stdout)["results"]
    assert (broken["passed"], lstm["passed"]) == (False, True)
    assert next(c["name"] for c in broken["checks"] if not c["passed"]) == "causal"


BAD = {
    "none.py:Mean": (None, "model file none.py: No such file"),
    "mean.py": (TEMPLATE, "say which class of it, as in mean.py:Mean"),
    "mean.py:Maen": (TEMPLATE, "unknown class defined in mean.py 'Maen'; did you mean 'Mean'?"),
    "mean.py:nn": (TEMPLATE, "unknown class defined in mean.py 'nn'"),
    "mean.py:Syntax": ("x = 1\nclass Syntax(:\n", r"SyntaxError: invalid syntax \(line 2\)"),
    "mean.py:Exits": ("import sys\nsys.exit('bye')\n", r"SystemExit: bye \(line 2\)"),
    "mean.py:Deep": ("import json\njson.loads('x')\n", r"JSONDecodeError: .*\(line 2\)"),
    "mean.py:Presets": ("class Presets:\n presets = [1, 2]\n", "presets must hold keyword arg"),
    "mean.py:path": ("from pathlib import Path as path\n", "unknown class defined in mean.py"),
    "sub/[v2]:smile:/mean.py:Mean": (None, r"sub/\[v2\]:smile:/mean.py: No such file"),
    "mean.py:M": (
        "class M:\n def __init__(self, v, t): raise ValueError('[/x] 1')\n",
        r"model mean.py:M: builds: ValueError: \[/x\] 1",
    ),
    "mean.py:Raises": ("x = 1\n\n1 / 0\n", r"ZeroDivisionError: .*\(line 3\)"),
    "mean.py:Imports": ("import nowhere_to_be_found\n", "ModuleNotFoundError: .*nowhere"),
    "mean.py:Plain": ("class Plain:\n def __init__(self, v, t): pass\n", "no torch.nn.Module"),
    "mean.py:Mean": (TEMPLATE.replace("max_len, ", ""), "builds: TypeError: .*takes 2 positional"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(name, tmp_path, kbench_here):
    source, said = BAD[name]
    if source:
        (tmp_path / "mean.py").write_text(source)
    done = kbench_here("run", "--model", name, *CELL, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(said, done.stderr), done.stderr
    assert not (tmp_path / ".kbench").exists()


def test_presets_of_a_class_and_the_families_that_it_lacks(mean, tmp_path, tiny_yaml):
    presets = '    presets = {"cpu": {"width": 8}}\n\n    def __init__'
    mean.write_text(TEMPLATE.replace("    def __init__", presets))
    done = kbench("run", "--model", "mean.py:Mean", *CELL, cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown preset of mean.py:Mean 'quick' (known: cpu)" in done.stderr


def test_matching_parameters(mean, tmp_path):
    args = ["--model", "lstm", "--model", "transformer-rope", "--model", "dense-ssm", "--match",
            "params", "--store", "none"]  # fmt: skip
    done = kbench("plan", *CELL, "--supervision", "cot", *args, cwd=tmp_path)
    assert done.returncode == 0
    mean.write_text(TEMPLATE.replace(", *, width=64", "").replace("width", "64"))
    done = kbench("plan", *CELL, *args, "--model", "mean.py:Mean", cwd=tmp_path)
    assert done.returncode == 2
    assert "mean.py:Mean has no width to match parameters by" in done.stderr


CRASHES = """
import multiprocessing, os, pathlib


class Crashes(Mean):
    def forward(self, tokens):
        mark = pathlib.Path("it-crashed")
        if multiprocessing.parent_process() and not mark.exists():  # in a worker, once
            mark.touch()
            os._exit(7)
        return super().forward(tokens)
"""


def test_a_model_that_ends_its_process_does_not_end_the_run(mean, tmp_path, tiny_yaml):
    mean.write_text(TEMPLATE + CRASHES)
    command = ["run", "--model", "mean.py:Crashes", *CELL, "--supervision", "aligned"]
    done = subprocess.run([*KBENCH, *command, "--protocol", tiny_yaml], cwd=tmp_path, timeout=300)
    assert done.returncode == 0
    assert (tmp_path / "it-crashed").exists()


def test_a_model_that_longer_inputs_would_change_is_refused_before_the_run(mean, tmp_path):
    text = TEMPLATE.replace(
        "        self.head =", "        self.far = 1 / max_len\n        self.head ="
    )
    mean.write_text(text.replace("return self.head(", "return self.far * self.head("))
    command = ["run", "--model", "mean.py:Mean", *CELL, "--supervision", "aligned"]
    done = kbench(*command, "--extrapolate", "2x", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--extrapolate: model mean.py:Mean: built for" in done.stderr
