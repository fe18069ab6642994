"""Where the command line writes to."""

import contextlib
import json
import os
import sys
from typing import Any, TextIO

from rich.console import Console, ConsoleDimensions

from kbench.cli.streams import drop
from kbench.report.grid import plain

WIDTH = 140
"""Of lines where no terminal is near, as in CI."""


class _Console(Console):
    """As wide as COLUMNS says or the terminal is, also where a pipe leads to that."""

    @property  # type: ignore[misc]  # rich can set it too, which nobody here does
    def size(self) -> ConsoleDimensions:
        height = 25 if self.is_dumb_terminal or not self.is_terminal else super().size.height
        return ConsoleDimensions(_width(), height)

    def print(self, *objects: Any, **options: Any) -> None:
        """Texts in plain letters where need be, before they are broken into lines."""
        shown = [plain(o, self.encoding) if isinstance(o, str) else o for o in objects]
        super().print(*shown, **options)


def _width() -> int:
    """COLUMNS, or the width of the terminal that one of the streams is, or WIDTH."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    for fd in (1, 2, 0):
        with contextlib.suppress(OSError):
            if width := os.get_terminal_size(fd).columns:
                return width
    return WIDTH


# Names and messages of users come out as they are: no [markup], no :emoji:.
out = _Console(markup=False, emoji=False)
err = _Console(markup=False, emoji=False, stderr=True)


def say(line: str, command: str = "") -> None:
    """One line for people, on stderr; nothing where that has gone, as with its terminal.

    On a terminal it is wrapped at words, and a command stands below, so that it can be copied.
    """
    with contextlib.suppress(OSError):
        if not err.is_terminal:
            err.print(printable(f"kbench: {line} {command}"), highlight=False, soft_wrap=True)
            return
        err.print(printable(f"kbench: {line}"), highlight=False)
        if command:
            err.print(f"  {printable(command)}", highlight=False, soft_wrap=True)


def printable(line: str) -> str:
    """One line without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(line.split()))


def claim_stdout() -> TextIO:
    """The stdout of this process, for one JSON document alone.

    Whatever else is printed from here on, by a user's model too, goes to stderr.
    """
    sys.stdout.flush()
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stdout


def print_json(document: dict[str, Any], to: TextIO) -> None:
    """The document, readable, with κ as κ."""
    try:
        print(json.dumps(document, indent=2, ensure_ascii=False), file=to, flush=True)
    except OSError:
        drop(to.fileno())
        raise
