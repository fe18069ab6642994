"""A site with cells of one's own, from a trial store, and what it lets one take along."""

import csv
import dataclasses
import html
import io
import re
from pathlib import PurePosixPath

import pytest
from conftest import board_cell, invented, invented_result, learned_from, measured
from test_site import Page, put

from kbench.errors import KbenchError
from kbench.leaderboard.board import load, ranking
from kbench.leaderboard.site.about import about
from kbench.leaderboard.site.own import with_store
from kbench.leaderboard.site.pages import pages
from kbench.protocol import load as protocol
from kbench.report.figures.palette import colour
from kbench.report.format import interval_text
from kbench.study.store import Store

LSTM = "quick-1/modadd.m-2.3-5/aligned/lstm"


def with_curve(trial, outcome):
    loss = 0.001 if outcome == "passed" else 0.4
    return dataclasses.replace(invented_result(trial, outcome), curve=[[10, 1.0], [250, loss]])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The board has an lstm. The store has the same lstm, another of it, and a gru half done."""
    root = tmp_path_factory.mktemp("own")
    put(root / "boards", invented(board_cell()))
    put(root / "boards", invented(board_cell(model="transformer"), lambda t: 25))
    with Store(root / "store") as store:
        other = board_cell(protocol=dataclasses.replace(protocol("quick-1"), version=99))
        for cell in (board_cell(), board_cell(supervision="cot"), other):
            store.add_cell(cell.spec())
            measured(cell, store, learned_from(lambda trial: 20), with_curve)
        store.add_cell(board_cell(model="gru").spec())
    rows, left_out = with_store(load(root / "boards"), root / "store")
    found = pages(rows, site=about(rows, "https://example.org/kbench/", "docs/index.html"))
    return rows, left_out, {str(path): text for path, text in found.items()}


def test_own_cells_are_there_once_marked_and_not_ranked(built):
    rows, left_out, found = built
    own = [row for row in rows if row.yours]
    assert [(row.model, row.supervision, row.trust) for row in own] == [
        ("lstm (yours)", "cot", "yours")
    ]
    board = found["quick-1/index.html"]
    assert 'data-model="lstm (yours)" data-task' in board
    assert "lstm (yours)" not in found["quick-1/kappa.csv"]
    assert {score.model for score in ranking(rows)} == {"lstm", "transformer"}
    assert "no entry of the boards" in found["yours/quick-1/modadd.m-2.3-5/cot/lstm.html"]
    assert len(left_out) == 2
    assert "searches and tests are not done" in left_out[1]
    assert "quick-99" in left_out[0]


def test_curves_of_a_store_are_drawn_where_trials_are_the_same(built):
    rows, _, found = built
    for place in (LSTM, "yours/quick-1/modadd.m-2.3-5/cot/lstm"):
        assert "How runs learn" in found[f"{place}.html"]
        lines = re.findall(r"<title>N = \d+: (passed|failed)</title>", found[f"{place}.html"])
        row = next(row for row in rows if str(row.place) == f"{place}.json")
        assert len(lines) == sum(not trial.tested for trial in row.entry.trials)
    assert "How runs learn" not in found[LSTM.replace("lstm", "transformer") + ".html"]
    assert "Validation loss by step" in found["models/lstm.html"]


def test_a_store_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(KbenchError, match="no trial store at"):
        with_store([], tmp_path / "none")


def test_downloads_are_the_entry_itself_and_its_trials(built):
    rows, _, found = built
    row = rows[0]
    assert str(row.place) == f"{LSTM}.json"
    assert found[f"{LSTM}.json"] == row.text
    trials = list(csv.DictReader(io.StringIO(found[f"{LSTM}.csv"])))
    assert len(trials) == len(row.entry.trials)
    assert {trial["n_samples"] for trial in trials} == {str(t.n_samples) for t in row.entry.trials}
    (kappa, *_) = csv.DictReader(io.StringIO(found["quick-1/kappa.csv"]))
    assert kappa["verdict"] == row.verdict
    linked = {link.split("/")[-1] for link in Page(found[f"{LSTM}.html"]).links}
    assert {"lstm.json", "lstm.csv"} <= linked


def test_a_model_has_one_page_in_its_colour_with_all_that_is_known_of_it(built):
    rows, _, found = built
    page = Page(found["models/lstm.html"])
    for said in ("Expressivity", "recurrent", "adam-0.003", "parameters", "class LSTM", "κ = "):
        assert said in page.text, said
    assert "https://example.org/kbench/blob/" in found["models/lstm.html"]
    for path in ("index.html", "quick-1/index.html", "quick-1/compare.html", "models/lstm.html",
                 f"{LSTM}.html", "kappa.svg"):  # fmt: skip
        assert colour("lstm") in found[path], path
        assert (colour("transformer") in found[path]) == ("lstm" not in path), path


def test_links_lead_to_the_repository_and_the_documentation_from_every_depth(built):
    _, _, found = built
    for path, text in found.items():
        if path.endswith(".html"):
            links = Page(text).links
            assert "../" * path.count("/") + "docs/index.html" in links, path
            assert "https://example.org/kbench" in links, path


@pytest.mark.parametrize(
    ("repository", "docs", "message"),
    [("kbench", None, "--repository must be an address"),
     ("javascript:alert(1)", None, "--repository must be an address"),
     (None, "javascript:alert(1)", "--docs must be an address"),
     (None, "/etc", "--docs must be an address")],
)  # fmt: skip
def test_what_is_no_address_is_refused(built, repository, docs, message):
    with pytest.raises(KbenchError, match=message):
        about(built[0], repository, docs)


def test_no_raw_keys(built):
    _, _, found = built
    text = Page(found[f"{LSTM}.html"]).text
    for raw in ("Environment 0", "dirty", "model_source", "False", "None"):
        assert raw not in text, raw
    for words in ("Where it ran", "uncommitted changes", "kbench version"):
        assert words in text, words


def test_the_last_version_of_the_default_protocol_is_the_front_board_with_its_curves(tmp_path):
    for name in ("paper-1", "quick-1", "quick-2"):
        of = protocol(name)
        cell = board_cell(protocol=of, seeds=of.seeds.values(), extrapolate=())
        put(tmp_path, invented(cell))
    found = pages(load(tmp_path))
    index = found[PurePosixPath("index.html")]
    assert re.search(r'<h2 id="front">Board <a href="quick-2/', index)
    others = re.findall(r'<li><a href="([^/]*)/index.html">[^<]*</a>:(.*)', index)
    assert [name for name, _ in others] == ["paper-1", "quick-1"]
    assert "an earlier version of <code>quick-2</code>" in others[1][1]
    assert "earlier" not in others[0][1]
    assert "protocol quick-2" in found[PurePosixPath("kappa.svg")]
    board = found[PurePosixPath("quick-2/index.html")]
    assert '<th scope="col">reach</th>' in board
    assert '<th scope="col">reach</th>' not in found[PurePosixPath("quick-1/index.html")]
    drawn = re.findall(r"<title>aligned, lengths to (\d): κ ([^<]*)</title>",
                       found[PurePosixPath("models/lstm.html")])  # fmt: skip
    (row,) = [row for row in load(tmp_path) if row.protocol == "quick-2"]
    known = {together[-1]: interval_text(row.run.kappa_of(together))
             for together in row.run.cell.together}  # fmt: skip
    assert {int(length): html.unescape(text) for length, text in drawn} == known
    assert "κ by length" in found[PurePosixPath("quick-2/modadd.m-2.3-5/aligned/lstm.html")]
