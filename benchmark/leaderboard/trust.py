"""Trust: which entries were measured, or run again in part, by those who keep the leaderboards.

It is not part of an entry, whose author could write anything, but of a file beside them that the
maintainers keep: it names entries by the digest of their content, so that an edit loses it. A pull
request that changes that file is refused by the workflow (docs/workflows/submit-model.yml).
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, ValidationError

from kbench.errors import KbenchError
from kbench.report.document import Part, first_problem

LEDGER = "verified.json"
LEVELS = ("measured", "verified", "submitted")
"""By the maintainers; by somebody else, and some of it run again by them; by somebody else."""

Share = Annotated[float, Field(ge=0, le=1)]


class Seen(Part):
    """What the maintainers have done with one entry."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    on: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    measured: bool = False
    """By themselves?"""
    trials_run_again: Annotated[int, Field(ge=1)] | None = None
    of: Annotated[int, Field(ge=1)] | None = None
    """Trials of the entry; not known of checks from before this was noted."""
    chance: Share | None = None
    """That one made-up bracket would have been found, mean over the entry's searches."""

    @property
    def level(self) -> str:
        """One of LEVELS."""
        if self.measured:
            return "measured"
        return "verified" if self.trials_run_again else "submitted"

    def __str__(self) -> str:
        """`12 of 56 trials run again: one made-up bracket found at 62 %`."""
        if not self.trials_run_again:
            return ""
        of = f" of {self.of}" if self.of else ""
        text = f"{self.trials_run_again}{of} trials run again"
        chance = "" if self.chance is None else f": one made-up bracket found at {self.chance:.0%}"
        return text + chance


Ledger = Mapping[str, Seen]


def load(root: Path) -> Ledger:
    """What is known, by place below the leaderboards' folder; raises KbenchError."""
    path = root / LEDGER
    if not path.exists():
        return {}
    place = ""
    try:
        content = json.loads(path.read_text("utf-8"))
        ledger = {}
        for place, seen in content.items():
            ledger[place] = Seen.model_validate(seen)
    except ValidationError as error:
        raise KbenchError(f"{path}: {place}: {first_problem(error)}") from None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise KbenchError(f"{path} cannot be read: {error}") from None
    return ledger


def seen(ledger: Ledger, place: PurePosixPath, content: bytes) -> Seen | None:
    """What the maintainers have done with an entry as it stands; None where nothing."""
    found = ledger.get(str(place))
    return found if found and found.sha256 == _sha256(content) else None


def record(
    root: Path,
    place: PurePosixPath,
    content: bytes,
    *,
    measured: bool = False,
    trials_run_again: int | None = None,
    of: int | None = None,
    chance: float | None = None,
) -> None:
    """Add what was done with an entry to what is known of it.

    Of two checks that with more trials is kept.
    """
    ledger = load(root)
    now = Seen(
        sha256=_sha256(content), on=time.strftime("%Y-%m-%d", time.gmtime()), measured=measured,
        trials_run_again=trials_run_again, of=of,
        chance=None if chance is None else round(chance, 3),
    )  # fmt: skip
    if before := seen(ledger, place, content):
        more, less = now, before
        if (before.trials_run_again or 0) > (now.trials_run_again or 0):
            more, less = before, now
        now = more.model_copy(update={"measured": more.measured or less.measured})
    found = {name: of.model_dump(exclude_defaults=True) for name, of in ledger.items()}
    found[str(place)] = now.model_dump(exclude_defaults=True)
    path = root / LEDGER
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", "utf-8")
        fresh.replace(path)
    except OSError as error:
        raise KbenchError(f"{path} cannot be written: {error.strerror}") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
