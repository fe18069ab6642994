"""Names for models and tasks: one decorated class in one new file is all it takes.

Besides the packaged ones there are your own: a class in a file, named `path/to/file.py:Class`, and
the classes that installed packages offer as entry points. Their version is the digest of their
source, so that an edited model is never taken for the one it was.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from kbench.errors import KbenchError, one_line, unknown

T = TypeVar("T", bound=type)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry(Generic[T]):
    """A registered class and what belongs to its name."""

    name: str
    cls: T
    version: int | str
    """Part of every trial key. Raised by hand whenever the meaning of a result under this name
    changes; of a class that is not packaged with kbench, the digest of its source."""
    presets: Mapping[str, Mapping[str, Any]] | None
    """Keyword arguments of the class by protocol family (`quick`, `cpu`, `paper`); None where
    the numbers and names among its constructor's defaults are all there is."""

    earlier: Mapping[int, str] = field(default_factory=dict)
    """Earlier versions whose results still stand, with the digest of their source: they compute the
    same function, and differ from this one in the last digits at most."""

    @property
    def expressivity(self) -> str:
        """What is known of it and by whom: "Expressivity: …" in the class's docstring, or nothing.

        There, because a docstring is no part of what a class computes, nor of its digest.
        """
        doc = inspect.cleandoc(self.cls.__doc__ or "")
        found = re.search(r"^Expressivity: (.+?)(?:\n\n|\Z)", doc, re.MULTILINE | re.DOTALL)
        return " ".join(found[1].split()) if found else ""

    def preset(self, family: str) -> Mapping[str, Any]:
        """The arguments for a protocol family; raises KbenchError where there are none."""
        if self.presets is None:
            parameters = self.parameters().values()
            return {p.name: p.default for p in parameters if _is_plain(p.default)}
        if family in self.presets:
            return self.presets[family]
        raise unknown(f"preset of {self.name}", family, self.presets)

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Of the constructor; raises KbenchError where it does not say."""
        try:
            return inspect.signature(self.cls).parameters
        except ValueError as error:
            raise KbenchError(f"{self.name}: the parameters cannot be told: {error}") from None


class Registry:
    """Classes by name, found in every module of one package the first time a name is asked for."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry] = {}
        self._own: dict[str, Entry] = {}
        self._files: dict[str, tuple[ModuleType, list[Entry]]] = {}
        self._loading: list[Entry] | None = None
        self._points: importlib.metadata.EntryPoints | None = None

    def register(
        self,
        name: str,
        *,
        version: int,
        presets: Mapping[str, Mapping[str, Any]],
        earlier: Mapping[int, str] | None = None,
    ) -> Callable[[T], T]:
        """Decorator that files a class under `name`; a name taken twice raises KbenchError."""

        def add(cls: T) -> T:
            entry = Entry(
                name=name, cls=cls, version=version, presets=presets, earlier=earlier or {}
            )
            if self._loading is not None:
                self._loading.append(entry)
                return cls
            if name in self._entries:
                raise KbenchError(
                    f"{self.kind} {name!r} is registered twice: "
                    f"by {_place(self._entries[name].cls)} and {_place(cls)}"
                )
            self._entries[name] = entry
            return cls

        return add

    def __getitem__(self, name: str) -> Entry:
        if ".py:" in name or name.endswith(".py"):
            return self._from_file(name)
        if name not in self.names():
            raise unknown(self.kind, name, self.names())
        assert self._points is not None
        points = self._points.select(name=name)
        if len(points) + (name in self._entries) > 1:
            taken = [_place(self._entries[name].cls)] if name in self._entries else []
            places = ", ".join(taken + [f"entry point {point.value}" for point in points])
            raise KbenchError(f"{self.kind} {name!r} is registered twice: by {places}")
        if name not in self._entries and name not in self._own:
            self._own[name] = self._from_entry_point(name, *points)
        return self._entries[name] if name in self._entries else self._own[name]

    def names(self) -> list[str]:
        """Every name, of packaged classes and of entry points, sorted."""
        if self._points is None:
            for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._points = importlib.metadata.entry_points(group=self.package)
        return sorted(set(self._entries) | self._points.names)

    def _from_entry_point(self, name: str, point: importlib.metadata.EntryPoint) -> Entry:
        what = f"{self.kind} {name} ({point.value})"
        cls, registered = self._load(what, None, point.load)
        try:
            files = _sources(cls) if isinstance(cls, type) else []
        except (OSError, TypeError):
            files = []
        if not files:
            raise KbenchError(f"{what} is no class with a source file")
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "installed"
        return _own_entry(what, name, cls, f"{package} {_digest(files)}", registered)

    def _from_file(self, name: str) -> Entry:
        path, _, attribute = name.rpartition(":") if ".py:" in name else (name, "", "")
        path = _shortest(path)
        name = f"{path}:{attribute}"
        what = f"{self.kind} file {path}"
        try:
            source = Path(path).read_bytes()
        except OSError as error:
            raise KbenchError(f"{what}: {error.strerror}") from None
        version = _digest([source])
        if name not in self._own or self._own[name].version != version:

            def load() -> ModuleType:
                module_name = f"kbench_own_{version.removeprefix('sha256:')}"
                spec = importlib.util.spec_from_file_location(module_name, path)
                assert spec and spec.loader
                module = importlib.util.module_from_spec(spec)
                sys.modules[module_name] = module
                exec(compile(source, path, "exec"), module.__dict__)
                return module

            if version not in self._files:
                self._files[version] = self._load(what, path, load)
            module, registered = self._files[version]
            classes = {
                key: value
                for key, value in vars(module).items()
                if isinstance(value, type) and value.__module__ == module.__name__
            }
            if not attribute:
                example = f"{path}:{next(iter(classes), 'Class')}"
                raise KbenchError(f"{what}: say which class of it, as in {example}")
            if attribute not in classes:
                raise unknown(f"class defined in {path}", attribute, classes)
            self._own[name] = _own_entry(what, name, classes[attribute], version, registered)
        return self._own[name]

    def _load(
        self, what: str, path: str | None, load: Callable[[], Any]
    ) -> tuple[Any, list[Entry]]:
        """What `load` gives, and the entries that it registered, which are not kept by name."""
        from kbench.guard import guarded

        self.names()  # packaged classes that it imports must have their names by then
        self._loading = []
        try:
            with guarded():
                return load(), self._loading
        except SyntaxError as error:
            reason = f"SyntaxError: {error.msg} (line {error.lineno})"
            raise KbenchError(f"{what} cannot be loaded: {reason}") from None
        except (Exception, SystemExit) as error:  # whatever the user's source raises
            frames = traceback.extract_tb(error.__traceback__)
            lines = [f" (line {frame.lineno})" for frame in frames if frame.filename == path]
            reason = f"{one_line(error)}{lines[-1] if lines else ''}"
            raise KbenchError(f"{what} cannot be loaded: {reason}") from None
        finally:
            self._loading = None


def _shortest(path: str) -> str:
    """One spelling for one file: `./m.py`, `m.py` and the whole path are the same."""
    whole, here = Path(path).resolve(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def _own_entry(what: str, name: str, cls: type, version: str, registered: list[Entry]) -> Entry:
    """Presets from the decorator, where the class has it, else from its attribute `presets`."""
    by_decorator = {entry.cls: entry.presets for entry in registered}
    presets: Any = by_decorator.get(cls, getattr(cls, "presets", None))
    if presets is not None and not (
        isinstance(presets, Mapping)
        and all(isinstance(p, Mapping) for p in presets.values())
        and all(isinstance(family, str) for family in presets)
        and all(is_data(value) for p in presets.values() for value in p.values())
    ):
        raise KbenchError(f"{what}: presets must hold keyword arguments by protocol family")
    return Entry(name=name, cls=cls, version=version, presets=presets)


def _is_plain(value: Any) -> bool:
    """Can this be part of a trial's key?"""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return is_number or value is None or isinstance(value, str)


def is_data(value: Any) -> bool:
    """Plain, or made of what is plain: fit to be part of a trial's key."""
    if isinstance(value, list | tuple):
        return all(map(is_data, value))
    return _is_plain(value)


def _sources(cls: type) -> list[bytes]:
    """All source of the package that a class comes from: of all files, for it may use any."""
    top = sys.modules[cls.__module__.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path.read_bytes() for path in files or [Path(inspect.getfile(top))]]


def _digest(sources: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source)
    return f"sha256:{digest.hexdigest()}"


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


models = Registry("model", "kbench.models")
tasks = Registry("task", "kbench.tasks")
