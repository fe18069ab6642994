"""Entries that nobody can have measured: each thing out of place is refused, in one line."""

import contextlib
import datetime
import json

import pytest
from conftest import board_cell, invented
from test_validation import redo_digests

from kbench.errors import KbenchError
from kbench.leaderboard.checking.validation import validate
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import location


@pytest.fixture(scope="module")
def true():
    """As JSON; 20 samples are enough for everything."""
    return text_of(invented(board_cell()))


def refused(content, tmp_path):
    """The first problem of an entry that is to be refused."""
    path = tmp_path / "leaderboards" / location(board_cell())
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), "utf-8")
    (verdict,) = validate([path], tmp_path / "leaderboards")
    return " | ".join(verdict.problems)


def test_what_was_not_changed_is_accepted(true, tmp_path):
    assert refused(json.loads(true), tmp_path) == ""


ENVIRONMENT = {
    "verified": (True, "Extra inputs"),
    "note": ("all well", "Extra inputs"),
    "torch": ("2", "torch"),
    "numpy": ("newest", "numpy"),
    "kbench": ("", "kbench"),
    "python": ("2.7.18", "python"),
    "machine": ("my laptop!", "machine"),
    "device": ("cuda", "device"),
    "threads": (0, "threads"),
    "revision": ("f" * 40, "is no commit"),
    "model_source": ("sha256:abc", "model_source"),
    "task_source": ("", "task_source"),
    "stacked": (True, "does not do that"),
    "numba": ("0.68.1", "not those of backend torch"),
    "mamba-ssm": ("2.3.2", "not those of backend torch"),
}


@pytest.mark.parametrize("field", ENVIRONMENT)
def test_an_environment_that_is_none(field, true, tmp_path):
    value, message = ENVIRONMENT[field]
    content = json.loads(true)
    content["environments"][0][field] = value
    assert message in refused(content, tmp_path)


@pytest.mark.parametrize("field", ["torch", "numpy", "python", "kbench", "machine", "device",
                                   "threads", "model_source", "task_source"])  # fmt: skip
def test_what_an_environment_must_say(field, true, tmp_path):
    content = json.loads(true)
    del content["environments"][0][field]
    assert field in refused(content, tmp_path)


AFTER_TOMORROW = datetime.date.today() + datetime.timedelta(days=3)


@pytest.mark.parametrize(
    "day", ["2999-12-31", "2026-99-99", "2026-02-30", "0001-01-01", str(AFTER_TOMORROW)]
)
def test_a_day_that_is_none(day, true, tmp_path):
    content = json.loads(true)
    content["provenance"]["submitted_at"] = day
    assert "submitted_at" in refused(content, tmp_path)


def failing(trial):
    return trial["outcome"] == "failed"


def passing(trial):
    return trial["outcome"] == "passed"


ENDED = "cannot have ended by"
TRIALS = {
    "took less than no time": (passing, {"wall_s": -5.0}, "wall_s"),
    "took longer than there are years": (passing, {"wall_s": 1e300}, "wall_s"),
    "learning rate of nothing": (passing, {"learning_rate": 0.0}, "learning_rate"),
    "learning rate below zero": (passing, {"learning_rate": -1e-3}, "learning_rate"),
    "passed in one step": (passing, {"steps": 1, "best_step": 1}, ENDED),
    "passed between two validations": (passing, {"steps": 251, "best_step": 251}, ENDED),
    "passed without a loss at all": (passing, {"best_loss": 0.0}, ENDED),
    "passed with a loss below zero": (passing, {"best_loss": -0.001}, ENDED),
    "diverged at step 1": (
        failing, {"reason": "diverged", "failure": "diverged", "steps": 1, "best_step": 0}, ENDED,
    ),
    "was best between two validations": (failing, {"best_step": 33}, ENDED),
    "holds more of the validation set than there is": (
        passing, {"seen_prefixes": 1.5}, "seen_prefixes",
    ),
    "steps below zero": (passing, {"steps": -10}, "steps"),
    "steps beyond the budget": (failing, {"steps": 10**6}, ENDED),
}  # fmt: skip


@pytest.mark.parametrize("name", TRIALS)
def test_a_run_that_cannot_have_been(name, true, tmp_path):
    which, changes, message = TRIALS[name]
    content = json.loads(true)
    next(filter(which, content["trials"])).update(changes)
    # What reads as an entry gets digests to match, as a forger would make them.
    with contextlib.suppress(KbenchError):
        redo_digests(content)
    assert message in refused(content, tmp_path)
