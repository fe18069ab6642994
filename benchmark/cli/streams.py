"""Standard streams that take whatever kbench writes, in any encoding, open or closed."""

import contextlib
import os
import sys

import kbench.report.grid  # noqa: F401 - registers `kbench.readable`


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
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a test or a notebook put there may have none
            stream.reconfigure(errors="kbench.readable")


def drop(fd: int) -> None:
    """Send what is still to be written there nowhere, so that nothing fails once more at exit."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
