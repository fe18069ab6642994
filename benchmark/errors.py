"""What a user can get wrong, said in one line."""

import difflib
import textwrap
from collections.abc import Iterable


class KbenchError(Exception):
    """Bad input: the message is one line, the command line prints it and exits with code 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> KbenchError:
    """The error for a name that does not exist, with the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return KbenchError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def one_line(error: BaseException) -> str:
    """Kind and first line of an error that somebody else raised, a user's model for instance."""
    try:
        text = str(error)
    except Exception:  # nor can that be trusted
        text = "its message cannot be told"
    first = (text.strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {textwrap.shorten(first, 200)}"
