"""Where the command line writes to."""

from typing import Any

from rich.console import Console


def _console(**options: Any) -> Console:
    """A console that never folds a table because its output goes to a file or a pipe."""
    console = Console(**options)
    return console if console.is_terminal else Console(width=140, **options)


out = _console()
err = _console(stderr=True)


def say(line: str) -> None:
    """One line for people, on stderr."""
    err.print(f"kbench: {line}", highlight=False, markup=False, soft_wrap=True)
