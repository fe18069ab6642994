"""Tables that read at any width and in any encoding: a line a row, or stacked where that is short.

Nothing is ever cut: what is too wide goes on in the next line.
"""

import codecs
from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

PLAIN = {
    "κ": "kappa", "ε": "epsilon", "Σ": "sum", "√": "sqrt", "σ": "sigma", "₂": "2", "∞": "inf",
    "≤": "<=", "≥": ">=", "∝": "~", "→": "->", "←": "<-", "×": "x", "·": "*", "…": "...",
    "–": "-", "—": "-", "−": "-", "‡": "(!)", "†": "(+)", "°": "(?)", "¶": "(p)", "─": "-",
    "━": "=", "“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ",
}  # fmt: skip
"""In ASCII, for a stream whose encoding has no such character."""
GAP, INDENT = 3, 6
"""Spaces between columns, and before what is stacked below a row's name."""
READABLE = 30
"""The narrowest column that prose is set in."""


def readable(error: UnicodeError) -> tuple[str, int]:
    """A handler of characters that a stream cannot encode: in plain letters, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in text), error.end


codecs.register_error("kbench.readable", readable)


def plain(text: str, encoding: str) -> str:
    """What a stream of this encoding shows of a text: columns are measured after this.

    >>> plain("κ ≤ 1", "latin-1")
    'kappa <= 1'
    """
    return text.encode(encoding, "kbench.readable").decode(encoding)


class Grid:
    """A table that fits whatever it is printed on.

    `names` say what a row is about, `figures` are never broken where the width allows it, and
    `prose` is wrapped. Where a line is too short for all of them, the names stand alone, below them
    the figures, in as few lines as will do, and last the prose.

    >>> grid = Grid("Sizes", names=["model"], figures=["parameters"], right=["parameters"])
    >>> grid.add_row("lstm", "8,966")
    >>> Console(width=80).print(grid)
    Sizes
    <BLANKLINE>
      model   parameters
     ────────────────────
      lstm         8,966
    <BLANKLINE>
    """

    def __init__(
        self,
        title: str = "",
        *,
        names: Sequence[str],
        figures: Sequence[str] = (),
        prose: Sequence[str] = (),
        right: Collection[str] = (),
    ) -> None:
        self.title, self.notes = title, list[str]()
        """Below the table, one a line."""
        self.rows: list[tuple[list[str], str]] = []
        """Cells in the order of the columns, and the row's style."""
        self._headers = [*names, *figures, *prose]
        self._n_names, self._n_figures = len(names), len(figures)
        self._right = {i for i, name in enumerate(self._headers) if name in right}

    def add_row(self, *cells: str, style: str = "") -> None:
        """A cell for each column: names, figures, prose."""
        assert len(cells) == len(self._headers), cells
        self.rows.append(([*cells], style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width, encoding = options.max_width, options.encoding
        headers = [plain(name, encoding) for name in self._headers]
        rows = [([plain(cell, encoding) for cell in cells], style) for cells, style in self.rows]
        lines = Lines(console, width, headers, rows, self._n_names, self._n_figures, self._right)
        for line in lines.wrapped(plain(self.title, encoding), width) if self.title else []:
            yield Text(line, style="bold")
        yield Text("")
        rule = plain("─", encoding)
        for line, style in lines.flat() or lines.stacked():
            text = line.replace(RULE, rule).rstrip()
            yield Text(text, style=style, no_wrap=True, overflow="ignore")
        yield Text("")
        for note in self.notes:
            for line in lines.wrapped(plain(note, encoding), width):
                yield Text(line)


RULE = "\0"


class Lines:
    """The lines of a table for one width, each with its style."""

    def __init__(
        self,
        console: Console,
        width: int,
        headers: Sequence[str],
        rows: Sequence[tuple[list[str], str]],
        n_names: int,
        n_figures: int,
        right: Collection[int],
    ) -> None:
        self._console, self._width, self._headers, self._rows = console, width, headers, rows
        self._n_names, self._n_firm, self._right = n_names, n_names + n_figures, right
        self._cells = [max((_wide(cells[i]) for cells, _ in rows), default=0) for i in self._all]

    @property
    def _all(self) -> range:
        return range(len(self._headers))

    def wrapped(self, text: str, width: int) -> list[str]:
        """At spaces; within a word only where it is longer than a line."""
        return [
            line.plain.rstrip()
            for part in text.split("\n")
            for line in Text(part).wrap(self._console, max(width, 1), overflow="fold")
        ]

    def flat(self) -> list[tuple[str, str]]:
        """One line a row, the headings broken if need be; nothing where that does not fit."""
        wide = [_wide(name) for name in self._headers]
        narrow = [_in_two_lines(name) for name in self._headers]
        for of_headers in (wide, narrow):
            widths = [max(pair) for pair in zip(self._cells, of_headers, strict=True)]
            left = self._width - 2 - sum(widths[: self._n_firm]) - GAP * (len(widths) - 1)
            prose = [*self._all][self._n_firm :]
            while prose and sum(widths[i] for i in prose) > left:
                widest = max(prose, key=lambda i: widths[i])
                others = sum(widths[i] for i in prose if i != widest)
                widths[widest] = min(widths[widest] - 1, max(left - others, left // len(prose)))
                if widths[widest] < READABLE:
                    break
            else:
                if left >= 0:
                    return self._table([(2, [*self._all])], widths)
        return []

    def stacked(self) -> list[tuple[str, str]]:
        """The names on a line of their own, figures below, prose below these."""
        room = self._width - INDENT
        widths = [
            min(room, max(cell, _in_two_lines(name)))
            for cell, name in zip(self._cells, self._headers, strict=True)
        ]
        bands: list[list[int]] = []
        for i in range(self._n_names, self._n_firm):
            if not bands or sum(widths[j] + GAP for j in bands[-1]) + widths[i] > room:
                bands.append([])
            bands[-1].append(i)
        for i in self._all[self._n_firm :]:
            widths[i] = room
            bands.append([i])
        return self._table([(INDENT, band) for band in bands], widths, apart=True)

    def _table(
        self, bands: Sequence[tuple[int, Sequence[int]]], widths: Sequence[int], apart: bool = False
    ) -> list[tuple[str, str]]:
        """Headings, a rule, and the rows, each in so many bands of columns, with their indent."""
        n_prose = len(self._headers) - self._n_firm

        def block(cells: Sequence[str], heading: bool = False) -> Iterator[str]:
            if apart:
                names = ", ".join(filter(None, cells[: self._n_names]))
                yield from (f"  {line}" for line in self.wrapped(names, self._width - 2))
            for indent, band in bands:
                if apart and not heading and not any(cells[i] for i in band):
                    continue
                if apart and n_prose > 1 and band[0] >= self._n_firm and not heading:
                    text = f"{self._headers[band[0]]}: {cells[band[0]]}"
                    first, *others = self.wrapped(text, widths[band[0]] - 2)
                    yield " " * indent + first
                    yield from (" " * (indent + 2) + line for line in others)
                    continue
                texts = [cells[i] for i in band]
                yield from self._band(indent, band, texts, widths, bottom=heading)

        lines = [(line, "bold") for line in block(self._headers, heading=True)]
        length = max([cell_len(line) for line, _ in lines] + [0])
        body = []
        for k, (cells, style) in enumerate(self._rows):
            if apart and n_prose and k:
                body.append(("", ""))
            body += [(line, style) for line in block(cells)]
        length = max([length, *(cell_len(line) for line, _ in body)])
        return [*lines, (" " + RULE * min(length, self._width - 1), ""), *body]

    def _band(
        self,
        indent: int,
        band: Sequence[int],
        texts: Sequence[str],
        widths: Sequence[int],
        bottom: bool,
    ) -> Iterator[str]:
        """The lines of some columns of a row; shorter cells at the top, of headings at the end."""
        columns = [self.wrapped(t, widths[i]) for i, t in zip(band, texts, strict=True)]
        height = max(map(len, columns), default=0)
        for column in columns:
            blank = [""] * (height - len(column))
            column[:] = blank + column if bottom else column + blank
        for k in range(height):
            parts = []
            for i, column in zip(band, columns, strict=True):
                fill = " " * (widths[i] - cell_len(column[k]))
                parts.append(fill + column[k] if i in self._right else column[k] + fill)
            yield (" " * indent + (" " * GAP).join(parts)).rstrip()


def _wide(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _in_two_lines(heading: str) -> int:
    """The least width that a heading takes in two lines."""
    words = heading.split(" ")
    return min(
        max(cell_len(" ".join(words[:k])), cell_len(" ".join(words[k:])))
        for k in range(1, len(words) + 1)
    )


def counted(count: int, what: str, several: str = "") -> str:
    """`1 worker`, `2 workers`; `several` where that is not made by an s.

    >>> counted(1, "worker"), counted(2_000, "trial"), counted(2, "entry", "entries")
    ('1 worker', '2,000 trials', '2 entries')
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`.

    >>> listed(["lstm", "gru", "rnn"])
    'lstm, gru and rnn'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
