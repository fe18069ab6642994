"""Frames: one row a thing, the same numbers in every format."""

import csv
import io

import pandas
import pytest

import kbench
from kbench import KbenchError
from kbench.report.frames import FORMATS, FRAMES, exported, to_csv, to_latex, to_markdown, to_pandas


@pytest.fixture(scope="module")
def results():
    return kbench.load("leaderboards/quick-1/modadd/aligned")


def test_one_row_for_each_thing(results):
    count = {what: len(to_pandas(results, what)) for what in FRAMES}
    assert count["kappa"] == sum(r.kappa is not None for r in results)
    assert count["n_star"] == sum(len(n.per_seed) for r in results for n in r.n_star.values())
    assert count["trials"] == sum(len(r.trials) for r in results)
    assert count["extrapolation"] == sum(len(t.accuracy) for r in results for t in r.extrapolation)


def test_numbers_are_those_of_the_results(results):
    frame = to_pandas(results, "kappa").set_index("model")
    lstm = next(r for r in results if r.model == "lstm" and r.kappa)
    assert frame.loc["lstm", "kappa"] == lstm.kappa.over_seeds.estimate
    n_star = to_pandas(results, "n_star")
    right = n_star[n_star.censored == "right"]
    assert len(right)
    assert right.high.isna().all()
    assert (right.all_samples.notna() | (right.length == "joint")).all()


@pytest.mark.parametrize("what", FRAMES)
def test_csv_is_the_frame(results, what):
    rows = list(csv.DictReader(io.StringIO(to_csv(results, what))))
    frame = to_pandas(results, what)
    assert to_csv(results, what).splitlines()[0].split(",") == list(frame.columns)
    assert len(rows) == len(frame)
    assert [row["model"] for row in rows] == list(frame["model"])


def test_parquet_comes_back(results):
    back = pandas.read_parquet(io.BytesIO(exported(results, "kappa", "parquet")))
    pandas.testing.assert_frame_equal(back, to_pandas(results, "kappa"), check_dtype=False)


@pytest.mark.parametrize("what", FRAMES)
def test_latex_is_ascii_with_as_many_cells_in_each_row(results, what):
    text = to_latex(results, what)
    assert text.isascii()
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count(" & ") for line in lines}) == 1
    assert text.startswith(r"\begin{tabular}{")


def test_censored_values_keep_their_marks_in_tables(results):
    text = to_markdown(results, "n_star")
    assert "> " in text
    assert text.splitlines()[1].startswith("| --- |")


@pytest.mark.parametrize("form", [f for f in FORMATS if f != "parquet"])
def test_a_frame_without_rows_still_has_its_columns(form):
    assert b"verdict" in exported([], "kappa", form)


def test_what_there_is_not_is_one_line(results):
    with pytest.raises(KbenchError, match="unknown format 'cvs'; did you mean 'csv'"):
        exported(results, "kappa", "cvs")
    with pytest.raises(KbenchError, match="unknown frame 'nstar'; did you mean 'n_star'"):
        exported(results, "nstar", "csv")
