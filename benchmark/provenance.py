"""Where a result comes from: the commit, and the source of the model and of the task."""

import ast
import functools
import hashlib
import importlib.util
import io
import platform
import re
import subprocess
import tokenize
from pathlib import Path
from typing import Any

import kbench
from kbench.registry import Registry


def source_sha256(registry: Registry, name: str, version: int | str) -> str:
    """Digest of what a model or task does, without comments and docstrings.

    It covers its file and those of the models, tasks and operations that it builds on. The version
    of a class of your own is the digest of its source as it stands.
    """
    return version if isinstance(version, str) else _packaged(registry[name].cls.__module__)


@functools.cache
def _packaged(module: str) -> str:
    sources: dict[str, str] = {}
    to_read = [module]
    while to_read:
        module = to_read.pop(0)
        if module in sources:
            continue
        spec = importlib.util.find_spec(module)  # a kernel's module cannot be imported everywhere
        assert spec is not None and spec.origin is not None
        source = Path(spec.origin).read_text("utf-8")
        to_read += built_on(source)
        sources[module] = without_comments(source)
    return f"sha256:{hashlib.sha256(chr(10).join(sources.values()).encode()).hexdigest()}"


def built_on(source: str) -> list[str]:
    """Modules of packaged models, tasks and operations from which Python source imports."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    modules = [node.module for node in imports if node.module]
    return [module for module in modules if re.match(r"kbench\.(models|ops|tasks)\.", module)]


def without_comments(source: str) -> str:
    """Python source without comments, docstrings and blank lines."""
    lines = re.split(r"\r\n|\r|\n", source)  # as Python counts them
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if not node.end_lineno or lines[node.lineno - 1][: node.col_offset].strip():
            continue
        after = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno) + [after]
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


@functools.cache
def revision() -> dict[str, Any]:
    """The commit of kbench's own source, and whether that has been changed since.

    `revision` and `dirty` are None where kbench does not run from a git repository.
    """
    here = Path(kbench.__file__).parent
    # Installed into somebody's project, it lies in a repository that does not track it.
    if _git(here, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"revision": None, "dirty": None}
    changes = _git(here.parent, "status", "--porcelain", "--", "benchmark", "models", "tasks")
    return {"revision": _git(here, "rev-parse", "HEAD"), "dirty": bool(changes)}


@functools.cache
def processor() -> str | None:
    """The kind of CPU, `GenuineIntel 6 143`: vendor, family and model; None where it is not told.

    Two that share it, and all versions, train a model to the same last digit.
    """
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or None
    found = dict(re.findall(r"^(vendor_id|cpu family|model)\s*:\s*(\S+)", text, re.MULTILINE))
    return " ".join(found.values()) or platform.processor() or None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
    except OSError:  # there is no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
