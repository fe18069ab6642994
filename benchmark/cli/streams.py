"""Standard streams that take whatever kbench writes, in any encoding, open or closed."""

import codecs
import contextlib
import os
import sys

PLAIN = {
    "κ": "kappa", "ε": "epsilon", "Σ": "sum", "√": "sqrt", "σ": "sigma", "₂": "2", "∞": "inf",
    "≤": "<=", "≥": ">=", "∝": "~", "→": "->", "←": "<-", "×": "x", "·": "*", "…": "...",
    "–": "-", "—": "-", "−": "-", "‡": "(!)", "†": "(+)", "°": "(?)", "¶": "(p)",
    "“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ",
}  # fmt: skip
"""In ASCII, for a stream whose encoding has no such character."""


def readable(error: UnicodeError) -> tuple[str, int]:
    """A handler of characters that a stream cannot encode: in plain letters, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in text), error.end


def prepare() -> None:
    """Make stdin, stdout and stderr fit to be used.

    One that is closed is opened on the null device: the next file to be opened, a store perhaps,
    would take its place and be written to by whatever prints.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    codecs.register_error("kbench.readable", readable)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a test or a notebook put there may have none
            stream.reconfigure(errors="kbench.readable")


def drop(fd: int) -> None:
    """Send what is still to be written there nowhere, so that nothing fails once more at exit."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
