"""Names for models and tasks: one decorated class in one new file is all it takes."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kbench.errors import KbenchError, unknown

T = TypeVar("T", bound=type)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry(Generic[T]):
    """A registered class and what belongs to its name."""

    name: str
    cls: T
    version: int
    """Raised whenever the meaning of a result under this name changes; part of every trial key."""
    presets: Mapping[str, Mapping[str, Any]]
    """Keyword arguments of the class by protocol family (`quick`, `cpu`, `paper`)."""

    def preset(self, family: str) -> Mapping[str, Any]:
        """The arguments for a protocol family; raises KbenchError where there are none."""
        if family not in self.presets:
            raise unknown(f"preset of {self.name}", family, self.presets)
        return self.presets[family]


class Registry:
    """Classes by name, found in every module of one package the first time a name is asked for."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry] = {}
        self._discovered = False

    def register(
        self, name: str, *, version: int, presets: Mapping[str, Mapping[str, Any]]
    ) -> Callable[[T], T]:
        """Decorator that files a class under `name`; a name taken twice raises KbenchError."""

        def add(cls: T) -> T:
            if name in self._entries:
                taken = self._entries[name].cls
                raise KbenchError(
                    f"{self.kind} {name!r} is registered twice: "
                    f"by {taken.__module__}.{taken.__qualname__} and "
                    f"{cls.__module__}.{cls.__qualname__}"
                )
            self._entries[name] = Entry(name=name, cls=cls, version=version, presets=presets)
            return cls

        return add

    def __getitem__(self, name: str) -> Entry:
        if name not in self.names():
            raise unknown(self.kind, name, self.names())
        return self._entries[name]

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        if not self._discovered:
            for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._discovered = True
        return sorted(self._entries)


models = Registry("model", "kbench.models")
tasks = Registry("task", "kbench.tasks")
