"""Putting a site into a folder, in the place of an earlier one."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from kbench.errors import KbenchError

MANIFEST = ".kbench-site"
"""Names the files of a site, one a line: how the next one knows what is its to replace."""
Pages = Mapping[PurePosixPath, str]


def write(found: Pages, out: Path) -> int:
    """Put a site into a folder, in the place of an earlier one; how many stale files went.

    Each file is replaced in one step. Files that no site wrote stay. Raises KbenchError for a
    folder with something in it that is no earlier site.
    """
    try:
        return _write(found, out)
    except OSError as error:
        where = error.filename or out
        raise KbenchError(f"{where} cannot be written: {error.strerror}") from None


def _write(found: Pages, out: Path) -> int:
    manifest = out / MANIFEST
    if out.exists() and not out.is_dir():
        raise KbenchError(f"{out} is no folder")
    if out.exists() and any(out.iterdir()) and not manifest.is_file():
        raise KbenchError(f"{out} is not empty and no earlier site; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    before = _listed(manifest) if manifest.exists() else set()
    # Named before they are written: a run that is cut short leaves a site, and nothing unnamed.
    _replace(manifest, _lines(before | set(found)))
    for path, text in found.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        _replace(out / path, text)
    stale = sorted(before - set(found))
    for path in stale:
        (out / path).unlink(missing_ok=True)
        for folder in path.parents[:-1]:
            if (out / folder).is_dir() and not any((out / folder).iterdir()):
                (out / folder).rmdir()
    _replace(manifest, _lines(set(found)))
    return len(stale)


def _listed(manifest: Path) -> set[PurePosixPath]:
    paths = {PurePosixPath(line) for line in manifest.read_text("utf-8").splitlines()}
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise KbenchError(f"{manifest} names files outside of its folder")
    return paths


def _lines(paths: set[PurePosixPath]) -> str:
    return "".join(f"{path}\n" for path in sorted(paths))


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, "utf-8", newline="\n")
    fresh.replace(path)
