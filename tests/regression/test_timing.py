"""Files of pytest-benchmark against each other: what is slower, and what is only said to be."""

import pytest

from kbench.errors import KbenchError
from kbench.regression.compare import Verdict
from kbench.regression.timing import Timing, compare_speed, read_timing

SAME, REGRESSION, INCONCLUSIVE, BROKEN = Verdict


def timing(began, seconds, machine="a"):
    return Timing(began=began, machine=(machine,), seconds={"step": seconds, "other": 1.0})


def speed(*runs, **options):
    """Runs as `b` or `h` and the seconds of a step, in the order of time."""
    sides = {"b": [], "h": []}
    for i, (side, seconds) in enumerate(runs):
        sides[side].append(timing(f"2026-01-01T00:00:{i:02}", seconds, **options))
    return compare_speed(sides["b"], sides["h"])


def test_a_slowdown_counts_once_a_repeat_confirms_it():
    once = speed(("b", 1.0), ("h", 1.5))
    assert (once.verdict, len(once.commands)) == (INCONCLUSIVE, 1)
    assert speed(("b", 1.0), ("h", 1.5), ("b", 1.0), ("h", 1.4)).verdict == REGRESSION
    assert speed(("b", 1.0), ("h", 1.5), ("h", 1.5), ("b", 1.0)).verdict == REGRESSION
    assert speed(("b", 1.0), ("h", 1.5), ("b", 1.0), ("h", 1.1)).verdict == SAME
    assert speed(("b", 1.0), ("h", 1.1)).verdict == SAME
    assert speed(("b", 1.0), ("h", 0.5)).verdict == SAME


def test_runs_that_were_not_taken_in_turns_confirm_nothing():
    found = speed(("b", 1.0), ("b", 1.0), ("h", 1.5), ("h", 1.5))
    assert found.verdict == INCONCLUSIVE
    assert "in turns" in found.cells[0].notes[0]


def test_times_of_two_machines_or_of_other_benchmarks_are_broken():
    base, head = timing("1", 1.0), timing("2", 1.0, machine="b")
    assert compare_speed([base], [head]).verdict == BROKEN
    assert compare_speed([base], [timing("2", 1.0), timing("3", 1.0)]).verdict == BROKEN
    other = Timing(began="2", machine=("a",), seconds={"new": 1.0})
    assert compare_speed([base], [other]).verdict == BROKEN


def test_a_file_of_pytest_benchmark_is_read():
    document = {
        "machine_info": {"node": "n", "cpu": {"brand_raw": "c"}, "python_version": "3.12"},
        "datetime": "2026-01-01",
        "benchmarks": [{"fullname": "a", "stats": {"min": 0.5}}],
    }
    assert read_timing(document) == Timing(
        began="2026-01-01", machine=("n", "c", "3.12"), seconds={"a": 0.5}
    )
    document["benchmarks"][0]["stats"]["min"] = 0
    with pytest.raises(KbenchError, match="a time that is none"):
        read_timing(document)
    del document["datetime"]
    with pytest.raises(KbenchError, match="not a file of pytest-benchmark"):
        read_timing(document)
