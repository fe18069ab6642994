"""`kbench canary`: what it measures, and what it leaves behind."""

import json

import pytest
from forked import kbench
from test_own import TEMPLATE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "lstmm"], "did you mean 'lstm'"),
        (["--seeds", "0"], "--seeds is a number of seeds, at least 1"),
        (["--workers", "0"], "--workers is a number of processes, at least 1"),
        (["--store", "used"], "--store used: a canary trains anew"),
        (["--store", "used/file"], "--store used/file: a canary trains anew"),
        (["--output", "used"], "--output used: no such folder"),
        (["--output", "none/a.json"], "--output none/a.json: no such folder"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(tmp_path, arguments, said, kbench_here):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    done = kbench_here("canary", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not (tmp_path / "canary.json").exists()


def canary(*arguments, cwd):
    return kbench("canary", "--seeds", "1", *arguments, cwd=cwd)


@pytest.mark.slow
def test_it_measures_two_kinds_of_models_with_every_trial(tmp_path):
    done = canary("--store", "kept", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "canary.json").read_text())
    assert document == json.loads(done.stdout)
    assert document["command"] == "kbench canary"
    results = document["results"]
    models = [result["model"] for result in results]
    assert [*models, "deltanet"] == [*document["checks"]] == ["lstm", "transformer", "deltanet"]
    (published,) = document["checks"]["deltanet"]
    assert (published["name"], published["passed"]) == ("published", True)
    for result in results:
        assert result["complete"]
        assert result["checks_failed"] == result["errors"] == []
        assert {len(t["data_sha256"]["train"]) for t in result["trials"]["each"]} == {64}
        # What is censored moves with nothing.
        assert {of["censored"] for of in result["n_star"].values()} == {None}
    again = kbench("compare", "canary.json", "kept", cwd=tmp_path)
    assert (again.returncode, again.stdout.count("bit for bit")) == (0, 2)


@pytest.mark.slow
def test_of_a_model_of_ones_own_behaviour_counts_and_not_the_text(tmp_path):
    sources = {
        "base": TEMPLATE,
        "comment": TEMPLATE + "# nothing to do with what it computes\n",
        "slower": TEMPLATE.replace("self.head(x / counts)", "self.head(x / counts / 30)"),
        "future": TEMPLATE.replace("self.head(x / counts)", "self.head((x / counts).roll(-1, 1))"),
    }
    codes = {}
    for name, source in sources.items():
        (tmp_path / "mean.py").write_text(source)
        done = canary("--model", "mean.py:Mean", "--output", f"{name}.json", cwd=tmp_path)
        codes[name] = done.returncode, kbench("compare", "base.json", f"{name}.json", cwd=tmp_path)
    assert {name: code for name, (code, _) in codes.items()} == dict.fromkeys(sources, 0) | {
        "future": 1
    }
    said = {name: (compared.returncode, compared.stdout) for name, (_, compared) in codes.items()}
    assert said["base"][0] == said["comment"][0] == 0
    assert said["comment"][1].count("bit for bit") == 2
    assert "behaviour changed" in said["slower"][1]
    assert said["future"][0] == 4
    assert "HEAD: fails the check `causal`" in said["future"][1]
    if said["slower"][0] == 3:
        assert "kbench canary --model mean.py:Mean --seeds 2" in said["slower"][1]
