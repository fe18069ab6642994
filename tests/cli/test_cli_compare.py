"""`kbench compare` by exit code and output: every kind of source, bad input."""

import json
import shutil
import subprocess

import pytest
from conftest import changed, made_up
from forked import kbench

from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import location
from kbench.leaderboard.submission import build
from kbench.study.searches import CellRun
from kbench.study.store import Store


def fill_store(folder, cell, factor=1.0, steps=200, data="a", seeds=(1, 2, 3)):
    """A store of made-up trials: each length needs 12 samples, all together 30, times a factor."""
    cell = changed(cell, seeds=seeds)
    with Store(folder) as store:
        store.add_cell(cell.spec())
        run = CellRun(cell)
        while wanted := run.wanted():
            for trial in wanted:
                passed = trial.n_samples >= factor * (12 if len(trial.lengths) == 1 else 30)
                result = made_up(
                    "passed" if passed else "failed",
                    reason="success" if passed else "budget",
                    steps=steps,
                    data_sha256={"train": data * 64, "validation": data * 64},
                    environment={"revision": "0" * 40, "dirty": False},
                )
                store.put(trial, result)
                run.tell(trial, result)


@pytest.fixture
def small(wide):
    """A cell of the packaged protocol `quick-1`, so that a leaderboard would take it."""
    return changed(wide, lengths=(4, 5), extrapolate=())


@pytest.fixture
def stores(tmp_path, small):
    fill_store(tmp_path / "base", small)
    fill_store(tmp_path / "worse", small, factor=5)
    return tmp_path


@pytest.mark.parametrize(
    ("head", "code", "said"),
    [
        ({}, 0, "bit for bit the same"),
        ({"steps": 210}, 0, "behaviour changed"),
        ({"factor": 5}, 1, "worse"),
        ({"factor": 0.1}, 1, "better"),
        ({"data": "b"}, 1, "data changed"),
        ({"seeds": (7, 8)}, 4, "no seed in common"),
    ],
)
def test_stores_and_exit_codes(tmp_path, small, head, code, said, kbench_here):
    fill_store(tmp_path / "base", small)
    fill_store(tmp_path / "head", small, **head)
    done = kbench_here("compare", "base", "head", cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    words = {0: "same", 1: "regression", 4: "broken"}
    assert done.stdout.splitlines()[-1] == words[code]
    as_json = kbench("compare", "base", "head", "--json", cwd=tmp_path)
    document = json.loads(as_json.stdout)
    assert (as_json.returncode, document["exit_code"]) == (code, code)
    assert document["verdict"] == words[code]


def test_inconclusive_is_3_and_names_the_command(stores, small, kbench_here):
    fill_store(stores / "between", small, factor=1.5)
    done = kbench_here("compare", "base", "between", cwd=stores)
    assert done.returncode == 3, done.stdout
    assert done.stdout.splitlines()[-1] == (
        "more seeds, for both sides: kbench run --model lstm --task modadd --supervision aligned "
        "--protocol quick-1 --lengths 4-5 --set m=3 --seeds 6"
    )
    assert kbench_here("compare", "base", "between", "--tolerance", 9, cwd=stores).returncode == 0


def test_result_files_and_stores_mix(stores, kbench_here):
    for name in ("base", "worse"):
        done = kbench("show", "--store", name, "--json", cwd=stores)
        (stores / f"{name}.json").write_text(done.stdout)
    assert kbench_here("compare", "base.json", "base.json", cwd=stores).returncode == 0
    assert kbench_here("compare", "base", "base.json", cwd=stores).returncode == 0
    for base in ("base", "base.json"):
        assert kbench_here("compare", base, "worse.json", cwd=stores).returncode == 1


def test_of_a_store_the_last_version_and_the_most_seeds_count(stores, small, kbench_here):
    fill_store(stores / "base", small, seeds=(1,))
    done = kbench("compare", "base", "worse", "--json", cwd=stores)
    assert json.loads(done.stdout)["cells"][0]["rows"][0]["seeds"] == 3


def test_an_unfinished_cell_is_broken(stores, small, kbench_here):
    with Store(stores / "empty") as store:
        store.add_cell(small.spec())
    done = kbench_here("compare", "base", "empty", cwd=stores)
    assert done.returncode == 4
    assert "HEAD: not complete" in done.stdout


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_entries_of_two_revisions(stores, small, kbench_here):
    entries = {}
    for name in ("base", "worse"):
        with Store(stores / name) as store:
            entries[name] = text_of(build(small, store))
    path = stores / "leaderboards" / location(small)
    path.parent.mkdir(parents=True)
    git(stores, "init", "-b", "main")
    for name in ("base", "worse"):
        path.write_text(entries[name])
        git(stores, "add", "leaderboards")
        git(stores, "commit", "-m", name)
    ledger = stores / "leaderboards" / "verified.json"
    ledger.write_text("{}")  # which entries are verified is no entry
    git(stores, "add", "leaderboards")
    git(stores, "commit", "-m", "verified")
    assert kbench_here("compare", "HEAD~1", "leaderboards", cwd=stores).returncode == 0
    path.write_text("{")  # what is not committed does not count
    assert kbench_here("compare", "HEAD~2", "HEAD", cwd=stores).returncode == 1
    assert kbench_here("compare", "main:leaderboards/quick-1", "HEAD", cwd=stores).returncode == 0
    assert kbench_here("compare", "HEAD~2", "base", cwd=stores).returncode == 0
    done = kbench_here("compare", "HEAD", "leaderboards", cwd=stores)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["base", "nowhere"], "nowhere: no such file, folder or git revision"),
        (["base", "--", "-x"], "-x: no such file, folder or git revision"),
        (["base", "nothing"], "nothing: no results"),
        (["base", "text.json"], "text.json is not JSON"),
        (["base", "deep.json"], "deep.json is not JSON"),
        (["base", "list.json"], "list.json: not a result of kbench"),
        (["base", "old.json"], "old.json: not a result of kbench"),
        (["base", "half.json"], "half.json: not a result of kbench: "),
        (["base", "bytes.json"], "bytes.json is not text in UTF-8"),
        (["base", "times.json"], "results and times of pytest-benchmark cannot be compared"),
        (["base", "base", "--tolerance", "1"], "--tolerance is a ratio above 1, got 1"),
        (["base", "base", "--tolerance", "nan"], "--tolerance is a ratio above 1, got nan"),
        (["base"], "Missing argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(tmp_path, small, arguments, said, kbench_here):
    fill_store(tmp_path / "base", small)
    (tmp_path / "nothing").mkdir()
    files = {
        "text": "{",
        "deep": "[" * 200_000,
        "list": "[]",
        "old": '{"schema_version": 0, "results": []}',
        "half": '{"schema_version": 1, "results": [{}]}',
        "times": json.dumps(times("2026-01-01", 1.0)),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    done = kbench_here("compare", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def times(when, seconds):
    """A file of pytest-benchmark."""
    return {
        "machine_info": {"node": "n", "cpu": {"brand_raw": "c"}, "python_version": "3.12"},
        "datetime": when,
        "benchmarks": [{"fullname": "step", "stats": {"min": seconds}}],
    }


def test_times_of_pytest_benchmark(tmp_path, kbench_here):
    for k, (side, seconds) in enumerate((("base", 1.0), ("head", 1.5)) * 2):
        (tmp_path / side).mkdir(exist_ok=True)
        (tmp_path / side / f"{k}.json").write_text(json.dumps(times(f"2026-01-0{k + 1}", seconds)))
    done = kbench_here("compare", "base", "head", cwd=tmp_path)
    assert (done.returncode, "slower" in done.stdout) == (1, True)
    once = kbench_here("compare", "base/0.json", "head/1.json", cwd=tmp_path)
    assert (once.returncode, "not confirmed" in once.stdout) == (3, True)
    shutil.copy(tmp_path / "base" / "0.json", tmp_path / "head" / "1.json")
    shutil.copy(tmp_path / "base" / "2.json", tmp_path / "head" / "3.json")
    assert kbench_here("compare", "base", "head", cwd=tmp_path).returncode == 0
