"""The results of several cells, as the Python API hands them out."""

import html
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from rich.console import Console

from kbench.errors import KbenchError, unknown
from kbench.report import frames
from kbench.report.document import SCHEMA_VERSION, Document, Result, plain
from kbench.report.tables import tables
from kbench.study.searches import CellRun

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class Results(Sequence[Result]):
    """Results in a fixed order: by position, by name, or one after the other.

    `results[0]` is the first; `results["lstm", "modadd", "aligned"]` the one with these names, in
    any order and as few as tell it apart.
    """

    def __init__(self, results: Sequence[Result], runs: Sequence[CellRun]) -> None:
        self._results, self._runs = tuple(results), tuple(runs)

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    @overload
    def __getitem__(self, which: int | str | tuple[str, ...]) -> Result: ...
    @overload
    def __getitem__(self, which: slice) -> "Results": ...
    def __getitem__(self, which: int | str | tuple[str, ...] | slice) -> "Result | Results":
        if isinstance(which, slice):
            return Results(self._results[which], self._runs[which])
        if isinstance(which, int):
            return self._results[which]
        names = (which,) if isinstance(which, str) else which
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise KbenchError(f"results are chosen by number or by names, got {which!r}")
        known = {name for result in self for name in _names(result)}
        for name in names:
            if name not in known:
                raise unknown("name in these results", name, known)
        found = [result for result in self if _names(result).issuperset(names)]
        if len(found) != 1:
            count = f"{len(found)} results have" if found else "no result has all of"
            raise KbenchError(
                f"{count} the names {', '.join(names)}: name one by more, or by number"
            )
        return found[0]

    def to_pandas(self, what: str = "kappa") -> "pandas.DataFrame":
        """A tidy frame, one row a thing: `kappa`, `by_length`, `reach`, `n_star`, `trials` or
        `extrapolation`.

        Needs pandas (`pip install pandas`); raises KbenchError without it.
        """
        return frames.to_pandas(self, what)

    def plot(self, what: str = "kappa") -> "Figure":
        """A matplotlib figure, as `kbench show --plot` draws it.

        `kappa`, `kappa-by-length` (κ of the lengths up to L against L), `extrapolation` (κ against
        the accuracy at twice the training length), `curves` (validation loss by step) or `success`
        (share of seeds that pass at each N).
        """
        from kbench.report.figures.curves import PLOTS

        if what not in PLOTS:
            raise unknown("plot", str(what), PLOTS)
        return PLOTS[what](self._runs, self)

    def to_json(self) -> dict[str, Any]:
        """The document that `kbench run --json` prints, as plain values."""
        return plain(Document(schema_version=SCHEMA_VERSION, results=list(self)))

    def __repr__(self) -> str:
        return self._rendered().rstrip() or "no results"

    def _repr_html_(self) -> str:
        """A table of κ, or of N* where no result has κ, for notebooks."""
        head, body = frames.printed(self, "kappa" if any(r.kappa for r in self) else "n_star")
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in body
        )
        names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        return f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"

    def _rendered(self) -> str:
        out = io.StringIO()
        Console(file=out, width=140, markup=False, emoji=False).print(tables(self._runs))
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _names(result: Result) -> set[str]:
    """What a result may be asked for by."""
    parts = {result.model, result.task, result.supervision, result.protocol, result.backend}
    parts |= {result.distribution} if result.distribution else set()
    return parts | ({"held-out pairs"} if result.hold_out_pairs is not None else set())
