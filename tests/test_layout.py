"""How the modules may depend on each other, and what holds for all of the source."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    {"__init__"},
    {"errors"},
    {"guard", "registry", "recipe", "frozen", "protocol", "protocols"},
    {"trial", "provenance"},
    {"tasks"},
    {"statistics"},
    {"data"},
    {"ops"},
    {"models"},
    {"training"},
    {"study"},
    {"report"},
    {"regression"},
    {"reproduce"},
    {"leaderboard"},
    {"api"},
    {"cli"},
]
"""A room imports from itself and from rooms above it, never from one below."""
FLOOR = {name: i for i, names in enumerate(ROOMS) for name in names}
LAZY = {"benchmark/__init__.py"}
"""The Python API's names lead to `kbench.api`, which is imported when one of them is used."""
SOURCES = [p for folder in ("benchmark", "models", "tasks") for p in (ROOT / folder).rglob("*.py")]
PURE = {"math", "collections", "dataclasses", "functools", "types", "typing", "numpy", "scipy"}


def room(path):
    """Which of ROOMS a source file belongs to."""
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


def module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(("kbench", *(parts if parts[0] in ("models", "tasks") else parts[1:])))
    return name.removesuffix(".__init__")


def at_import(path):
    """Modules that are imported as soon as this one is: neither in functions nor for types only."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_imports_from_one_below(path):
    if str(path.relative_to(ROOT)) in LAZY:
        return
    for name in imports(path):
        if name.startswith("kbench."):
            below = FLOOR[name.split(".")[1]] > FLOOR[room(path)]
            assert not below, f"{path.relative_to(ROOT)} imports {name}"


def test_no_modules_import_each_other_in_a_circle():
    names = {module(path): path for path in SOURCES}
    graph = {
        name: {target for n in at_import(path) for target in (n, n.rpartition(".")[0])}
        & (names.keys() - {name})
        for name, path in names.items()
        if path.name
        != "__init__.py"  # what a room re-exports is imported by its own modules' users
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", [*(ROOT / "benchmark" / "statistics").glob("*.py")])
def test_statistics_are_pure(path):
    for name in imports(path):
        outside = name.split(".")[0]
        ours = (
            "kbench.statistics", "kbench.protocol", "kbench.recipe", "kbench.frozen",
            "kbench.errors",
        )  # fmt: skip
        assert outside in PURE or name.startswith(ours), name


@pytest.mark.parametrize("folder", ["benchmark", "models", "tasks", "tests", "studies"])
def test_no_file_is_over_400_lines(folder):
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert not long


def test_no_room_has_more_than_12_modules_and_each_says_what_it_is():
    for init in (ROOT / "benchmark").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text("utf-8"))), init
        modules = [p for p in init.parent.glob("*.py") if p != init]
        assert len(modules) <= 12 or init.parent.name == "cli", init.parent


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
