"""The command line as a user meets it: as a process, by its exit code, stdout and stderr."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KBENCH = [sys.executable, "-c", "from kbench.cli import main; main()"]
CELL = ["--model", "lstm", "--task", "modadd", "--set", "m=2", "--lengths", "3-5"]


def kbench(*args, cwd, **options):
    return subprocess.run(
        [*KBENCH, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300, **options
    )


def stable(text):
    """A JSON document without what one command alone did."""
    document = json.loads(text)
    for result in document["results"]:
        del result["wall_s"], result["trials"]["run"], result["trials"]["reused"]
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
}


@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_clear_line_and_exit_code_2(options, tmp_path):
    done = kbench("run", *options.split(), cwd=tmp_path)
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
    ],
)
def test_other_commands_answer_bad_input_alike(args, said, tmp_path):
    done = kbench(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_help_imports_nothing_heavy(tmp_path):
    script = (
        "import sys; from kbench.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pebble'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


def test_lists(tmp_path):
    for kind, name in (("models", "lstm"), ("tasks", "modadd"), ("protocols", "quick")):
        done = kbench("list", kind, cwd=tmp_path)
        assert done.returncode == 0
        assert name in done.stdout


@pytest.mark.slow
def test_plan_trains_nothing_and_bounds_what_run_does(tmp_path, tiny_yaml):
    options = [*CELL, "--supervision", "aligned", "--protocol", tiny_yaml]
    before = kbench("plan", *options, cwd=tmp_path)
    assert before.returncode == 0
    assert not (tmp_path / ".kbench").exists()
    total = [line for line in before.stdout.splitlines() if "total" in line][0]
    least, most = (int(x) for x in total.split("│")[7].split(" to "))
    run = kbench("run", *options, "--json", cwd=tmp_path)
    trials = json.loads(run.stdout)["results"][0]["trials"]["run"]
    assert least <= trials <= most
    after = kbench("plan", *options, cwd=tmp_path)
    total = [line for line in after.stdout.splitlines() if "total" in line][0]
    assert total.split("│")[7].strip() == "0 to 0"
    assert int(total.split("│")[6]) == trials


@pytest.mark.slow
def test_run_twice_show_and_any_number_of_workers_agree(tmp_path, tiny_yaml):
    options = ["run", *CELL, "--supervision", "aligned", "--protocol", tiny_yaml, "--json"]
    first = kbench(*options, "--workers", 2, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    again = kbench(*options, cwd=tmp_path)
    assert json.loads(again.stdout)["results"][0]["trials"]["run"] == 0
    assert "nothing to run" in again.stderr
    single = kbench(*options, "--workers", 1, "--store", "elsewhere", cwd=tmp_path)
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
        assert done.stdout.count(f" {supervision} ") + done.stdout.count(f" {supervision}:") == 3
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
        assert "Go on with: kbench run --model lstm" in err
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
    all_trials = json.loads(whole.stdout)["results"][0]["trials"]["run"]
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
    assert trials["reused"] == ran
    assert trials["run"] + trials["reused"] == all_trials


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
