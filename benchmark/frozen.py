"""The frozen dataclasses of a protocol from plain values, as YAML and JSON have them."""

from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, TypeVar

from kbench.errors import KbenchError, unknown

T = TypeVar("T")


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """The value, if it is one; raises KbenchError."""
    if not isinstance(value, dict):
        raise KbenchError(f"protocol {where}: expected a mapping of fields, got {value!r}")
    return value


def is_a(value: Any, kind: Any) -> bool:
    """Is this scalar of that kind? A float is finite and may be whole, and true is no number."""
    if kind is float:
        return not isinstance(value, bool) and isinstance(value, int | float) and isfinite(value)
    return isinstance(value, bool) == (kind is bool) and isinstance(value, kind)


def build(cls: type[T], content: Any, where: str) -> T:
    """A frozen dataclass from YAML: every field there, none unknown, numbers where numbers go."""
    values = mapping(content, where)
    known: dict[str, Any] = {of.name: of for of in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"field in protocol {where}:", str(key), known)
    # `eps: 1` and `eps: 1.0` are one protocol, and must give one trial key.
    values = {
        key: float(value) if known[key].type is float and is_a(value, float) else value
        for key, value in values.items()
    }
    try:
        built = cls(**values)
    except TypeError as error:
        missing = str(error).partition("missing ")[2]
        raise KbenchError(f"protocol {where}: missing {missing}") from None
    for name, of in known.items():
        if of.type in (int, float, str, bool) and not is_a(getattr(built, name), of.type):
            raise KbenchError(
                f"protocol {where}: {name} must be of type {of.type.__name__}, "
                f"got {getattr(built, name)!r}"
            )
    return built
