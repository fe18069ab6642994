"""Where the command line writes to."""

import contextlib
import json
import os
import sys
from typing import Any, TextIO

from rich.console import Console

from kbench.cli.streams import drop


def _console(**options: Any) -> Console:
    """A console that never folds a table because its output goes to a file or a pipe."""
    # Names and messages of users come out as they are: no [markup], no :emoji:.
    options = {"markup": False, "emoji": False, **options}
    console = Console(**options)
    return console if console.is_terminal else Console(width=140, **options)


out = _console()
err = _console(stderr=True)


def say(line: str) -> None:
    """One line for people, on stderr; nothing where that has gone, as with its terminal."""
    with contextlib.suppress(OSError):
        err.print(printable(f"kbench: {line}"), highlight=False, soft_wrap=True)


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
