"""The static site: pages from the entries, the same bytes for the same entries.

No server, no network and no clock: what a page says is in the entries, and its links are relative.
Entries are what others wrote, so everything goes through jinja2's escaping; the only markup that
does not is the style sheet and the script of this package.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kbench.data.supervision import SUPERVISIONS
from kbench.errors import KbenchError
from kbench.leaderboard.board import REFERENCE, Row, least_trust, protocols, ranking
from kbench.leaderboard.place import command, location
from kbench.leaderboard.ranking import Score
from kbench.leaderboard.site import figures, panels
from kbench.leaderboard.text import joint_brackets, kappa_cell, rank_text, score_text
from kbench.report.format import (
    bracket_text,
    interval_text,
    parameters_text,
    percent,
    task_name,
)
from kbench.report.readings import extrapolation
from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.likelihood import Interval
from kbench.study.cell import PLENTY
from kbench.study.parameters import lengths_text

TEMPLATES = Path(__file__).parent / "templates"
MANIFEST = ".kbench-site"
"""Names the files of a site, one a line: how the next one knows what is its to replace."""
Pages = Mapping[PurePosixPath, str]


@dataclass(frozen=True, kw_only=True)
class TaskBoard:
    """The κ entries of one task."""

    rows: Sequence[Row]
    models: Sequence[str]

    @property
    def name(self) -> str:
        """With parameters and lengths."""
        return task_text(self.rows[0])

    @property
    def lengths(self) -> Sequence[int]:
        """That κ is over."""
        return self.rows[0].run.cell.lengths

    @property
    def supervisions(self) -> list[str]:
        """Those that have entries."""
        found = {row.supervision for row in self.rows}
        return [way for way in SUPERVISIONS if way in found]

    @cached_property
    def cells(self) -> dict[tuple[str, str], Row]:
        """By model and supervision."""
        return {(row.model, row.supervision): row for row in self.rows}

    @cached_property
    def forests(self) -> list[figures.Forest]:
        """κ by model."""
        return figures.forests(self.rows, self.models)

    @cached_property
    def panels(self) -> list[panels.LengthPanel]:
        """N* by length."""
        return panels.length_panels(self.rows, self.models)

    @cached_property
    def scatter(self) -> figures.Scatter | None:
        """κ against extrapolation."""
        return figures.scatter(self.rows, self.models)


@dataclass(frozen=True, kw_only=True)
class Board:
    """All that one protocol's page shows."""

    name: str
    rows: Sequence[Row]
    reference: str = REFERENCE

    @cached_property
    def shared(self) -> list[Row]:
        """With κ, by task, supervision and rank."""
        order = {model: i for i, model in enumerate(self.models)}
        ways = list(SUPERVISIONS)
        return sorted(
            (row for row in self.rows if row.has_kappa),
            key=lambda r: (r.task, ways.index(r.supervision), order[r.model]),
        )

    @cached_property
    def drawn(self) -> list[Row]:
        """N* under one distribution of lengths."""
        return [row for row in self.rows if not row.has_kappa]

    @cached_property
    def scores(self) -> list[Score]:
        """The ranking over all tasks; empty where there is nothing to rank by."""
        return ranking(self.rows)

    @cached_property
    def rankings(self) -> dict[str, list[Score]]:
        """Over all tasks, where there are several, and over each."""
        found = {"all tasks": self.scores} if len(self.tasks) > 1 else {}
        found |= {task.name: ranking(task.rows) for task in self.tasks}
        return {name: scores for name, scores in found.items() if scores}

    @cached_property
    def models(self) -> list[str]:
        """Best first as far as they are ranked, then by name."""
        ranked = [score.model for score in self.scores]
        return ranked + sorted({row.model for row in self.rows} - set(ranked))

    @cached_property
    def tasks(self) -> list[TaskBoard]:
        """Of the entries with κ."""
        found: dict[str, list[Row]] = {}
        for row in self.shared:
            found.setdefault(row.task, []).append(row)
        return [TaskBoard(rows=of, models=self.models) for of in found.values()]

    @cached_property
    def axis(self) -> figures.Axis:
        """Of κ, the same for the whole table."""
        return figures.kappa_axis(self.shared, 2, 102)

    @property
    def level(self) -> str:
        """Of its intervals, as in `96 %`."""
        return _level(self.rows[0])

    @property
    def setup(self) -> str:
        """The protocol in one line."""
        return setup(self.rows[0])

    @property
    def filters(self) -> dict[str, list[tuple[str, str]]]:
        """Value and text of what the table may be narrowed to."""
        tasks = {row.task: task_text(row) for row in self.shared}
        names = {"model": sorted({row.model for row in self.shared})}
        names["supervision"] = [
            way for way in SUPERVISIONS if way in {row.supervision for row in self.shared}
        ]
        names["verdict"] = sorted({row.verdict for row in self.shared})
        names["trust"] = sorted({row.trust for row in self.shared})
        plain = {name: [(value, value) for value in values] for name, values in names.items()}
        return {"model": plain.pop("model"), "task": sorted(tasks.items()), **plain}


def pages(rows: Sequence[Row], claims: Sequence[Mapping[str, Any]] = ()) -> Pages:
    """Every file of the site; claims are the documents that `kbench claims --json` has.

    Raises KbenchError for an entry that is not where it belongs.
    """
    if not rows:
        raise KbenchError("there are no leaderboard entries to make a site of")
    for row in rows:
        if row.place != location(row.run.cell):
            raise KbenchError(f"{row.place}: the entry's place is {location(row.run.cell)}")
    boards = [Board(name=name, rows=of) for name, of in sorted(protocols(rows).items())]
    paths = {str(row.place): page(row) for row in rows}
    render = _renderer({"boards": [board.name for board in boards], "claims": claims})
    found = {"index.html": render("index", depth=0, here="", all_boards=boards)}
    if claims:
        found["claims.html"] = render("claims", depth=0, here="claims", pages=paths)
    for board in boards:
        found[f"{board.name}/index.html"] = render(
            "protocol", depth=1, here=board.name, board=board
        )
        for task in board.tasks:
            found[f"{board.name}/{task.rows[0].task}.svg"] = render(
                "picture", panels=task.forests, task=task.name, protocol=board.name, depth=0
            )
        for row in board.rows:
            panel = panels.seed_panel(row) if row.has_kappa else None
            found[page(row)] = render(
                "entry", depth=3, here=board.name, row=row, panel=panel, setup=board.setup
            )
    return {PurePosixPath(path): text for path, text in found.items()}


def page(row: Row) -> str:
    """Where an entry's page is, from the root; its parts are held to a pattern by location()."""
    return str(location(row.run.cell).with_suffix("")) + ".html"


def task_text(row: Row) -> str:
    """`modadd m=3, n = 2–6`."""
    cell = row.run.cell
    return f"{task_name(cell)}, n = {_span_of(cell.lengths)}"


def setup(row: Row) -> str:
    """A protocol's numbers in one line."""
    protocol = row.run.cell.protocol
    recipes = "; ".join(map(str, protocol.recipes))
    training = protocol.training
    return (
        f"success is a validation loss below {training.eps:g} within {training.steps:,} steps; "
        f"{protocol.seeds}; trained by {recipes}"
    )


def environment() -> Environment:
    """Of the templates, with the filters that they use."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    env.filters |= {
        "interval": interval_text, "bracket": bracket_text, "kappa": kappa_cell, "level": _level,
        "ends": lambda two: interval_text(Interval(low=two[0], high=two[1])),
        "parameters": parameters_text, "number": _number,
        "rank": rank_text, "score": score_text, "trust": least_trust,
        "middle": lambda interval: _value(figures.value(interval)),
        "size": lambda b: _value(b.low if b.middle is None else b.middle),
        "tone": figures.tone, "span": figures.kappa_span, "span_of": _span_of,
        "page": page, "task": task_text, "command": lambda row: command(row.run.cell),
        "together": _together, "each": _each, "n_star": _n_star, "searches": _searches,
        "tests": lambda row: extrapolation(row.run), "prose": _prose,
    }  # fmt: skip
    return env


def _renderer(shared: Mapping[str, Any]) -> Any:
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
            css=Markup(figures_css if picture else css), script=Markup(script),
        )  # fmt: skip

    return render


def _sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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


def _span_of(lengths: Sequence[int]) -> str:
    return lengths_text(lengths, dash="–", comma=", ")


def _together(row: Row) -> Bracket:
    return best_of_grid(joint_brackets(row))


def _each(row: Row) -> Interval:
    return row.run.n_star(row.run.cell.joint)


def _level(row: Row) -> str:
    return percent(row.run.cell.protocol.confidence)


def _n_star(row: Row) -> list[Bracket]:
    cell = row.run.cell
    return [best_of_grid(row.run.brackets(n)) for n in (*cell.alone, cell.joint)]


def _searches(row: Row) -> list[tuple[str, Bracket, list[Bracket], str]]:
    """Label, best of grid, per seed, and how many samples there are."""
    cell = row.run.cell
    names = {(n,): f"n = {n}" for (n,) in cell.alone} | {
        cell.joint: f"{_span_of(cell.joint)} together"
    }
    return [
        (name, best_of_grid(per_seed), per_seed, _size(sum(cell.universes[n] for n in lengths)))
        for lengths, name in names.items()
        for per_seed in [row.run.brackets(lengths)]
    ]


def _size(samples: int) -> str:
    return f"{samples:,}" if samples < PLENTY else f"over {PLENTY:.0e}"


def write(found: Pages, out: Path) -> int:
    """Put a site into a folder, in the place of an earlier one; how many stale files went.

    Each file is replaced in one step. Files that no site wrote stay. Raises KbenchError for a
    folder with something in it that is no earlier site.
    """
    try:
        return _write(found, out)
    except OSError as error:
        where = error.filename or out
        raise KbenchError(f"{where} cannot be written: {error.strerror}") from None


def _write(found: Pages, out: Path) -> int:
    manifest = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise KbenchError(f"{out} is no folder")
    if out.exists() and any(out.iterdir()) and not manifest.is_file():
        raise KbenchError(f"{out} is not empty and no earlier site; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    before = _listed(manifest) if manifest.exists() else set()
    # Named before they are written: a run that is cut short leaves a site, and nothing unnamed.
    _replace(manifest, _lines(before | set(found)))
    for path, text in found.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        _replace(out / path, text)
    stale = sorted(before - set(found))
    for path in stale:
        (out / path).unlink(missing_ok=True)
        for folder in path.parents[:-1]:
            if (out / folder).is_dir() and not any((out / folder).iterdir()):
                (out / folder).rmdir()
    _replace(manifest, _lines(set(found)))
    return len(stale)


def _listed(manifest: Path) -> set[PurePosixPath]:
    paths = {PurePosixPath(line) for line in manifest.read_text("utf-8").splitlines()}
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise KbenchError(f"{manifest} names files outside of its folder")
    return paths


def _lines(paths: set[PurePosixPath]) -> str:
    return "".join(f"{path}\n" for path in sorted(paths))


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, "utf-8", newline="\n")
    fresh.replace(path)
