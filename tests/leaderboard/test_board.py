"""Boards: what is read, how it is written, and the page that is committed."""

import dataclasses
import json
from pathlib import Path, PurePosixPath

import pytest
from conftest import board_cell, changed, invented

from kbench import protocol
from kbench.errors import KbenchError
from kbench.leaderboard import claims, trust
from kbench.leaderboard.board import document, load, protocols, ranking, second_runs
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import location
from kbench.leaderboard.site.pages import page, pages
from kbench.leaderboard.text import markdown

COMMITTED = Path(__file__).parents[2] / "leaderboards"


def put(root, cell, needs=lambda trial: 20):
    path = root / location(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(invented(cell, needs)), "utf-8")
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two models on three cells; the transformer learns all lengths together under none."""
    root = tmp_path_factory.mktemp("boards") / "leaderboards"
    for supervision in ("outcome", "cot", "aligned"):
        put(root, board_cell(supervision=supervision))
        put(root, board_cell(supervision=supervision, model="transformer"),
            needs=lambda trial: 10**9 if len(trial.lengths) > 1 else 5)  # fmt: skip
    put(root, board_cell(distribution="short-to-long", extrapolate=()))
    return root


def test_rows_say_what_their_trials_come_to(root):
    rows = load(root)
    assert len(rows) == 7
    assert [str(row.place) for row in rows] == sorted(str(row.place) for row in rows)
    lstm = next(r for r in rows if (r.model, r.supervision) == ("lstm", "outcome"))
    assert (lstm.task, lstm.protocol, lstm.trust) == ("modadd.m-2.3-5", "quick-1", "submitted")
    assert lstm.verdict == "sharing"
    assert 0 <= lstm.beyond <= 1
    assert lstm.kappa.low > 1
    other = next(r for r in rows if (r.model, r.supervision) == ("transformer", "cot"))
    # Three seeds that all fail are too few for an interval; the best of the grid has a bound.
    assert (other.verdict, other.kappa.is_open) == ("not-learned", True)
    assert other.best_kappa.low is None
    assert other.best_kappa.high < 1
    assert not other.run.explained
    assert other.memorised == 0
    (short,) = [r for r in rows if not r.has_kappa]
    assert (short.model, short.run.cell.distribution) == ("lstm", "short-to-long")


def test_one_lucky_seed_gives_no_verdict(tmp_path):
    def lucky(trial):
        joint = 5 if trial.seed == 1 else 10**9
        return joint if len(trial.lengths) > 1 else 5

    put(tmp_path, board_cell(), needs=lucky)
    (row,) = rows = load(tmp_path)
    assert row.best_kappa.low > 1
    assert row.verdict == "not-identified"
    assert "**" not in markdown(rows).partition("| model | outcome")[2]
    assert "is-not-identified" in pages(rows)[PurePosixPath(page(row))]


def test_what_was_not_learned_says_so_wherever_it_stands(tmp_path):
    put(tmp_path, board_cell(), needs=lambda trial: 10**9)
    (row,) = rows = load(tmp_path)
    assert row.verdict == "not-learned"
    assert "[not learned](" in markdown(rows)
    board, entry = (pages(rows)[PurePosixPath(p)] for p in ("quick-1/index.html", page(row)))
    assert "not learned" in board
    assert "&gt; 7 (all)" in entry  # eight of length 3, of which one validates
    assert "7–8" not in board + entry


def test_a_numerator_of_universes_run_out_is_marked(tmp_path):
    put(tmp_path, board_cell(), needs=lambda trial: 10 if len(trial.lengths) > 1 else 10**9)
    (row,) = rows = load(tmp_path)
    assert (row.verdict, row.memorised) == ("sharing", 1)
    assert "‡ 100 %" in markdown(rows)
    assert "‡ 100 %" in pages(rows)[PurePosixPath("quick-1/index.html")]


def test_ranks_are_relative_to_the_reference(root):
    scores = ranking(load(root))
    found = [(s.model, s.rank, s.cells, s.learned) for s in scores]
    assert found == [("lstm", 1, 3, 3), ("transformer", None, 3, 0)]
    assert scores[0].score.low > 1
    swapped = ranking(load(root), "lstm")
    assert [(s.model, s.rank) for s in swapped] == [("lstm", 1), ("transformer", None)]
    assert ranking(load(root), "gru") == []


def test_the_page_shows_bounds_and_links_that_lead_somewhere(root):
    page = markdown(load(root))
    assert "| lstm | [**" in page
    assert "| transformer | [not learned](" in page
    import re

    links = re.findall(r"\]\(([^)]*\.json)\)", page)
    assert len(links) == 7
    assert all((root / link).is_file() for link in links)
    assert markdown(load(root)) == page


def test_an_entry_verified_here_says_so_until_it_is_edited(root, tmp_path):
    import shutil

    shutil.copytree(root, tmp_path / "copy")
    row = load(tmp_path / "copy")[0]
    path = tmp_path / "copy" / row.place
    copy, of = tmp_path / "copy", len(row.entry.trials)
    trust.record(copy, row.place, path.read_bytes(), trials_run_again=3, of=of, chance=0.25)
    assert load(copy)[0].trust == "verified"
    assert "✓" in markdown(load(copy))
    seen = load(copy)[0].seen
    assert str(seen) == f"3 of {of} trials run again: one made-up bracket found at 25%"
    # Fewer trials, run again later, say less; who measured it is another thing.
    trust.record(copy, row.place, path.read_bytes(), trials_run_again=1, of=of, chance=0.1)
    trust.record(copy, row.place, path.read_bytes(), measured=True)
    assert load(copy)[0].trust == "measured"
    assert load(copy)[0].seen.trials_run_again == 3
    path.write_text(path.read_text().replace('"submitted_by": null', '"submitted_by": "x"'))
    assert load(tmp_path / "copy")[0].trust == "submitted"
    (copy / trust.LEDGER).write_text("[1]")
    with pytest.raises(KbenchError, match="verified.json cannot be read"):
        load(copy)


@pytest.mark.parametrize(
    "line",
    [
        {"trials_run_again": 0},
        {"trials_run_again": -1},
        {"trials_run_again": "12"},
        {"sha256": "0"},
        {"chance": 2.0},
        {"level": "verified"},
    ],
)
def test_a_ledger_that_says_nonsense_is_refused(root, line):
    row = load(root)[0]
    trust.record(root, row.place, (root / row.place).read_bytes(), trials_run_again=3, of=9)
    ledger = json.loads((root / trust.LEDGER).read_text())
    ledger[str(row.place)] |= line
    (root / trust.LEDGER).write_text(json.dumps(ledger))
    try:
        with pytest.raises(KbenchError, match=rf"verified.json: .*{next(iter(line))}"):
            load(root)
    finally:
        (root / trust.LEDGER).unlink()


def test_a_model_of_somebodys_own_is_ranked_once_it_was_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from kbench.models.lstm import LSTM\n\n\n"
        'class Own(LSTM):\n    presets = {"quick": {"width": 16, "layers": 1}}\n'
    )
    boards = tmp_path / "leaderboards"
    put(boards, board_cell(model="transformer"))
    place = PurePosixPath(put(boards, board_cell(model="own.py:Own")).relative_to(boards))

    def ranked():
        return {score.model for score in ranking(load(boards))}

    assert ranked() == {"transformer"}
    trust.record(boards, place, (boards / place).read_bytes(), trials_run_again=3, of=9)
    assert ranked() == {"transformer", "own.own.Own"}


def test_what_is_no_entry_is_named(tmp_path):
    with pytest.raises(KbenchError, match="no folder of leaderboards"):
        load(tmp_path / "none")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(KbenchError, match=r"x.json: .*Field required"):
        load(tmp_path)
    content = json.loads(text_of(invented(board_cell())))
    content["trials"].pop()
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(KbenchError, match="trials are missing"):
        load(tmp_path)


def test_protocols_never_share_a_table(root):
    assert list(protocols(load(root))) == ["quick-1"]


def test_the_committed_page_is_current():
    assert (COMMITTED / "README.md").read_text("utf-8") == markdown(load(COMMITTED))


def test_second_runs_are_no_board_of_their_own_and_say_what_they_contradict(tmp_path):
    """Sharing where the lengths together need no more than one alone; interference where each is
    learned at once and all together are not."""
    first, second = (
        board_cell(
            protocol=protocol.load(id), seeds=protocol.load(id).seeds.values(), lengths=(3, 4)
        )
        for id in ("quick-2", "quick-again-2")
    )
    shares, interferes = (lambda t: 20), (lambda t: 400 if len(t.lengths) > 1 else 5)
    put(tmp_path, first, shares)
    put(tmp_path, second, shares)
    for cell, needs in ((first, shares), (second, interferes)):
        put(tmp_path, changed(cell, supervision="cot"), needs)
    put(tmp_path, changed(second, supervision="outcome"), shares)  # of which there is no first
    rows = load(tmp_path)
    assert list(protocols(rows)) == ["quick-2"]
    found = second_runs(rows, "quick-2")
    assert {of.first.supervision: of.contradicts for of in found} == {"aligned": False, "cot": True}
    assert "second verdicts 1 (50 %) contradict" in markdown(rows)
    assert (
        "second verdicts 1 (50 %) contradict"
        in pages(rows, [])[PurePosixPath("quick-2/index.html")]
    )
    (of,) = document(rows)["boards"]
    assert (of["second_runs"]["cells"], of["second_runs"]["contradicting_share"]) == (2, 0.5)
    assert len(claims.boards(rows)) == 1


def test_second_runs_without_a_first_are_a_board(tmp_path):
    """Until the first is there, nothing is hidden, and the site has its pages."""
    again = protocol.load("quick-again-2")
    cell = board_cell(protocol=again, seeds=again.seeds.values(), lengths=(3, 4))
    put(tmp_path, cell, lambda trial: 20)
    rows = load(tmp_path)
    assert list(protocols(rows)) == ["quick-again-2"]
    assert PurePosixPath("models/lstm.html") in pages(rows, [])


def test_the_protocol_of_second_runs_differs_in_its_seeds_alone():
    one, again = protocol.load("quick-2"), protocol.load("quick-again-2")
    assert protocol.repeated(again.id) == one.id and protocol.repeated(one.id) is None
    assert not set(one.seeds.values()) & set(again.seeds.values())
    as_first = {"name": one.name, "seeds": dataclasses.replace(again.seeds, first=one.seeds.first)}
    assert dataclasses.replace(again, **as_first) == one
