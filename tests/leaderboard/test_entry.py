"""Entries: what they hold, where they belong, and files that are none."""

import dataclasses
import json
import shlex

import pytest
import typer
from conftest import board_cell, invented
from hypothesis import given
from hypothesis import strategies as st

from kbench import protocol as protocols
from kbench.errors import KbenchError
from kbench.leaderboard.entry import MAX_BYTES, Entry, parse, read, schema, text_of
from kbench.leaderboard.place import command, location, model_label
from kbench.report.readings import result


def changed(entry, *path_and_value):
    """The entry's text with one value replaced: changed(entry, "settings", "model", "x")."""
    *path, last, value = path_and_value
    content = json.loads(text_of(entry))
    place = content
    for key in path:
        place = place[key]
    place[last] = value
    return json.dumps(content)


def refused(text):
    with pytest.raises(KbenchError) as error:
        parse(text)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_entry_survives_being_written_and_read(entry, tmp_path):
    path = tmp_path / "entry.json"
    path.write_text(text_of(entry), "utf-8")
    assert read(path) == entry
    assert text_of(read(path)) == text_of(entry)
    assert len(path.read_text().splitlines()) < len(entry.trials) + 60  # a trial to a line


def test_the_trials_behind_it_give_its_results(entry):
    run = entry.run()
    assert run.complete
    assert {(b.low, b.high) for b in run.brackets((5,))} == {(15, 20)}  # 20 are needed
    assert {(b.low, b.high) for b in run.brackets((4,))} == {(13, 16)}  # there are not that many
    from kbench.study.driver import Progress

    found = result(Progress(run=run))
    for name, value in entry.results.model_dump().items():
        assert found[name] == value, name


def test_it_belongs_below_protocol_task_and_supervision():
    def where(**changes):
        return str(location(board_cell(**changes)))

    usual = {"task_params": {"m": 3}, "lengths": (2, 3, 4, 5, 6)}
    assert where(**usual) == "quick-1/modadd/aligned/lstm.json"
    assert where(**usual | {"lengths": (2, 3, 4)}) == "quick-1/modadd.2-4/aligned/lstm.json"
    assert where() == "quick-1/modadd.m-2.3-5/aligned/lstm.json"
    short = usual | {"distribution": "short-to-long"}
    assert where(**short) == "quick-1/modadd/aligned/lstm.short-to-long.json"
    own = dataclasses.replace(board_cell(**usual), model="zoo/lstm.py:Mine")
    assert model_label(own) == "own.lstm.Mine"  # and never lstm
    assert where(**usual, backend="mamba-ssm", model="mamba") == (
        "quick-1/modadd/aligned/mamba.mamba-ssm.json"
    )
    cpu = board_cell(
        protocol=protocols.load("cpu-2"), task_params={"m": 3}, lengths=tuple(range(2, 9))
    )
    assert str(location(cpu)) == "cpu-2/modadd/aligned/lstm.json"


def test_the_command_measures_this_cell_and_no_other(entry, monkeypatch):
    from kbench.cli import app
    from kbench.study.request import Request

    seen = []

    cells = Request.cells

    def stop(request):
        seen.append(cells(request))
        raise ZeroDivisionError

    monkeypatch.setattr(Request, "cells", stop)
    for cell in (
        board_cell(),
        board_cell(distribution="short-to-long", extrapolate=(), seeds=(1, 2, 3, 4)),
        board_cell(task="permutation", task_params={"group": "S3"}, lengths=tuple(range(2, 6))),
    ):
        words = shlex.split(command(cell))
        with pytest.raises(ZeroDivisionError):
            typer.main.get_command(app)(words[1:], standalone_mode=False)
        (found,) = seen.pop()
        assert found == dataclasses.replace(cell, lengths=tuple(cell.lengths))


def test_the_schema_is_that_of_the_entries(entry):
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(text_of(entry)), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(changed(entry, "settings", "protocol", "../x")), schema())


BAD_NAMES = {
    "model": ["../lstm", "a/b", "/etc/passwd", "lstm\n", "<script>", "LSTM", "x" * 300, "..", ""],
    "task": ["../modadd", "modadd/..", "mod add", "own.py:Task", "\u0000"],
    "protocol": ["../quick-1", "quick_1", "quick-1.yaml", ""],
    "supervision": ["../aligned", "alignd"],
    "backend": ["torch/..", "; rm"],
}


@pytest.mark.parametrize(("field", "name"), [(f, n) for f, ns in BAD_NAMES.items() for n in ns])
def test_names_that_play_tricks_are_refused(entry, field, name):
    assert refused(changed(entry, "settings", field, name)).startswith(f"settings.{field}: ")


def test_what_is_no_entry_is_refused_in_one_line(entry):
    text = text_of(entry)
    assert "nested 100000 deep" in refused("[" * 100_000)
    assert "nested 13 deep" in refused('{"a":' + "[" * 12 + "]" * 12 + "}")
    assert "is not the JSON of an entry" in refused(text[:-3])
    assert "is not the JSON of an entry" in refused('"' + '\\"' * 100_000)  # at once, not in hours
    assert "task_params" in refused(changed(entry, "settings", "task_params", {"m": 2**40}))
    assert "task_params" in refused(changed(entry, "settings", "task_params", {"g": "Z2x" * 99}))
    assert "lengths" in refused(changed(entry, "settings", "lengths", [2, 100_000]))
    assert "size" in refused(changed(entry, "settings", "size", {"x\nkbench: all well": 1}))
    assert "submitted_by" in refused(changed(entry, "provenance", "submitted_by", "a\u202eb"))
    assert "Infinity is no number" in refused(text.replace('"wall_s": 1.0', '"wall_s": Infinity'))
    assert "stands twice" in refused(text.replace('"steps"', '"steps": 1, "steps"'))
    assert "not the JSON" in refused(text.replace('"steps": 250', '"steps": ' + "9" * 5000))
    assert "wall_s" in refused(text.replace('"wall_s": 1.0', '"wall_s": 1e999'))
    assert "steps" in refused(text.replace('"steps": 250', '"steps": "250"'))
    assert "steps" in refused(text.replace('"steps": 250', '"steps": true'))
    assert "steps" in refused(text.replace('"steps": 250', '"steps": -1'))
    assert "Extra inputs" in refused(changed(entry, "settings", "run", "rm -rf"))
    assert "schema_version" in refused(changed(entry, "schema_version", 4))
    assert "Field required" in refused("{}")
    assert "entry" in refused("[]")


@given(st.text(alphabet='{}[]":,\\ a1'))
def test_no_text_at_all_brings_the_reader_down(text):
    refused(text)


def test_files_that_are_no_entries_are_refused(entry, tmp_path):
    path = tmp_path / "entry.json"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(KbenchError, match=f"100.0 MiB, an entry has at most {MAX_BYTES >> 20}"):
        read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KbenchError, match="not text"):
        read(path)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(KbenchError, match="no regular file"):
        read(path)


def test_it_is_frozen(entry):
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        entry.results.monotonicity_violations = 3
    assert isinstance(entry, Entry)


def test_an_entry_of_the_first_schema_has_its_figures_made_anew(entry):
    old = json.loads(text_of(entry))
    old["schema_version"] = 1
    old["results"] = {"kappa": "of another estimator"}
    for trial in old["trials"]:
        del trial["failure"], trial["training_loss"]
    read = parse(json.dumps(old))
    assert read.results is None
    assert read.run().kappa == entry.run().kappa
    assert {trial.failure for trial in read.trials} == {None}


def test_a_censored_cell_makes_an_entry_like_any_other():
    entry = invented(board_cell(), needs=lambda trial: 10**9)
    assert entry.results.kappa.best_of_grid.low is None
    assert entry.results.n_star["joint"].high is None
    assert entry.run().complete
