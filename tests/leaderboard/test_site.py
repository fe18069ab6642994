"""The static site as files: what is on the pages, how it is escaped, and how it is written."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest
from conftest import board_cell, invented
from forked import kbench

from kbench.errors import KbenchError
from kbench.leaderboard.board import load
from kbench.leaderboard.claims import evaluate
from kbench.leaderboard.entry import text_of
from kbench.leaderboard.place import command, location
from kbench.leaderboard.site.figures import tone, value
from kbench.leaderboard.site.pages import front_picture, pages
from kbench.leaderboard.site.rendering import environment, page
from kbench.leaderboard.site.writing import MANIFEST
from kbench.leaderboard.text import kappa_cell
from kbench.report.format import interval_text
from kbench.statistics.likelihood import Interval

REPOSITORY = Path(__file__).parents[2]
HOSTILE = (
    "</code></pre></title><script>alert(1)</script><img src=x onerror='alert(1)'>\"'&{{ 7*7 }}"
)
VOID = {"meta", "link", "br", "img", "path", "circle", "rect", "polyline", "input"}


def put(root, entry):
    path = root / location(entry.cell())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(entry), "utf-8")
    return path


def changed(entry, **settings):
    """The same trials under other settings; only `kbench validate` would notice."""
    settings = entry.settings.model_copy(update=settings)
    return entry.model_copy(update={"settings": settings})


def site_board(root):
    """Sharing, interference, bounds on one side and on none, a distribution, a hostile model."""
    lstm = invented(board_cell())
    put(root, lstm)
    put(root, changed(lstm, model="gru"))  # cannot be told from the lstm
    put(root, invented(board_cell(supervision="outcome"), lambda t: 25))
    # As many seeds as it takes where all of them are bounded on one side.
    never = invented(
        board_cell(model="transformer", seeds=(1, 2, 3, 4, 5)),
        lambda t: 10**9 if len(t.lengths) > 1 else 5,
    )
    put(root, never)
    put(root, changed(never, supervision="outcome"))
    nothing = invented(board_cell(lengths=(3, 4, 13), extrapolate=(26,)), lambda t: 10**9)
    put(root, nothing)
    put(root, invented(board_cell(distribution="short-to-long", extrapolate=())))
    own = changed(
        lstm, model="zoo/own.py:Own", model_version=HOSTILE, size={HOSTILE: HOSTILE},
    )  # fmt: skip
    provenance = own.provenance.model_copy(update={"submitted_by": HOSTILE})
    environment = {HOSTILE: HOSTILE, "torch": "2"}
    put(root, own.model_copy(update={
        "provenance": provenance, "source": HOSTILE + "\n" * 3, "environments": [environment],
    }))  # fmt: skip
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return site_board(tmp_path_factory.mktemp("site") / "leaderboards")


@pytest.fixture(scope="module")
def rows(root):
    return load(root)


@pytest.fixture(scope="module")
def found(rows):
    made = pages(rows, [claim.document() for claim in evaluate(rows)])
    return {str(path): text for path, text in made.items()}


class Page(HTMLParser):
    """What a browser would see of it: tags that match, ids, links, texts of cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.open, self.text = [], [], [], [], ""
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def parsed(found):
    return {path: Page(text) for path, text in found.items() if path.endswith(".html")}


def test_every_page_is_whole_and_says_what_it_is(parsed):
    for path, seen in parsed.items():
        assert seen.all("html") == [{"lang": "en"}], path
        assert any(m.get("name") == "viewport" for m in seen.all("meta"))
        assert len(seen.all("h1")) == len(seen.all("main")) == 1
        assert len(seen.ids) == len(set(seen.ids)), f"an id stands twice in {path}"
        tables = len(seen.all("table"))
        assert tables == len(seen.all("caption")), path
        assert all("scope" in th for th in seen.all("th")), path
        labels = {v for _, a in seen.tags if (v := a.get("aria-labelledby"))}
        assert labels <= set(seen.ids), path
        for svg in seen.all("svg"):
            assert svg.get("aria-hidden") == "true" or (svg["role"] == "img" and svg["aria-label"])


def test_titles_tell_pages_apart(found):
    titles = [re.search("<title>(.*?)</title>", text)[1]
              for path, text in found.items() if path.endswith(".html")]  # fmt: skip
    assert len(set(titles)) == len(titles)


def test_every_link_leads_to_a_file_and_a_place_on_it(parsed, found):
    checked = 0
    for path, seen in parsed.items():
        for link in seen.links:
            if link.startswith("https://arxiv.org/abs/"):
                continue
            file, _, fragment = link.partition("#")
            assert "://" not in file and not file.startswith("/")
            parts = []
            for part in (PurePosixPath(path).parent / file).parts if file else [path]:
                parts.pop() if part == ".." else parts.append(part)
            where = "/".join(parts)
            assert where in found, f"{path} links to {link}"
            assert not fragment or fragment in parsed[where].ids, f"{path} links to {link}"
            checked += 1
    assert checked > 50


def test_every_entry_has_a_page_with_its_trials_and_its_command(rows, parsed, found):
    linked = set(parsed["quick-1/index.html"].links)
    for row in rows:
        assert f"../{page(row)}" in linked
        seen = parsed[page(row)]
        assert command(row.run.cell) in seen.text
        assert str(row.place) in seen.text
        assert f"All {len(row.entry.trials)} trials" in seen.text
        for trial in row.entry.trials:
            assert f'title="{trial.digest}"' in found[page(row)]
        kappa = re.search(r'<th scope="row">κ</th>(.*)<td></td>', found[page(row)])
        assert bool(kappa) == row.has_kappa
        if kappa:
            of = [row.best_kappa, *row.run.kappa_by_seed()]
            shown = [html.unescape(x) for x in re.findall(r">([^<]+)</td>", kappa[1])]
            assert shown == [interval_text(interval) for interval in of]
    entries = [path for path in parsed if path.count("/") == 3]
    assert len(entries) == len(rows)


def cells(text, place):
    """Texts of the row of the table of entries that links to a page."""
    (row,) = [r for r in re.findall(r"<tr data-.*?</tr>", text, re.DOTALL) if place in r]
    plain = html.unescape(re.sub(r"<(?!/?t[dh])[^>]*>", " ", row))
    return [c.split() for c in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", plain, re.DOTALL)]


def test_the_table_shows_intervals_bounds_and_what_is_not_identified(rows, found):
    texts = {
        str(row.place): cells(found["quick-1/index.html"], page(row))
        for row in rows if row.has_kappa
    }  # fmt: skip
    for row in rows:
        if row.has_kappa:
            shown = [" ".join(words) for words in texts[str(row.place)]]
            assert interval_text(row.best_kappa) in shown
            assert kappa_cell(row) in shown
            assert any(row.verdict in text for text in shown)
            assert row.trust in shown
    bound = texts["quick-1/modadd.m-2.3-5/aligned/transformer.json"]
    assert bound[4][0] == "<"
    assert bound[5][-1] == "interference"
    assert ["not", "learned"] in texts["quick-1/modadd.m-2.3-4+13/aligned/lstm.json"]


def test_bounds_are_hatched_and_pointed_at_by_arrows(rows, found):
    heat = found["index.html"]
    pairs = re.findall(r'class="([^"]*)"><a href="([^"]*)"', heat)
    look = {place: classes.split() for classes, place in pairs}
    assert look["quick-1/modadd.m-2.3-5/aligned/transformer.html"] == ["k-2", "hatched"]
    assert look["quick-1/modadd.m-2.3-4+13/aligned/lstm.html"] == ["none", "hatched"]
    picture = found["quick-1/modadd.m-2.3-5.svg"]
    (line,) = re.findall(r"<title>transformer, aligned.*?</g>", picture, re.DOTALL)
    assert "bar open" in line
    assert "mark hollow" in line
    (line,) = re.findall(r"<title>lstm, aligned.*?</g>", picture, re.DOTALL)
    assert "open" not in line
    assert "hollow" not in line


@pytest.mark.parametrize(
    ("low", "high", "colour", "middle"),
    [
        (2, 4.5, "k2", 3), (0.9, 1.1, "k0", None),
        (None, 0.2, "k-3", 0.2), (None, 1.24, "none", 1.24),
        (5, None, "k3", 5), (0.7, None, "none", 0.7), (None, None, "none", None),
    ],
)  # fmt: skip
def test_what_an_interval_is_coloured_and_sorted_by(low, high, colour, middle):
    interval = Interval(low=low, high=high)
    assert tone(interval) == colour
    assert middle is None or value(interval) == pytest.approx(middle)


def test_ties_are_shown_as_ties(rows):
    equal = [row for row in rows if row.supervision == "aligned" and row.has_kappa
             and row.task == "modadd.m-2.3-5"]  # fmt: skip
    text = pages(equal)[PurePosixPath("quick-1/index.html")]
    ranks = re.findall(r'data-label="rank">([^<]*)</td><th scope="row">.*?>([^<]*)</a></th>', text)
    assert ranks == [("1=", "gru"), ("1=", "lstm"), ("–", "transformer")]
    learned = re.findall(r'(\d of \d)</td><td data-label="trust">(\w+)</td>\n</tr>', text)
    assert learned == [(n, "submitted") for n in ("1 of 1", "1 of 1", "0 of 1")]


def test_a_model_that_lacks_a_cell_is_not_ranked(parsed):
    assert "not ranked: has 1 of 2 cells" in parsed["quick-1/index.html"].text


def test_nothing_from_an_entry_becomes_markup(found, parsed):
    assert any(HOSTILE in json.loads(text)["source"] for path, text in found.items()
               if path.endswith("/own.own.Own.json"))  # fmt: skip
    for path, text in found.items():
        if path.endswith((".json", ".csv")):  # no browser takes these for pages
            continue
        assert "<script>alert" not in text, path
        assert "<img" not in text, path
    own, _ = [path for path in reversed(parsed) if path.endswith("/own.own.Own.html")]
    assert f"Version {HOSTILE}" in parsed["models/own.own.Own.html"].text
    seen = parsed[own]
    # In the source, the model's version, its size, who handed it in, and an environment.
    assert seen.text.count(HOSTILE) == 7
    for tag, attrs in seen.tags:
        assert tag not in ("img", "iframe", "object")
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)


def test_pages_run_no_script_but_their_own(parsed, found):
    for path, seen in parsed.items():
        (policy,) = [m["content"] for m in seen.all("meta") if "http-equiv" in m]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert seen.all("script") == [{}], path
        assert not [attrs for _, attrs in seen.tags if "style" in attrs or "onclick" in attrs]
        loads = [a.get("src") or a.get("href") for tag, a in seen.tags if tag != "a"]
        assert [a for a in loads if a and not a.startswith("data:")] == []


def test_claims_are_there_with_verdict_rule_and_entries(rows, parsed, found):
    text = parsed["claims.html"].text
    claims = evaluate(rows)
    assert [c.id for c in claims if f"claim-{c.id}" not in parsed["claims.html"].ids] == []
    assert text.count("Rule.") == len(claims) == 15
    used = {place for c in claims for place in c.document()["entries"]}
    assert used
    for place in used:
        assert f'<a href="{place.removesuffix(".json")}.html">{place}</a>' in found["claims.html"]
    assert "claims.html" not in pages(rows)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_entries_give_the_same_bytes(root, tmp_path):
    for name in ("one", "two", "one"):
        done = kbench("site", name, "--leaderboards", root, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two
    assert "index.html" in one
    assert not any(str(tmp_path).encode() in content for content in one.values())


def test_what_is_refused(root, tmp_path, kbench_here):
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "thesis.tex").write_text("mine")
    file.write_text("")
    escaping = tmp_path / "escaping"
    escaping.mkdir()
    (escaping / MANIFEST).write_text("../file\n")
    misplaced = tmp_path / "misplaced" / "lstm.json"
    misplaced.parent.mkdir()
    misplaced.write_text((root / "quick-1/modadd.m-2.3-5/aligned/lstm.json").read_text())
    for out, leaderboards, message in (
        (full, root, "is not empty and no earlier site"),
        (file, root, "is no folder"),
        (escaping, root, "names files outside of its folder"),
        ("new", empty, "no leaderboard entries"),
        ("new", tmp_path / "none", "no folder of leaderboards"),
        ("new", misplaced.parent, "the entry's place is quick-1/modadd.m-2.3-5/aligned/lstm.json"),
    ):
        done = kbench_here("site", out, "--leaderboards", leaderboards, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), out
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert files(full) == {"thesis.tex": b"mine"}
    assert not (tmp_path / "new").exists()


def test_a_board_without_its_reference_has_no_ranking(rows):
    lonely = [row for row in rows if row.model == "lstm"]
    text = pages(lonely)[PurePosixPath("quick-1/index.html")]
    assert "There is no entry of <code>transformer</code> here yet" in text


def test_the_picture_in_the_readme_is_current():
    made = front_picture(load(REPOSITORY / "leaderboards"))
    current = (REPOSITORY / "docs" / "board.svg").read_text("utf-8") == made
    assert current, "kbench site pages && cp pages/kappa.svg docs/board.svg"


def test_whatever_a_page_needs_is_in_the_wheel():
    import fnmatch
    import tomllib

    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["kbench.leaderboard.site"]
    for path in (REPOSITORY / "benchmark" / "leaderboard" / "site" / "templates").iterdir():
        assert any(fnmatch.fnmatch(f"templates/{path.name}", pattern) for pattern in patterns)


def test_an_entry_that_names_what_is_not_there_is_one_line(root, tmp_path):
    path = root / "quick-1/modadd.m-2.3-5/aligned/lstm.json"
    for old, new, message in (
        ('"environment": 0', '"environment": 7', "names environment 7"),
        ('"chance": 0.5}', '"chance": 1.0}', "less than 1"),
        ('"chance": 0.5}', '"luck": 0.5}', "Field required"),
    ):
        place = tmp_path / "quick-1" / "lstm.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(path.read_text().replace(old, new))
        with pytest.raises(KbenchError, match=message):
            load(tmp_path)


@pytest.mark.parametrize(
    "value, text",
    [
        ([[0.5, None], [None, 2.0]], "> 0.500, < 2.00"),
        ([[0.5, 2.0], [None, None], [1.0, 3.0]], "0.500 – 2.00, not identified, 1.00 – 3.00"),
        ([0.5, 2.0], "0.500 – 2.00"),
        (["lstm", "gru"], "lstm, gru"),
    ],
)
def test_figures_of_a_claim_as_text(value, text):
    parts = environment().get_template("parts.html.j2").module
    assert html.unescape(parts.facts(value)).strip() == text
