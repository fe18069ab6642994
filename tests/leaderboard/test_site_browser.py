"""The static site as a reader meets it: in headless Chromium, from the disk."""

import functools
import http.server
import shutil
import threading
from pathlib import Path, PurePosixPath

import pytest
from conftest import board_cell, invented
from test_site import REPOSITORY, changed, put, site_board

from kbench.leaderboard.board import load
from kbench.leaderboard.claims import evaluate
from kbench.leaderboard.site.pages import pages
from kbench.leaderboard.site.writing import write
from kbench.registry import models

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine's path"),
]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 640}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A full board: every model on one task under all supervisions, and some odd entries."""
    root = site_board(tmp_path_factory.mktemp("browser") / "leaderboards")
    for supervision in ("outcome", "cot", "aligned"):
        for task, params in (("modadd", {"m": 3}), ("lookup", {"keys": 3})):
            cell = board_cell(supervision=supervision, task=task, task_params=params,
                              lengths=(2, 3, 4), extrapolate=(8,))  # fmt: skip
            entry = invented(cell, lambda t: 12 * len(t.lengths))
            for model in models.names():
                put(root, changed(entry, model=model))
    rows = load(root)
    out = root.parent / "site"
    write(pages(rows, [claim.document() for claim in evaluate(rows)]), out)
    return out


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, site):
    """Opens a page of the site; whatever goes wrong on it fails the test in the end."""
    wrong, contexts = [], []

    def visit(path, viewport=DESKTOP, **options):
        contexts.append(context := chromium.new_context(viewport=viewport, **options))
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{path}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"{path}: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"{path}: dialog"), dialog.dismiss()))
        page.on("requestfailed", lambda request: wrong.append(f"{path}: {request.url} failed"))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url),
        )
        file, _, fragment = str(path).partition("#")
        page.goto((site / file).as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


BOARD = "quick-1/index.html"


def column(page, index, table="#entries"):
    """Texts of a column, of the rows that are to be seen."""
    cells = page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({index})")
    return [text.strip() for text in cells.all_inner_texts()]


def header(page, name, table="#entries"):
    return page.locator(f"{table} thead").get_by_role("button", name=name, exact=True)


def filters(page, name):
    return page.get_by_role("form").get_by_label(name, exact=True)


def middles(texts):
    """What intervals sort by, from how they are written; None for what comes last."""
    found = []
    for text in texts:
        ends = [float(part) for part in text.strip("<> ").split(" – ") if part[0].isdigit()]
        found.append(None if not ends else (ends[0] * ends[-1]) ** 0.5)
    return found


def test_intervals_sort_by_their_middle_and_the_rest_comes_last(visit):
    page = visit(BOARD)
    before = column(page, 7)
    assert "not identified" in before
    header(page, "κ best of grid").click()
    for descending in (False, True):
        texts = column(page, 7)
        assert sorted(texts) == sorted(before)
        found = middles(texts)
        known = [m for m in found if m is not None]
        assert known == sorted(known, reverse=descending)
        assert None not in found[: len(known)]
        assert found[len(known) :] == [None] * (len(found) - len(known))
        state = page.locator("#entries th[aria-sort]")
        assert state.count() == 1
        assert state.get_attribute("aria-sort") == ("descending" if descending else "ascending")
        header(page, "κ best of grid").click()


def test_names_sort_too_and_one_column_at_a_time(visit):
    page = visit(BOARD)
    header(page, "N* together").click()
    header(page, "model").click()
    assert (names := column(page, 1)) == sorted(names)
    assert len(set(names)) == len(models.names()) + 1
    assert page.locator("#entries th[aria-sort]").inner_text().startswith("model")


def test_sorting_by_keyboard(visit):
    page = visit(BOARD)
    header(page, "model").focus()
    page.keyboard.press("Enter")
    assert (names := column(page, 1)) == sorted(names)
    page.keyboard.press("Space")
    assert column(page, 1) == sorted(names, reverse=True)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "task"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_trials_sort_by_number_and_not_by_letter(visit):
    page = visit("quick-1/modadd.m-2.3-5/aligned/lstm.html")
    sizes = [int(text) for text in column(page, 3, "#all-trials")]
    header(page, "N", "#all-trials").click()
    assert [int(text) for text in column(page, 3, "#all-trials")] == sorted(sizes)
    assert [str(n) for n in sorted(sizes)] != sorted(map(str, sizes))


def test_filters_narrow_the_table_and_can_be_cleared(visit):
    page = visit(BOARD)
    everything = len(column(page, 1))
    assert page.get_by_role("status").inner_text() == f"{everything} of {everything} entries"
    filters(page, "model").select_option("lstm")
    assert set(column(page, 1)) == {"lstm"}
    filters(page, "supervision").select_option("cot")
    assert set(column(page, 3)) == {"cot"}
    shown = len(column(page, 1))
    assert 0 < shown < everything
    assert page.get_by_role("status").inner_text() == f"{shown} of {everything} entries"
    filters(page, "supervision").select_option("")
    filters(page, "task").select_option("modadd.m-2.3-4+13")
    assert column(page, 6) == ["○ not-learned"]
    filters(page, "verdict").select_option("sharing")
    assert column(page, 1) == []
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("status").filter(has_text=f"{everything} of {everything}").wait_for()
    assert len(column(page, 1)) == everything


def test_sorting_keeps_what_is_filtered_out_of_sight(visit):
    page = visit(BOARD)
    filters(page, "supervision").select_option("outcome")
    header(page, "accuracy at 2×").click()
    assert set(column(page, 3)) == {"outcome"}
    assert filters(page, "supervision").input_value() == "outcome"


def test_from_the_front_page_to_an_entry_and_back(visit):
    page = visit("index.html")
    page.get_by_role("link", name="quick-1").first.click()
    page.locator("#entries").get_by_role("link", name="transformer", exact=True).first.click()
    assert page.locator("h1").inner_text().startswith("transformer on ")
    assert page.locator("pre").first.inner_text().startswith("kbench run --model transformer")
    page.get_by_role("link", name="claims").click()
    page.get_by_text("entries looked at").first.click()
    page.locator(".claim details[open] li a").first.click()
    assert page.url.endswith(".html")
    page.get_by_role("link", name="kbench", exact=True).click()
    page.locator(".heat td a").first.click()
    assert page.locator("h2", has_text="Measure it again").is_visible()


def test_the_skip_link_comes_first_and_works(visit):
    page = visit(BOARD)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


EVERY_KIND = [
    "index.html",
    BOARD,
    "claims.html",
    "models/transformer.html",
    "quick-1/compare.html",
    "quick-1/modadd.m-2.3-5/aligned/transformer.html",
    "quick-1/modadd.m-2.3-5/aligned/own.own.Own.html",
    "quick-1/modadd.m-2.3-5/aligned/lstm.short-to-long.html",
]


@pytest.mark.parametrize("path", EVERY_KIND)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_screen_and_text_can_be_read(visit, path, scheme, viewport):
    page = visit(path, viewport, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(CONTRAST) == []


KAPPA = {
    "index.html": ".heat td a, .ranks [data-label=score]",
    BOARD: ".heat td a, .ranks [data-label=score], #entries [data-label=κ]",
    "models/lstm.html": "[data-label=κ]",
    "quick-1/compare.html": "#pairs td:not([hidden]) a",
}


@pytest.mark.parametrize("path", KAPPA)
def test_kappa_is_read_on_a_phone_without_a_sideways_scroll(visit, path):
    page = visit(path, PHONE)
    page.evaluate("document.querySelectorAll('.unseen').forEach((one) => one.remove())")
    assert page.locator(KAPPA[path]).count() > 3
    ends = page.locator(KAPPA[path]).evaluate_all("""all => all.map(one => {
        const text = document.createRange(); text.selectNodeContents(one);
        const box = text.getBoundingClientRect(); return [box.left, box.right, box.height];
    })""")
    assert all(left >= 0 and right <= 360 and height > 0 for left, right, height in ends)


def test_two_models_are_chosen_by_keyboard_and_by_address(visit):
    def shown(page):
        heads = page.locator("#pairs thead th:visible").all_inner_texts()
        drawn = page.locator(".side-by-side article:visible h3").all_inner_texts()
        assert {text.strip() for text in drawn} == {text.strip() for text in heads[1:]}
        return [text.strip() for text in heads[1:]]

    page = visit("quick-1/compare.html")
    first, second = shown(page)
    assert second == "transformer"
    page.get_by_label("first model").focus()
    page.keyboard.type("gru")
    assert shown(page) == ["gru", "transformer"]
    assert page.url.endswith("#gru+transformer")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert shown(page) == ["transformer", "gru"]
    assert shown(visit("quick-1/compare.html#mamba+lstm")) == ["mamba", "lstm"]
    assert shown(visit("quick-1/compare.html#mamba+nonsense")) == [first, second]
    without = visit("quick-1/compare.html", java_script_enabled=False)
    assert without.locator("#pairs thead th:visible").count() > len(models.names())


def test_searching_the_entries_and_the_models(visit):
    page = visit(BOARD)
    everything = len(column(page, 1))
    page.get_by_role("searchbox").fill("LOOKUP cot")
    found = column(page, 2), column(page, 3)
    assert all("lookup" in task for task in found[0])
    assert set(found[1]) == {"cot"}
    assert page.get_by_role("status").inner_text() == f"{len(found[0])} of {everything} entries"
    page = visit("index.html")
    page.get_by_role("searchbox").fill("linear recurrent")
    page.get_by_role("searchbox").press("Enter")
    shown = column(page, 1, "#models")
    assert {"mamba", "deltanet"} <= set(shown)
    assert "transformer" not in shown
    page.get_by_role("link", name="mamba", exact=True).last.click()
    assert page.locator("h1").inner_text().strip() == "mamba"


def test_downloads_are_downloads(chromium, site):
    """From a server, as a published site is; from the disk a browser just opens them."""
    handler = functools.partial(QuietHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = chromium.new_page()
        for path in ("quick-1/index.html", "quick-1/modadd.m-2.3-5/aligned/lstm.html"):
            page.goto(f"http://127.0.0.1:{server.server_port}/{path}")
            links = page.locator("a[download]")
            assert links.count() >= 2
            for link in links.all():
                with page.expect_download() as download:
                    link.click()
                name = link.get_attribute("href")
                here = (site / path).with_name(name)
                assert download.value.suggested_filename == name
                assert Path(download.value.path()).read_bytes() == here.read_bytes()
        page.close()
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing: what is asked for is what the test asks for."""


# Every text against what is behind it, by WCAG: 4.5 for text, 3 where it is large.
CONTRAST = """() => {
  const parts = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found, 1] : found;
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const [r, g, b, a] = parts(getComputedStyle(element).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.closest("script, title, option")) continue;
    const style = getComputedStyle(element);
    const svg = element.closest("svg");
    const ink = parts(svg ? style.fill : style.color);
    const [a, b] = [light(ink.slice(0, 3)), light(behind(element))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24;
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) {
      poor.add(`${element.tagName} ${element.className.baseVal ?? element.className} ` +
        `${element.textContent.trim().slice(0, 20)} ${style.color}`);
    }
  }
  return [...poor];
}"""


def test_every_page_opens_without_an_error(visit, site):
    paths = [PurePosixPath(p.relative_to(site)) for p in site.rglob("*.html")]
    few = sorted(paths)[:: max(1, len(paths) // 12)]
    for path in few:
        assert visit(path).locator("h1").is_visible()


def test_without_script_everything_can_be_read_and_nothing_is_dead(visit):
    page = visit(BOARD, java_script_enabled=False)
    assert page.locator("#entries tbody tr").first.is_visible()
    assert page.locator("button:visible, select:visible").count() == 0


def test_an_entry_cannot_run_or_load_anything(visit):
    page = visit("quick-1/modadd.m-2.3-5/aligned/own.own.Own.html")
    assert page.locator("img, iframe, object").count() == 0
    assert page.locator("script").count() == 1
    page.get_by_text("Source of the model").click()
    assert "<script>alert(1)</script>" in page.locator("pre.source").inner_text()


def test_pictures_of_boards_are_pictures(visit, site):
    (picture, *_) = sorted((site / "quick-1").glob("*.svg"))
    page = visit(picture.relative_to(site))
    assert page.evaluate("document.documentElement.getBoundingClientRect().width") > 300
    assert page.locator("title", has_text="κ").count() > 3


RUNS_OUT = """[...document.querySelectorAll('svg text')].filter(text => {
    const inner = text.getBoundingClientRect(), outer = text.closest('svg').getBoundingClientRect()
    return inner.right > outer.right + 1 || inner.left < outer.left - 1
}).map(text => text.textContent)"""


def test_no_text_runs_out_of_its_picture(visit, tmp_path):
    """On the pages of the committed entries, whose figures are as long as figures get."""
    rows = load(REPOSITORY / "leaderboards")
    write(pages(rows, [claim.document() for claim in evaluate(rows)]), tmp_path / "site")
    for protocol in sorted({row.protocol for row in rows}):
        page = visit(tmp_path / "site" / protocol / "index.html")
        assert page.locator("svg text").count() > 50
        assert page.evaluate(RUNS_OUT) == []
