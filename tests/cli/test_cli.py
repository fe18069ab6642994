"""The command line as a user meets it: as a process, by its exit code, stdout and stderr."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import kbench

KBENCH = [sys.executable, "-c", "from kbench.cli import main; main()"]
SCALE = ["scale", "--model", "lstm", "--task", "modadd"]
CELL = ["--model", "lstm", "--task", "modadd", "--set", "m=2", "--lengths", "3-5"]


def stable(text):
    """A JSON document without what one command alone did."""
    document = json.loads(text)
    for result in document["results"]:
        del result["wall_s"], result["trials"]["run"], result["trials"]["reused"]
        for trial in result["trials"]["each"]:
            del trial["wall_s"]
    return document


BAD = {
    "--model lstmm --task modadd": "did you mean 'lstm'",
    "--model lstm --task modad": "did you mean 'modadd'",
    "--model lstm --task modadd --supervision foo": "unknown supervision 'foo'",
    "--model lstm --task modadd --supervision algned": "did you mean 'aligned'",
    "--model lstm --task modadd --protocol quik": "did you mean 'quick'",
    "--model lstm --task modadd --protocol none.yaml": "No such file",
    "--model lstm --task modadd --set m=-1": "m must be an integer of at least 2, got -1",
    "--model lstm --task modadd --set m=x": "m must be of type int, got 'x'",
    "--model lstm --task modadd --set m": "--set wants NAME=VALUE",
    "--model lstm --task modadd --set k=3": "unknown parameter of modadd 'k'",
    "--model lstm --task modadd --lengths 7": "--lengths wants",
    "--model lstm --task modadd --lengths 7-2": "--lengths wants",
    "--model lstm --task modadd --lengths 0-3": "--lengths wants",
    "--model lstm --task modadd --lengths 3-3": "--lengths wants",
    "--model lstm --task modadd --seeds 0": "--seeds is a number of seeds, at least 1",
    "--model lstm --task modadd --seeds two": "Invalid value for '--seeds'",
    "--model lstm --task modadd --workers 0": "--workers is a number of processes, at least 1",
    "--model lstm --task modadd --executor rya": "did you mean 'ray'",
    "--model lstm --task modadd --executor ray --workers 2": "--workers is for --executor local",
    "--model lstm --task modadd --ray-address auto": "--ray-address is the cluster for --executor",
    "--model lstm --task modadd --modell x": "No such option: --modell",
    "--model lstm": "Missing option '--task'",
    "--model lstm --task modadd --store /dev/null": "cannot open the trial store",
    "--model lstm --task modadd --match parms": "did you mean 'params'",
    "--model lstm --task modadd --reference gru": "--reference is the model for --match params",
    "--model lstm --task modadd --match params --reference grru": "did you mean 'gru'",
    "--model lstm --task modadd --device cuad": "did you mean 'cuda'",
    "--model lstm --task modadd --backend tork": "did you mean 'torch'",
    "--model mamba --task modadd --backend mamba-ssm": "needs a CUDA device",
    "--model lstmm --task modad --supervision foo --set m=-1": "unknown",
    "--model lstm --task modadd --distribution unifrom": "did you mean 'uniform'",
    "--model lstm --task modadd --extrapolate 2y": "--extrapolate wants lengths, as in 2x,4x,500",
    "--model lstm --task modadd --extrapolate 2x,,4x": "--extrapolate wants lengths",
    "--model lstm --task modadd --extrapolate 9999999": "lengths go up to 10,000, got 9,999,999",
    "--model lstm --task modadd --lengths 2-9999999": "lengths go up to 10,000, got 9,999,999",
    "--model lstm --task modadd --extrapolate 5": "5 is not beyond the longest length, 5",
    "--model lstm --task modadd --extrapolate 1x": "1x is not beyond the longest length, 5",
    "--model lstm --task parity --set m=3": "unknown parameter of parity 'm'",
    "--model lstm --task cycle --set group=S3": "unknown parameter of cycle 'group'",
    "--model lstm --task permutation --set group=S3x": "unknown group 'S3x'; did you mean 'S3'?",
    "--model lstm --task permutation --set tokens=element": "did you mean 'elements'",
    "--model lstm --task lookup --set keys=1": "keys must be an integer of at least 2, got 1",
    "--model lstm --task lookup --set mapping=map": "unknown lookup: mapping 'map'",
    "--model lstm --task gridnav --set w=0": "w × h must lie between 2 and 1,024 cells",
    "--model lstm --task gridnav --set walls=8": "walls must leave two of 9 cells free, got 8",
    "--model lstm --task registers --set m=1": "m must be an integer of at least 2, got 1",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_clear_line_and_exit_code_2(options, tmp_path, kbench_here):
    done = kbench_here("run", *options.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("kbench: error: ")
    assert BAD[options] in done.stderr
    assert not (tmp_path / ".kbench").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rum"], "No such command 'rum'"),
        (["list", "modles"], "'modles'"),
        (["show"], "no trial store"),
        (["plan", "--model", "lstm", "--task", "modad"], "did you mean 'modadd'"),
        (["check", "lstmm"], "did you mean 'lstm'"),
        (["check", "lstm", "--protocol", "quik"], "did you mean 'quick'"),
        (["list", "models", "--task", "modad"], "did you mean 'modadd'"),
        (["sample", "--task", "modad"], "did you mean 'modadd'"),
        (["sample", "--task", "modadd", "--length", "10001"], "lengths go up to 10,000"),
        (["sample", "--task", "modadd", "--length", "0"], "--length must be at least 1"),
        (["sample", "--task", "modadd", "--count", "0"], "--count is a number of samples"),
        (["sample", "--task", "modadd", "--seed", "-1"], "--seed must be at least 0"),
        (["sample", "--task", "modadd", "--supervision", "cott"], "did you mean 'cot'"),
        (["sample", "--task", "modadd", "--set", "k=1"], "unknown parameter of modadd 'k'"),
        ([*SCALE, "--over", "L"], "--over wants a name and two values or more"),
        ([*SCALE, "--over", "L=5"], "--over wants a name and two values or more"),
        ([*SCALE, "--over", "L=5,x"], "--over L wants lengths above the first, 2, got 'x'"),
        ([*SCALE, "--over", "L=2,5"], "--over L wants lengths above the first, 2, got '2'"),
        ([*SCALE, "--over", "m=2,3", "--set", "m=5"], "--set cannot be given as well"),
        ([*SCALE, "--over", "k=1,2"], "unknown parameter of modadd 'k'"),
        ([*SCALE, "--over", "L=4,5", "--lengths", "2-4"], "--lengths cannot be given as well"),
        ([*SCALE, "--over", "L=4,5", "--plot", "a.gif"], "a plot is a file .svg or .png"),
        ([*SCALE, "--over", "L=4,5", "--plot", "none/a.svg"], "no such folder"),
        (
            ["scale", "--model", "lstm", "--task", "permutation", "--over", "group=S3,Z6"],
            "a slope needs two different sizes, got 6",
        ),
        (
            ["scale", "--model", "lstm", "--task", "gridnav", "--over", "walls=0,2"],
            "a log-log slope needs sizes of at least 1",
        ),
        (["show", "--plot", "a"], "a plot is a file .svg or .png"),
    ],
)
def test_other_commands_answer_bad_input_alike(args, said, tmp_path, kbench_here):
    done = kbench_here(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_help_imports_nothing_heavy(tmp_path):
    script = (
        "import sys; from kbench.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pebble', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


def test_sample_prints_what_a_model_reads_and_its_targets_below(tmp_path):
    done = kbench("sample", "--task", "permutation", "--set", "group=Z3", "--length", "3",
                  "--supervision", "cot", "--count", "2", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    title, universe, empty, way, *rows = done.stdout.splitlines()
    assert title == "permutation group=Z3, length 3"
    assert universe.startswith("27 samples in all; 3 different answers")
    assert "right in 0.333 of all" in universe
    assert (empty, way, len(rows)) == ("", "cot", 4)
    names = ["id", "(123)", "(132)"]
    for read, target in zip(rows[::2], rows[1::2], strict=True):
        x, _, s = read.removeprefix("read").partition("=")
        x, s = x.split(), s.split()
        sums = [names[sum(map(names.index, x[: k + 1])) % 3] for k in range(3)]
        assert target.removeprefix("target").split() == sums
        assert s == sums[:-1]
        # Each target stands below the token that asks for it.
        assert read.index("=") == target.index(sums[0]) + len(sums[0]) - 1


def test_a_long_sample_is_broken_into_lines_that_a_terminal_holds(tmp_path):
    done = kbench("sample", "--task", "modadd", "--length", "200", "--count", "1",
                  "--supervision", "aligned", cwd=tmp_path)  # fmt: skip
    assert done.stdout.splitlines()[1].startswith("about 10^140 samples in all")
    lines = done.stdout.splitlines()[4:]
    assert max(map(len, lines)) <= 140
    assert len("".join(line.removeprefix("read") for line in lines[::2]).split()) == 200


@pytest.mark.slow
def test_scale_gives_a_slope_and_a_plot_and_resumes(tmp_path, tiny_yaml):
    options = [*SCALE, "--lengths", "3-5", "--supervision", "aligned"]
    options = [*options, "--protocol", tiny_yaml, "--over", "m=2,3", "--plot", "a.png"]
    done = kbench(*options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (result,) = json.loads(done.stdout)["results"]
    assert (result["over"], result["sizes"], result["complete"]) == ("m", [2, 3], True)
    assert [cell["task_params"]["m"] for cell in result["cells"]] == [2, 3]
    assert set(result["slope"]) == {"best_of_grid", "over_seeds"}
    again = kbench(*options, cwd=tmp_path)
    assert "nothing to run" in again.stderr
    assert "m = 2" in again.stdout
    assert "slope" in again.stdout


@pytest.mark.slow
def test_what_was_trained_is_tested_beyond_and_drawn(tmp_path, tiny_yaml):
    options = [*CELL, "--supervision", "aligned", "--protocol", tiny_yaml]
    first = kbench("run", *options, "--json", "--workers", 1, cwd=tmp_path)  # none ahead
    done = kbench("run", *options, "--extrapolate", "2x,40", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (before,), (result,) = (json.loads(d.stdout)["results"] for d in (first, done))
    assert result["kappa"] == before["kappa"]
    assert result["trials"]["digest"] == before["trials"]["digest"]
    assert result["trials"]["reused"] == before["trials"]["run"]
    for entry in result["extrapolation"]:
        assert entry["reproduced"] is not False
        assert set(entry["accuracy"]) == {"10", "40"}
        for found in entry["accuracy"].values():
            assert found["chance"] == pytest.approx(0.5, abs=0.01)
            assert found["normalised"] == pytest.approx(
                (found["accuracy"] - found["chance"]) / (1 - found["chance"]), abs=1e-3
            )
    table = kbench("show", "--plot", "a.svg", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "Accuracy beyond" in table.stdout
    assert table.stdout.count(" 2.") + table.stdout.count("modadd m=2") >= 3
    assert (tmp_path / "a.svg").exists()


def test_lists(tmp_path):
    for kind, name in (("models", "lstm"), ("tasks", "modadd"), ("protocols", "quick")):
        done = kbench("list", kind, cwd=tmp_path)
        assert done.returncode == 0
        assert name in done.stdout


def total_of(plan):
    """The figures of the last row of `kbench plan`."""
    (total,) = [line for line in plan.splitlines() if "total" in line]
    return re.split(r"\s{3,}", total.strip())[1:]


@pytest.mark.slow
def test_plan_trains_nothing_and_bounds_what_run_does(tmp_path, tiny_yaml):
    options = [*CELL, "--supervision", "aligned", "--protocol", tiny_yaml]
    before = kbench("plan", *options, cwd=tmp_path)
    assert before.returncode == 0
    assert not (tmp_path / ".kbench").exists()
    _, stored_before, to_run, *_ = total_of(before.stdout)
    assert stored_before == "0"
    least, most = (int(x) for x in to_run.split(" to "))
    run = kbench("run", *options, "--json", "--workers", 1, cwd=tmp_path)  # none ahead
    trials = json.loads(run.stdout)["results"][0]["trials"]["run"]
    assert least <= trials <= most
    after = kbench("plan", *options, cwd=tmp_path)
    searches, stored_after, to_run, *_ = total_of(after.stdout)
    assert searches == " of ".join([searches.split(" of ")[0]] * 2)
    assert (int(stored_after), to_run) == (trials, "0 to 0")


@pytest.mark.slow
def test_run_twice_show_and_any_number_of_workers_agree(tmp_path, tiny_yaml):
    options = ["run", *CELL, "--supervision", "aligned", "--protocol", tiny_yaml, "--json"]
    first = kbench(*options, "--workers", 2, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = kbench(*options, cwd=tmp_path)
    assert json.loads(again.stdout)["results"][0]["trials"]["run"] == 0
    assert "nothing to run" in again.stderr
    single = kbench(*options, "--workers", 1, "--store", "elsewhere", "--profile", cwd=tmp_path)
    profile = single.stderr[single.stderr.index("Where the time went: 1 × ") :]
    shares = [float(x) for x in re.findall(r"([\d.]+)%", profile)]
    assert len(shares) == 7
    assert sum(shares[:5]) == pytest.approx(100, abs=0.5)
    assert shares[0] > 10  # training
    shown = kbench("show", "--json", cwd=tmp_path)
    assert stable(first.stdout) == stable(again.stdout) == stable(single.stdout)
    assert stable(first.stdout) == stable(shown.stdout)
    table = kbench("show", "--model", "lstm", cwd=tmp_path)
    assert "Sharing factor κ" in table.stdout
    assert "modadd m=2" in table.stdout
    assert "did you mean 'lstm'" in kbench("show", "--model", "lst", cwd=tmp_path).stderr


@pytest.mark.slow
def test_rows_of_every_supervision_and_a_table(tmp_path, tiny_yaml):
    options = [*CELL, "--protocol", tiny_yaml, "--seeds", "1"]
    done = kbench("run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for supervision in ("outcome", "cot", "aligned"):
        # Once as the row finishes, once in each of the two tables.
        rows = done.stdout.split("Of 3 cells")[0]
        assert rows.count(f" {supervision} ") + rows.count(f" {supervision}:") == 3
    assert "searches to do" in done.stderr


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path, tiny_yaml):
    options = [*CELL, "--supervision", "cot", "--protocol", tiny_yaml, "--json"]
    for workers in (1, 2):
        store = tmp_path / str(workers)
        command = [*KBENCH, "run", *map(str, options), "--store", store, "--workers", str(workers)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_for_trials(store, 3)
        os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert "Resume with: kbench run --model lstm" in err
        part = json.loads(out)["results"][0]
        assert part["complete"] is False
        assert part["trials"]["run"] >= 3
    ends = [
        kbench("run", *options, "--store", tmp_path / str(workers), cwd=tmp_path)
        for workers in (1, 2)
    ]
    assert all(end.returncode == 0 for end in ends)
    assert stable(ends[0].stdout) == stable(ends[1].stdout)


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_repeats_nothing(tmp_path, tiny_yaml):
    options = ["run", *CELL, "--supervision", "cot", "--protocol", str(tiny_yaml), "--json"]
    whole = kbench(*options, "--store", "whole", cwd=tmp_path)
    assert whole.returncode == 0
    rng, ran = random.Random(0), 0
    for _ in range(3):
        process = subprocess.Popen(
            [*KBENCH, *options], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = stored(tmp_path / ".kbench")
        wait_for_trials(tmp_path / ".kbench", before + rng.randint(1, 4), process)
        process.kill()
        process.wait()
        ran = stored(tmp_path / ".kbench")
    end = kbench(*options, cwd=tmp_path)
    assert stable(end.stdout) == stable(whole.stdout)
    trials = json.loads(end.stdout)["results"][0]["trials"]
    assert trials["reused"] <= ran  # what was run ahead may not have been asked for
    assert trials["run"] + ran == stored(tmp_path / ".kbench")


def stored(store: Path) -> int:
    import sqlite3

    if not (store / "trials.sqlite3").exists():
        return 0
    db = sqlite3.connect(store / "trials.sqlite3", timeout=30)
    try:
        return db.execute("SELECT count(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:  # the table is not there yet
        return 0
    finally:
        db.close()


def wait_for_trials(store, count, process=None):
    deadline = time.monotonic() + 120
    while stored(store) < count and not (process and process.poll() is not None):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_list_says_what_is_known_of_a_models_expressivity_where_asked(tmp_path):
    wide = os.environ | {"COLUMNS": "300"}
    listed = kbench("list", "models", "-v", cwd=tmp_path, env=wide).stdout
    assert "expressivity" in listed
    assert "no parity" in listed
    assert listed.index(" xlstm ") < listed.index(" hybrid ")  # whose state grows
