"""The commands about leaderboards by exit code and output."""

import json

import pytest
import torch
from conftest import board_cell, invented, measured
from forked import kbench

from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import location
from kbench.study.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with leaderboards of two entries."""
    folder = tmp_path_factory.mktemp("clone")
    for cell in (board_cell(), board_cell(model="transformer")):
        path = folder / "leaderboards" / location(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(invented(cell)), "utf-8")
    return folder


BAD = {
    "submit --model lstm --task modadd": "no trial store at .kbench",
    "submit --model lstmm --task modadd": "did you mean 'lstm'",
    "submit --model lstm --task modadd --device cda --backend torch": "did you mean 'cuda'",
    "validate none.json": "no such entry or folder: none.json",
    "validate leaderboards --spot-check -1": "Invalid value for '--spot-check'",
    "validate leaderboards --own nothing.py": "--own: no file nothing.py",
    "validate leaderboards --spot-check 1 --workers 0": "--workers is a number of processes",
    "validate leaderboards --spot-check 1 --device cda": "did you mean 'cuda'",
    "board nowhere": "no folder of leaderboards at nowhere",
    "board --protocol quick": "did you mean 'quick-1'",
    "board --model lstm": "No such option: --model",
    "board --task modadd": "did you mean 'modadd.m-2.3-5'",
    "board --reference lstmm": "did you mean 'lstm'",
    "claims nowhere": "no folder of leaderboards at nowhere",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, kbench_here):
    done = kbench_here(*arguments.split(), cwd=folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert BAD[arguments] in done.stderr


def test_validate_says_what_is_refused_and_why(folder, tmp_path, kbench_here):
    assert kbench_here("validate", "leaderboards", cwd=folder).returncode == 0
    place = location(board_cell())
    text = (folder / "leaderboards" / place).read_text()
    spoilt = tmp_path / "leaderboards" / place
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text(text.replace('"verdict": "sharing"', '"verdict": "isolated"'))
    done = kbench_here("validate", "leaderboards", cwd=tmp_path)
    assert done.returncode == 1
    assert f"{place}: refused: kappa.verdict is isolated, its trials give sharing" in done.stdout
    assert "1 entry checked, 1 refused" in done.stderr
    (tmp_path / "leaderboards" / "verified.json").write_text("spoilt by somebody else")
    one = kbench_here("validate", f"leaderboards/{place}", cwd=tmp_path)
    assert one.returncode == 1


def test_names_of_others_cannot_write_on_the_terminal(folder, tmp_path, kbench_here):
    hostile = tmp_path / "leaderboards" / "x\n::notice::ok\x1b[31m.json"
    hostile.parent.mkdir()
    hostile.write_text("{}")
    done = kbench_here("validate", "leaderboards", cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "\x1b" not in done.stdout


def test_a_ledger_is_only_at_the_top(folder, tmp_path, kbench_here):
    place = tmp_path / "leaderboards" / "quick-1" / "verified.json"
    place.parent.mkdir(parents=True)
    place.write_text("{}")
    (tmp_path / "leaderboards" / "verified.json").write_text("{}")
    done = kbench_here("validate", "leaderboards", cwd=tmp_path)
    assert "1 entry checked, 1 refused" in done.stderr
    (tmp_path / "leaderboards" / "verified.json").write_text("[" * 100_000)
    done = kbench_here("board", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_an_entry_is_replaced_only_when_asked(tmp_path, kbench_here):
    cell = board_cell(task_params={"m": 2}, lengths=(3, 4, 5))
    path = tmp_path / "leaderboards" / location(cell)
    path.parent.mkdir(parents=True)
    path.write_text("old")
    with Store(tmp_path / ".kbench") as store:
        measured(cell, store)
    words = ["submit", "--model", "lstm", "--task", "modadd", "--set", "m=2", "--lengths", "3-5",
             "--supervision", "aligned", "--protocol", "quick-1"]  # fmt: skip
    done = kbench_here(*words, cwd=tmp_path)
    assert (done.returncode, path.read_text()) == (2, "old")
    assert "is there already; --replace" in done.stderr
    done = kbench_here(*words, "--replace", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert path.read_text() != "old"
    assert not list(tmp_path.rglob("*.new"))


@pytest.mark.parametrize("choice", [["--device", "cuda"], []])
def test_what_a_kernel_has_measured_is_submitted_from_a_machine_without_it(
    choice, tmp_path, kbench_here
):
    cell = board_cell(model="mamba", backend="mamba-ssm")
    with Store(tmp_path / ".kbench") as store:
        measured(cell, store)
    words = ["submit", "--model", "mamba", "--task", "modadd", "--set", "m=2", "--lengths", "3-5",
             "--supervision", "aligned", "--protocol", "quick-1"]  # fmt: skip
    done = kbench_here(*words, "--backend", "mamba-ssm", *choice, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"backend": "mamba-ssm"' in (tmp_path / "leaderboards" / location(cell)).read_text()
    assert kbench_here(*words, "--backend", "torch", cwd=tmp_path).returncode == 2


def test_made_up_entries_do_not_survive_a_spot_check(folder):
    done = kbench("validate", "leaderboards", "--spot-check", "12", "--seed", "1", cwd=folder)
    assert done.returncode == 1
    assert "when run again, the entry says" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernel may be there")
def test_trials_of_a_kernel_that_is_not_here_are_not_run_again(tmp_path, kbench_here):
    cell = board_cell(model="mamba", backend="mamba-ssm")
    path = tmp_path / "leaderboards" / location(cell)
    path.parent.mkdir(parents=True)
    path.write_text(text_of(invented(cell)), "utf-8")
    done = kbench_here("validate", "leaderboards", "--spot-check", "1", "--record", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "not run again: mamba-ssm: it needs a CUDA device (--device cuda)" in done.stderr
    assert "0 trials run again" in done.stderr
    assert not (tmp_path / "leaderboards" / "verified.json").exists()


def test_the_page_is_written_and_checked(folder, kbench_here):
    assert kbench_here("board", "--check", cwd=folder).returncode == 1
    assert kbench_here("board", "--write", cwd=folder).returncode == 0
    page = (folder / "leaderboards" / "README.md").read_bytes()
    assert kbench_here("board", "--check", cwd=folder).returncode == 0
    assert kbench_here("board", "--write", cwd=folder).returncode == 0
    assert (folder / "leaderboards" / "README.md").read_bytes() == page
    shown = kbench_here("board", cwd=folder)
    assert shown.returncode == 0
    assert "sharing" in shown.stdout


def test_claims_as_json(folder):
    done = kbench("claims", "--json", cwd=folder)
    claims = json.loads(done.stdout)["claims"]
    assert [c["id"] for c in claims] == [
        "3.1", "3.2", "3.3", "3.4", "3.5", "4.1", "4.2", "4.3", "4.4", "4.5",
        "5.1", "5.2", "5.3", "5.4", "5.5",
    ]  # fmt: skip
    for claim in claims:
        assert {"id", "verdict", "rule", "figures", "entries"} <= set(claim)
        assert claim["verdict"] in ("supported", "refuted", "not-enough-evidence")
    assert "supported" not in kbench("claims", cwd=folder).stderr


def test_the_schema_is_printed(folder):
    schema = json.loads(kbench("schema", cwd=folder).stdout)
    assert schema["title"] == "Entry"
    assert "trials" in schema["required"]


def test_the_folder_above_the_leaderboards_and_a_file_below_are_one_rule(tmp_path, kbench_here):
    """What else lies beside the leaderboards is no entry."""
    cell = board_cell()
    place = tmp_path / "clone" / "leaderboards" / location(cell)
    place.parent.mkdir(parents=True)
    place.write_text(text_of(invented(cell)), "utf-8")
    (tmp_path / "clone" / "package.json").write_text("{}")
    for path in (place, place.parent, tmp_path / "clone" / "leaderboards", tmp_path / "clone"):
        done = kbench_here("validate", str(path), cwd=tmp_path)
        assert done.returncode == 0, (path, done.stdout + done.stderr)
        assert "1 entry checked, 0 refused" in done.stderr
    (tmp_path / "clone" / "old" / "leaderboards").mkdir(parents=True)
    done = kbench_here("validate", "clone", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "name one of them" in done.stderr


def test_a_board_as_a_document(folder):
    done = kbench("board", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (board,) = json.loads(done.stdout)["boards"]
    assert (board["protocol"], board["successor"], board["cells"]) == ("quick-1", "quick-2", 2)
    assert board["settled_share"] == (board["decided"] + board["not_learned"]) / 2
    for row in board["rows"]:
        known = json.loads((folder / "leaderboards" / row["place"]).read_text())
        assert row["kappa"].items() <= known["results"]["kappa"]["over_seeds"].items()
        assert row["verdict"] == known["results"]["kappa"]["verdict"]
        assert row["trials"] == len(known["trials"])
        assert row["core_hours"] == pytest.approx(len(known["trials"]) / 3600, rel=1e-3)
        assert (row["trust"], row["reach"]) == ("submitted", None)
    assert board["core_hours"] == pytest.approx(
        sum(r["core_hours"] for r in board["rows"]), rel=1e-3
    )
