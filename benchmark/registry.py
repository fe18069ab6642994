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
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from kbench.errors import KbenchError, unknown

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
    """Keyword arguments of the class by protocol family (`quick`, `cpu`, `paper`); None where the
    defaults of its constructor are all there is."""

    def preset(self, family: str) -> Mapping[str, Any]:
        """The arguments for a protocol family; raises KbenchError where there are none."""
        if self.presets is None:
            parameters = inspect.signature(self.cls).parameters.values()
            return {p.name: p.default for p in parameters if p.default is not p.empty}
        if family not in self.presets:
            raise unknown(f"preset of {self.name}", family, self.presets)
        return self.presets[family]


class Registry:
    """Classes by name, found in every module of one package the first time a name is asked for."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry] = {}
        self._own: dict[str, Entry] = {}
        self._loading: list[Entry] | None = None
        self._points: dict[str, importlib.metadata.EntryPoint] | None = None

    def register(
        self, name: str, *, version: int, presets: Mapping[str, Mapping[str, Any]]
    ) -> Callable[[T], T]:
        """Decorator that files a class under `name`; a name taken twice raises KbenchError."""

        def add(cls: T) -> T:
            entry = Entry(name=name, cls=cls, version=version, presets=presets)
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
        if name not in self._entries:
            self._entries[name] = self._from_entry_point(name)
        return self._entries[name]

    def names(self) -> list[str]:
        """Every name, of packaged classes and of entry points, sorted."""
        if self._points is None:
            for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            points = importlib.metadata.entry_points(group=self.package)
            for point in points:
                if point.name in self._entries or len(points.select(name=point.name)) > 1:
                    raise KbenchError(
                        f"{self.kind} {point.name!r} is registered twice: by entry point "
                        f"{point.value}, and elsewhere"
                    )
            self._points = {point.name: point for point in points}
        return sorted(self._entries | self._points)

    def _from_entry_point(self, name: str) -> Entry:
        assert self._points is not None
        point = self._points[name]
        cls, registered = self._load(f"{self.kind} {name} ({point.value})", point.load)
        source = inspect.getsourcefile(cls)
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "installed"
        digest = _digest(Path(source).read_bytes()) if source else ""
        return _own_entry(name, cls, f"{package} {digest}", registered)

    def _from_file(self, name: str) -> Entry:
        path, _, attribute = name.rpartition(":") if ".py:" in name else (name, "", "")
        what = f"{self.kind} file {path}"
        try:
            source = Path(path).read_bytes()
        except OSError as error:
            raise KbenchError(f"{what}: {error.strerror}") from None
        version = _digest(source)
        if name not in self._own or self._own[name].version != version:

            def load() -> ModuleType:
                module_name = f"kbench_own_{version.removeprefix('sha256:')}"
                spec = importlib.util.spec_from_file_location(module_name, path)
                assert spec and spec.loader
                module = importlib.util.module_from_spec(spec)
                sys.modules[module_name] = module
                exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - the user's own
                return module

            module, registered = self._load(what, load)
            classes = {
                key: value
                for key, value in vars(module).items()
                if isinstance(value, type) and value.__module__ == module.__name__
            }
            if not attribute:
                example = f"{path}:{next(iter(classes), 'Class')}"
                raise KbenchError(f"{what}: say which class of it, as in {example}")
            if attribute not in classes:
                raise unknown(f"class in {path}", attribute, classes)
            self._own[name] = _own_entry(name, classes[attribute], version, registered)
        return self._own[name]

    def _load(self, what: str, load: Callable[[], Any]) -> tuple[Any, list[Entry]]:
        """What `load` gives, and the entries that it registered, which are not kept by name."""
        self.names()  # packaged classes that it imports must have their names by then
        self._loading = []
        try:
            return load(), self._loading
        except Exception as error:  # whatever the user's source raises
            where = traceback.extract_tb(error.__traceback__)[-1]
            line = error.lineno if isinstance(error, SyntaxError) else where.lineno
            raise KbenchError(
                f"{what} cannot be loaded: {type(error).__name__}: {error} (line {line})"
            ) from None
        finally:
            self._loading = None


def _own_entry(name: str, cls: type, version: str, registered: list[Entry]) -> Entry:
    """Presets from the decorator, where the class has it, else from its attribute `presets`."""
    presets = {entry.cls: entry.presets for entry in registered}
    return Entry(
        name=name,
        cls=cls,
        version=version,
        presets=presets.get(cls, getattr(cls, "presets", None)),
    )


def _digest(source: bytes) -> str:
    return f"sha256:{hashlib.sha256(source).hexdigest()}"


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


models = Registry("model", "kbench.models")
tasks = Registry("task", "kbench.tasks")
