"""Output into streams that are closed, full, or of another encoding: no traceback, and readable."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import kbench
from test_cli import CELL, KBENCH

from kbench.report.grid import PLAIN

READING = {
    "list protocols": ["list", "protocols"],
    "claims": ["claims"],
    "schema": ["schema"],
    "help": ["--help"],
    "version": ["--version"],
    "show": ["show", "--store", "{store}"],
    "show --json": ["show", "--store", "{store}", "--json"],
    "export": ["export", "{store}"],
    "sample": ["sample", "--task", "modadd"],
}
every_command = pytest.mark.parametrize("command", READING)


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_yaml):
    folder = tmp_path_factory.mktemp("store")
    how = ["--supervision", "aligned", "--protocol", tiny_yaml, "--workers", 1]
    made = kbench("run", *CELL, *how, "--store", folder, cwd=folder)
    assert made.returncode == 0, made.stderr
    return folder


def words(command, store):
    return [*KBENCH, *(word.format(store=store) for word in READING[command])]


@every_command
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_any_encoding_will_do(command, encoding, store):
    done = subprocess.run(
        words(command, store),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if "json" not in command and command not in ("schema", "export"):
        done.stdout.decode(encoding)
    if command == "show":
        assert b"kappa" in done.stdout
        assert b"N*" in done.stdout
    if command == "show --json":
        assert json.loads(done.stdout.decode("utf-8"))["results"]  # documents are UTF-8 always


@every_command
def test_a_full_disk_is_one_line(command, store):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            words(command, store), stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.stderr.count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert done.returncode == 2


@every_command
def test_a_closed_stdout_is_no_error(command, store):
    line = " ".join(f"'{word}'" for word in words(command, store)) + " >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_enough_is_no_error(store):
    line = " ".join(f"'{word}'" for word in words("schema", store)) + " | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_stream_is_not_the_next_file_to_be_opened(store, tmp_path, tiny_yaml):
    """Which would be the store, and what is printed would go there."""
    run = [*KBENCH, "run", *CELL, "--supervision", "aligned", "--protocol", str(tiny_yaml),
           "--workers", "1", "--store", str(tmp_path / "new")]  # fmt: skip
    line = " ".join(f"'{word}'" for word in run) + " >&- 2>&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=120)
    assert done.returncode == 0
    shown = kbench("show", "--json", "--store", tmp_path / "new", cwd=tmp_path)
    assert json.loads(shown.stdout)["results"][0]["complete"]


def test_a_terminal_that_is_closed_stops_a_run_that_resumes(tmp_path):
    run = [*KBENCH, "run", *CELL, "--workers", "1", "--protocol", "cpu", "--store", "s"]
    # These tests may run under nohup themselves, which is handed down.
    code = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += "os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *run], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "s" / "trials.sqlite3").exists():
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGHUP)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "stopping" in said


def test_under_nohup_a_closed_terminal_stops_nothing():
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from kbench.api import interruptible\n"
        "import os\n"
        "with interruptible(print) as stopped:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    assert not stopped()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_is_plain_is_ascii():
    assert all(text.isascii() for text in PLAIN.values())
