"""The page of the documentation: every published figure beside what was measured here."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from kbench.reproduce.experiment import FOLDER, Experiment, load, names
from kbench.reproduce.results import Reading, committed, read
from kbench.reproduce.tables import here, learned, published, what, within

Found = list[tuple[Experiment, list[Reading]]]
MARK = "<!-- From here on: python studies/reproduced.py -->\n"
SENTENCE = re.compile(r"Of \d+ published figures, \d+ are measured\s+completely,\s+\d+ of these")


def everything() -> Found:
    """Every packaged experiment, with the runs that came with the package."""
    return [(of, read(of, committed(of.name))) for of in map(load, names())]


def misses() -> dict[str, dict[str, str]]:
    """Why figures did not come out, and what was tried: by experiment and figure."""
    return yaml.safe_load((FOLDER / "results" / "misses.yaml").read_text("utf-8")) or {}


def summary(found: Found) -> str:
    """How many there are, how many are measured completely, and how many of these are within."""
    counted = [r for _, readings in found for r in readings if not r.figure.again]
    judged = [r.within for r in counted if r.within is not None]
    return (
        f"Of {len(counted)} published figures, {len(judged)} are measured completely, "
        f"{sum(judged)} of these"
    )


def page(found: Found, why: Mapping[str, Mapping[str, str]]) -> str:
    """The part of the page below the mark, in Markdown."""
    lines = [f"{summary(found)} within what was published.", ""]
    for of, readings in found:
        lines += _section(of, readings, why.get(of.name, {}))
    return "\n".join(lines)


def _section(of: Experiment, readings: list[Reading], why: Mapping[str, str]) -> Iterator[str]:
    runs = committed(of.name).values()
    hours = sum(run.wall_s for run in runs) / 3600
    not_run = "" if runs else " **Not run yet.**"
    yield from (f"## {of.name}", "", f"{of.title}. {of.source.rstrip('.')}.", "")
    yield from (f"*Scaled down:* {of.scaled_down}{not_run}", "")
    yield from ("```", f"kbench reproduce {of.name}", "```", "")
    if runs:
        yield from (f"{len(runs)} runs in {hours:.1f} hours, beside other work.", "")
    yield f"| figure | model | published | here | within | at n = {of.longest_trained} |"
    yield "|---|---|---|---|---|---|"
    for r in readings:
        cells = what(of, r.figure), f"`{r.figure.model}`", published(r.figure), here(r)
        yield "| " + " | ".join((*cells, within(r), learned(r))) + " |"
    yield ""
    for figure, reason in why.items():
        yield from (f"- **{figure}**: {reason}", "")


def unexplained(found: Found, why: Mapping[str, Mapping[str, str]]) -> set[tuple[str, str]]:
    """Misses without a reason, and reasons without a miss."""
    missed = {
        (of.name, f"{r.figure.model}, {what(of, r.figure)}")
        for of, readings in found
        for r in readings
        if r.within is False
    }
    return missed ^ {(name, figure) for name, of in why.items() for figure in of}


def rewritten(path: Path, found: Found) -> str:
    """The text of a document with its figures made anew: the page, or one with the sentence."""
    text = path.read_text("utf-8")
    if MARK in text:
        return text.partition(MARK)[0] + MARK + "\n" + page(found, misses())
    return SENTENCE.sub(summary(found), text)
