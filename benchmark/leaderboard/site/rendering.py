"""Templates and the filters that they use: from values to the text of a page.

Entries are what others wrote, so everything goes through jinja2's escaping; the only markup that
does not is the style sheet and the script of this package.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kbench.leaderboard.board import DECIDED, Row, least_trust
from kbench.leaderboard.place import command
from kbench.leaderboard.site import figures
from kbench.leaderboard.site.boards import level, span_of, task_text
from kbench.leaderboard.text import joint_brackets, kappa_cell, rank_text, score_text
from kbench.report.figures.palette import KINDS, colour
from kbench.report.format import (
    bracket_text,
    interval_text,
    kappa_text,
    lengths_words,
    model_name,
    parameters_text,
    task_name,
)
from kbench.report.readings import extrapolation
from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.likelihood import Interval
from kbench.study.cell import PLENTY

TEMPLATES = Path(__file__).parent / "templates"


ENVIRONMENT = {
    "kbench": "kbench version",
    "revision": "commit",
    "dirty": "uncommitted changes",
    "device": "device",
    "cpu": "processor",
    "cpu_capability": "instruction set",
    "machine": "machine",
    "threads": "threads",
    "stacked": "trained as one of a stack",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "model_source": "source of the model",
    "task_source": "source of the task",
}
"""What trials ran under, as a person calls it; in this order."""


def page(row: Row) -> str:
    """Where an entry's page is, from the root; its parts are held to a pattern by location()."""
    return str(row.place).removesuffix(".json") + ".html"


def environment() -> Environment:
    """Of the templates, with the filters that they use."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    env.globals["DECIDED"] = DECIDED
    env.filters |= {
        "interval": interval_text, "bracket": bracket_text, "kappa": kappa_cell, "level": level,
        "ends": lambda two: interval_text(Interval(low=two[0], high=two[1])),
        "parameters": parameters_text, "number": _number,
        "rank": rank_text, "score": score_text, "trust": least_trust,
        "middle": lambda interval: _value(figures.value(interval)),
        "size": lambda b: _value(b.low if b.middle is None else b.middle),
        "tone": figures.tone, "span": lambda row, axis: figures.kappa_span(row.kappa, axis),
        "colour": lambda row: colour(row.architecture), "environment": _environment,
        "cited": _cited, "words": lambda name: name.replace("_", " "), "quoted": _quoted,
        "passing": _passing, "span_of": span_of,
        "page": page, "task": task_text, "command": lambda row: command(row.run.cell),
        "together": _together, "each": _each, "n_star": _n_star, "searches": _searches,
        "tests": lambda row: extrapolation(row.run), "prose": _prose,
    }  # fmt: skip
    return env


def renderer(shared: Mapping[str, Any]) -> Any:
    """Renders a template by name, for a page that lies `depth` folders deep."""
    env = environment()
    figures_css = (TEMPLATES / "figures.css").read_text("utf-8")
    css = figures_css + (TEMPLATES / "site.css").read_text("utf-8")
    script = (TEMPLATES / "site.js").read_text("utf-8")
    # Hashes, and no 'self', which means nothing to a page that was opened from a disk.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_sha256(css)}; "
        f"script-src {_sha256(script)}; base-uri 'none'; form-action 'none'"
    )

    def render(name: str, *, depth: int, **values: Any) -> str:
        picture = name == "picture"
        template = env.get_template(f"{name}.svg.j2" if picture else f"{name}.html.j2")
        return template.render(
            **shared, **values, root="../" * depth, policy=policy, shapes=figures.SHAPES,
            css=Markup(figures_css if picture else css), script=Markup(script), KINDS=KINDS,
        )  # fmt: skip

    return render


def _sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _environment(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a trial ran under, in words; what kbench does not know by name comes last."""
    known = [name for name in ENVIRONMENT if name in found]
    names = [*known, *(name for name in found if name not in ENVIRONMENT)]
    said = {True: "yes", False: "no", None: "not known"}
    return [
        (
            ENVIRONMENT.get(name, name.replace("_", " ")),
            said[value] if value is None or isinstance(value, bool) else str(value),
        )
        for name in names
        for value in [found[name]]
    ]


def _cited(text: str) -> Markup:
    """With a link to every paper that is named by its number on arXiv."""
    parts = re.split(r"(arXiv[: ]\d{4}\.\d{4,5})", text)
    return Markup("").join(
        Markup('<a href="https://arxiv.org/abs/{}">{}</a>').format(part[6:], part)
        if i % 2
        else part
        for i, part in enumerate(parts)
    )


def _quoted(row: Row) -> str:
    """κ in a sentence, with all that has to be said with it (docs/citing.md)."""
    cell = row.run.cell
    lengths = lengths_words([n for n in cell.lengths if n <= row.run.up_to[-1]])
    text = kappa_text(row.kappa, row.memorised)
    return (
        f"κ {text if text[0] in '<>' else f'= {text}'} for {model_name(cell)}, {task_name(cell)}, "
        f"lengths {lengths}, {cell.supervision} supervision, {len(row.run.seeds)} seeds, "
        f"kbench protocol {cell.protocol.id}"
    )


def _passing(row: Row) -> str:
    """Seeds by which all lengths were learned together: `3 of 5`."""
    brackets = joint_brackets(row)
    return f"{sum(b.most is not None for b in brackets)} of {len(brackets)}"


def _number(x: float) -> str:
    return f"{x:,}" if isinstance(x, int) else f"{x:.4g}"


def _value(x: float | None) -> str:
    """What a cell is sorted by; nothing comes last."""
    return "" if x is None else f"{x:.6g}"


def _prose(text: str) -> Markup:
    """A line of Markdown as a claim has it: `code`, and a star that is escaped."""
    parts = text.replace("\\*", "*").split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


def _together(row: Row) -> Bracket:
    return best_of_grid(joint_brackets(row))


def _each(row: Row) -> Interval:
    return row.run.n_star(row.run.cell.joint)


def _n_star(row: Row) -> list[Bracket]:
    cell = row.run.cell
    return [best_of_grid(row.run.brackets(n)) for n in (*cell.alone, cell.joint)]


def _searches(row: Row) -> list[tuple[str, Bracket, list[Bracket], str]]:
    """Label, best of grid, per seed, and how many samples there are."""
    cell = row.run.cell
    names = {(n,): f"n = {n}" for (n,) in cell.alone} | {
        cell.joint: f"{span_of(cell.joint)} together"
    }
    return [
        (name, best_of_grid(per_seed), per_seed, _size(sum(cell.universes[n] for n in lengths)))
        for lengths, name in names.items()
        for per_seed in [row.run.brackets(lengths)]
    ]


def _size(samples: int) -> str:
    return f"{samples:,}" if samples < PLENTY else f"over {PLENTY:.0e}"
