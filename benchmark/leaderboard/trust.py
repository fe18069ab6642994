"""Trust levels: which entries have been spot-checked here.

The level is not part of an entry, whose author could write anything, but of a file beside them that
maintainers keep: it names entries by the digest of their content, so that an edit loses it.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kbench.errors import KbenchError

LEDGER = "verified.json"
Ledger = Mapping[str, Mapping[str, str | int]]


def load(root: Path) -> Ledger:
    """What has been verified, by place below the leaderboards' folder; raises KbenchError."""
    path = root / LEDGER
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
        ledger = {str(place): dict(seen) for place, seen in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise KbenchError(f"{path} cannot be read: {error}") from None
    return ledger


def level(ledger: Ledger, place: PurePosixPath, content: bytes) -> str:
    """`verified`: some of its trials were run again here; else `submitted`."""
    return "verified" if verified(ledger, place, content) else "submitted"


def verified(ledger: Ledger, place: PurePosixPath, content: bytes) -> bool:
    """Were some of its trials run again here, with the same outcomes?"""
    return ledger.get(str(place), {}).get("sha256") == _sha256(content)


def record(root: Path, place: PurePosixPath, content: bytes, trials: int) -> None:
    """Add an entry of which that many trials were run again, with the same outcomes."""
    seen: dict[str, str | int] = {
        "sha256": _sha256(content),
        "trials_run_again": trials,
        "on": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    ledger = dict(sorted({**load(root), str(place): seen}.items()))
    path = root / LEDGER
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(ledger, indent=1) + "\n", "utf-8")
        fresh.replace(path)
    except OSError as error:
        raise KbenchError(f"{path} cannot be written: {error.strerror}") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
