"""How the modules may depend on each other, and what holds for all of the source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = [
    "errors", "registry", "provenance", "scan", "tasks", "supervision", "data", "contract",
    "protocol", "trial",
    "loss", "models", "modules", "stack", "conformance", "extrapolation", "cohort", "training",
    "search", "sharing", "scaling", "executors", "store", "study", "driver", "plan", "report",
    "tables", "leaderboard", "claims", "measured", "regression", "timing", "view", "plot", "cli",
]  # fmt: skip
SOURCES = [p for folder in ("benchmark", "models", "tasks") for p in (ROOT / folder).rglob("*.py")]
PURE = {"search": {"math", "collections", "dataclasses", "functools", "types", "typing"},
        "sharing": {"math", "collections", "dataclasses", "scipy"},
        "scaling": {"math", "collections"},
        "measured": {"itertools", "json", "shlex", "collections", "dataclasses", "typing"},
        "regression": {"enum", "itertools", "math", "collections", "dataclasses", "typing",
                       "scipy"}}  # fmt: skip


def stage(path):
    """Which of ORDER a source file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] in ("models", "tasks") else parts[1]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "kbench":
                yield from (f"kbench.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_imports_one_to_its_right(path):
    if stage(path) in ("__init__", "protocols"):
        return
    own = ORDER.index(stage(path))
    for name in imports(path):
        if name.startswith("kbench."):
            assert ORDER.index(name.split(".")[1]) <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize("name", PURE)
def test_what_decides_a_result_is_pure(name):
    found = set(imports(ROOT / "benchmark" / f"{name}.py"))
    outside = {n.split(".")[0] for n in found if not n.startswith("kbench.")}
    assert outside <= PURE[name]
    assert {n for n in found if n.startswith("kbench.")} <= {
        "kbench.errors",
        "kbench.search",
        "kbench.protocol",
        "kbench.sharing",
        "kbench.measured",
    }


@pytest.mark.parametrize("folder", ["models", "tasks"])
def test_one_short_file_per_model_and_task(folder):
    for path in (ROOT / folder).glob("*.py"):
        assert len(path.read_text().splitlines()) <= 160, path.name


def test_no_shared_code_asks_for_a_model_or_a_task_by_name():
    for path in (ROOT / "benchmark").rglob("*.py"):
        assert not re.search(r"\b(model|task)(\.name)? (==|in) [\"'(\[{]", path.read_text()), path


def test_every_package_is_listed_for_the_wheel():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = {p.parent.relative_to(ROOT) for p in (ROOT / "benchmark").rglob("__init__.py")}
    names = {".".join(("kbench", *path.parts[1:])) for path in inits}
    assert set(listed) == names | {"kbench.models", "kbench.tasks", "kbench.leaderboards"}
