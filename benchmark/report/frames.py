"""Results as tidy tables, one row a thing: rows first, then CSV, pandas, LaTeX or Markdown.

The rows hold numbers; censoring stands beside them in a column of its own. Only `to_pandas`, and
what is written by way of it, import pandas (`pip install pandas`).
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kbench.errors import KbenchError, unknown
from kbench.report.document import Median, Result
from kbench.report.format import (
    bracket_text,
    kappa_text,
    parameters_text,
    percent,
    task_name,
)
from kbench.statistics.likelihood import Interval
from kbench.study.parameters import lengths_text

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]


def _cell(result: Result) -> Row:
    """What every row says of where it comes from."""
    return {
        "model": result.model,
        "task": result.task,
        "task_params": parameters_text(result.task_params),
        "supervision": result.supervision,
        "distribution": result.distribution,
        "hold_out_pairs": result.hold_out_pairs,
        "protocol": result.protocol,
        "lengths": lengths_text(result.lengths),
        "backend": result.backend,
        "complete": result.complete,
    }


def _kappa(results: Sequence[Result]) -> Iterator[Row]:
    """κ of each cell that has one: over seeds, of the best of the grid, and the verdict."""
    for result in results:
        if kappa := result.kappa:
            yield {
                **_cell(result),
                "seeds": kappa.over_seeds.seeds,
                "reach": result.reach.median if result.reach else None,
                "up_to": kappa.up_to,
                **_estimate("kappa", kappa.over_seeds),
                "confidence": kappa.over_seeds.confidence,
                "verdict": kappa.verdict,
                "memorised_share": kappa.memorised_share,
                "seen_prefixes": result.seen_prefixes,
                "best_of_grid_low": kappa.best_of_grid.low,
                "best_of_grid_high": kappa.best_of_grid.high,
            }


def _by_length(results: Sequence[Result]) -> Iterator[Row]:
    """κ(L) and N* of the lengths up to L together, of each cell whose protocol asks for it."""
    for result in results:
        for length, found in result.by_length.items():
            yield {
                **_cell(result),
                "up_to": int(length),
                **_estimate("kappa", found.kappa.over_seeds),
                "verdict": found.kappa.verdict,
                "memorised_share": found.kappa.memorised_share,
                **_estimate("n_star", found.n_star.over_seeds),
            }


def _estimate(name: str, median: Median) -> Row:
    """A median over seeds and its interval."""
    return {name: median.estimate, f"{name}_low": median.low, f"{name}_high": median.high}


def _reach(results: Sequence[Result]) -> Iterator[Row]:
    """Of each seed, the longest L for which the first length to L are learned together."""
    for result in results:
        for row in result.reach.each_seed if result.reach else ():
            yield {**_cell(result), "seed": row.seed, "reach": row.length}


def _n_star(results: Sequence[Result]) -> Iterator[Row]:
    """The bracket of N* of each length, and of all together (`joint`), by seed.

    `high` is a size that passed; where none did, and the samples of a length ran out,
    `all_samples` says how many there are.
    """
    for result in results:
        for length, n_star in result.n_star.items():
            for row in n_star.per_seed:
                bracket = row.bracket()
                yield {
                    **_cell(result),
                    "length": length,
                    "seed": row.seed,
                    "low": row.low,
                    "high": bracket.most,
                    "all_samples": bracket.high if bracket.ran_out else None,
                    "censored": row.censored,
                }


def _trials(results: Sequence[Result]) -> Iterator[Row]:
    """Every training run."""
    for result in results:
        for trial in result.trials:
            yield {
                **_cell(result),
                "trained_on": "+".join(map(str, trial.lengths)),
                "seed": trial.seed,
                "n_samples": trial.n_samples,
                "learning_rate": trial.learning_rate,
                "recipe": trial.recipe,
                "tested": "+".join(map(str, trial.tested)) or None,
                "outcome": trial.outcome,
                "reason": trial.reason,
                "failure": trial.failure,
                "training_loss": trial.training_loss,
                "steps": trial.steps,
                "best_loss": trial.best_loss,
                "best_step": trial.best_step,
                "wall_s": trial.wall_s,
                "key": trial.key,
            }


def _extrapolation(results: Sequence[Result]) -> Iterator[Row]:
    """Accuracy at each length tested, of each model tested."""
    for result in results:
        for test in result.extrapolation:
            for length, found in test.accuracy.items():
                yield {
                    **_cell(result),
                    "seed": test.seed,
                    "model_of": test.model_of,
                    "n_samples": test.n_samples,
                    "outcome": test.outcome,
                    "length": int(length),
                    "accuracy": found.accuracy,
                    "chance": found.chance,
                    "normalised": found.normalised,
                }


FRAMES: dict[str, Callable[[Sequence[Result]], Iterator[Row]]] = {
    "kappa": _kappa,
    "by_length": _by_length,
    "reach": _reach,
    "n_star": _n_star,
    "trials": _trials,
    "extrapolation": _extrapolation,
}
COLUMNS = {
    "kappa": ("seeds", "reach", "up_to", "kappa", "kappa_low", "kappa_high", "confidence",
              "verdict", "memorised_share", "seen_prefixes", "best_of_grid_low",
              "best_of_grid_high"),
    "by_length": ("up_to", "kappa", "kappa_low", "kappa_high", "verdict", "memorised_share",
                  "n_star", "n_star_low", "n_star_high"),
    "reach": ("seed", "reach"),
    "n_star": ("length", "seed", "low", "high", "all_samples", "censored"),
    "trials": ("trained_on", "seed", "n_samples", "learning_rate", "recipe", "tested", "outcome",
               "reason", "failure", "training_loss", "steps", "best_loss", "best_step", "wall_s",
               "key"),
    "extrapolation": ("seed", "model_of", "n_samples", "outcome", "length", "accuracy", "chance",
                      "normalised"),
}  # fmt: skip
"""After those that say which cell it is; there where there is no row, too."""
_CELL = ("model", "task", "task_params", "supervision", "distribution", "hold_out_pairs",
         "protocol", "lengths", "backend", "complete")  # fmt: skip
FORMATS = ("csv", "parquet", "latex", "markdown")


def rows(results: Sequence[Result], what: str) -> list[Row]:
    """The rows of one frame; raises KbenchError for a frame that there is not."""
    if what not in FRAMES:
        raise unknown("frame", str(what), FRAMES)
    return list(FRAMES[what](results))


def to_pandas(results: Sequence[Result], what: str) -> "pandas.DataFrame":
    """One frame as a DataFrame, its columns there without a row too."""
    found = rows(results, what)
    try:
        import pandas
    except ImportError:
        raise KbenchError("pandas is not installed: pip install pandas") from None
    return pandas.DataFrame(found, columns=[*_CELL, *COLUMNS[what]])


def to_csv(results: Sequence[Result], what: str) -> str:
    """One frame as CSV, without pandas; what is not known is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*_CELL, *COLUMNS[what]] if what in FRAMES else [])
    found = rows(results, what)
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def to_parquet(results: Sequence[Result], what: str) -> bytes:
    """One frame as a Parquet file."""
    frame = to_pandas(results, what)
    try:
        return bytes(frame.to_parquet(index=False))
    except ImportError:
        raise KbenchError("pyarrow is not installed: pip install pyarrow") from None


def printed(results: Sequence[Result], what: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows as a person reads them, censoring marks as text."""
    if what == "kappa":
        levels = sorted({r.kappa.over_seeds.confidence for r in results if r.kappa})
        level = f" ({', '.join(map(percent, levels))})" if levels else ""
        by_length = any(result.by_length for result in results)
        head = ["model", "task", "supervision", "seeds", *(["reach", "κ to n ="] * by_length),
                f"κ over seeds{level}", "verdict", "κ best of grid"]  # fmt: skip
        return head, [
            [
                result.model,
                task_name(result),
                result.supervision,
                str(kappa.over_seeds.seeds),
                *((_reach_text(result), str(kappa.up_to)) if by_length else ()),
                kappa_text(kappa.over_seeds.interval(), kappa.memorised_share),
                kappa.verdict if result.complete else "unfinished",
                kappa_text(
                    Interval(low=kappa.best_of_grid.low, high=kappa.best_of_grid.high),
                    kappa.memorised_share,
                ),
            ]
            for result in results
            if (kappa := result.kappa)
        ]
    if what == "n_star":
        head = ["model", "task", "supervision", "length", "N* best of grid"]
        return head, [
            [
                result.model,
                task_name(result),
                result.supervision,
                length,
                bracket_text(n_star.bracket()),
            ]
            for result in results
            for length, n_star in result.n_star.items()
        ]
    found = rows(results, what)
    head = [*_CELL[:1], *_CELL[1:2], "supervision", *COLUMNS.get(what, ())]
    return head, [
        ["" if row[name] is None else f"{row[name]:g}" if isinstance(row[name], float)
         else str(row[name]) for name in head]
        for row in found
    ]  # fmt: skip


def _reach_text(result: Result) -> str:
    """The median over seeds, or `none`; nothing where it was not asked for."""
    return str(result.reach.median or "none") if result.reach else ""


def to_markdown(results: Sequence[Result], what: str) -> str:
    """One frame as a Markdown table."""
    head, body = printed(results, what)
    lines = [head, ["---"] * len(head), *body]
    return "".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines
    )


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$", "≤": r"$\le$", "κ": r"$\kappa$", "*": r"$^*$",
    "‡": r"$^\ddagger$", "…": r"\dots{}", "–": "--",
}  # fmt: skip


def to_latex(results: Sequence[Result], what: str) -> str:
    """One frame as a LaTeX table for booktabs, in plain ASCII."""
    head, body = printed(results, what)
    lines = [" & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in line) + r" \\"
             for line in (head, *body)]  # fmt: skip
    return "\n".join(
        [r"\begin{tabular}{" + "l" * len(head) + "}", r"\toprule", lines[0], r"\midrule",
         *lines[1:], r"\bottomrule", r"\end{tabular}", ""]
    )  # fmt: skip


def exported(results: Sequence[Result], what: str, form: str) -> bytes:
    """One frame in one of FORMATS, UTF-8; raises KbenchError for another."""
    writers: dict[str, Callable[[Sequence[Result], str], str | bytes]] = {
        "csv": to_csv,
        "parquet": to_parquet,
        "latex": to_latex,
        "markdown": to_markdown,
    }
    rows((), what)
    if form not in writers:
        raise unknown("format", str(form), writers)
    written = writers[form](results, what)
    return written if isinstance(written, bytes) else written.encode()
