"""Every link from one page of the repository to another leads somewhere, anchors included."""

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "leaderboards/README.md"])
LINK = re.compile(r"\]\(([^)\s]+)\)|\{download\}`([^`]+)`")
INCLUDED = re.compile(r"^```\{(?:literal)?include\} (\S+)", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page):
    """Of the headings, as GitHub and MyST make them."""
    text = CODE.sub("", page.read_text("utf-8"))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = unicodedata.normalize("NFC", re.sub(r"[`*\\]", "", heading).strip().lower())
        yield re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain))


def missing(page):
    text = page.read_text("utf-8")
    links = [next(filter(None, of.groups())) for of in LINK.finditer(CODE.sub("", text))]
    for link in [*links, *INCLUDED.findall(text)]:
        place, _, anchor = link.partition("#")
        if place.startswith(("http://", "https://", "mailto:")):
            continue
        target = page.parent / place if place else page
        # A notebook of the site goes by its name without an ending.
        if not (target.exists() or target.with_suffix(".py").exists()):
            yield f"{place}: is not there"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{place}#{anchor}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert not [*missing(page)]


def test_every_page_of_the_docs_is_in_the_contents():
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {*re.findall(r"^[\w/-]+$", index, re.MULTILINE)}
    pages = {p.stem for p in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= listed
    assert "examples/own_model" in listed
