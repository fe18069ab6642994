"""What a site says of itself: which kbench wrote it, of which data, and where all of it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import kbench
from kbench.errors import KbenchError
from kbench.leaderboard.board import Row
from kbench.provenance import revision

LINK = re.compile(r"https?://[^\s\"'<>]+")
PLACE = re.compile(r"(?![a-z]+:|/)[^\s\"'<>]+")
"""A path from the site's first page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """Of the site as a whole."""

    version: str
    commit: str | None
    """Of the kbench that wrote it; None where it is no clone."""
    repository: str | None
    docs: str | None
    data: tuple[str, str]
    """The first and the last day on which an entry was handed in."""
    entries: int

    @property
    def short(self) -> str:
        """As in `4f1c2ab`."""
        return (self.commit or "")[:7]

    @property
    def year(self) -> str:
        """Of the data."""
        return self.data[1][:4]

    def file(self, path: str) -> str | None:
        """A file of the repository as it was; None where no repository is named."""
        if not self.repository:
            return None
        return f"{self.repository}/blob/{self.commit or 'HEAD'}/{path}"

    def at(self, commit: str) -> str | None:
        """A commit of the repository."""
        return f"{self.repository}/commit/{commit}" if self.repository else None


def about(rows: Sequence[Row], repository: str | None = None, docs: str | None = None) -> About:
    """From what the rows and this installation say.

    `docs` is an address, or a path from the site's first page; by default the repository's folder.
    Raises KbenchError for what is no address.
    """
    if repository is not None and not LINK.fullmatch(repository):
        raise KbenchError(
            f"--repository must be an address, as in https://github.com/you/kbench, "
            f"got {repository!r}"
        )
    if docs is not None and not (LINK.fullmatch(docs) or PLACE.fullmatch(docs)):
        raise KbenchError(
            f"--docs must be an address or a path from the first page, as in docs/index.html, "
            f"got {docs!r}"
        )
    repository = repository and repository.rstrip("/")
    commit = revision()["revision"]
    if docs is None and repository:
        docs = f"{repository}/blob/{commit or 'HEAD'}/docs/index.md"
    entries = [row for row in rows if not row.yours]
    days = sorted(row.entry.provenance.submitted_at for row in entries or rows)
    return About(
        version=kbench.__version__, commit=commit, repository=repository, docs=docs,
        data=(days[0], days[-1]), entries=len(entries),
    )  # fmt: skip
