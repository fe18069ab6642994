"""From options to tasks: parameters, lengths, and lengths beyond."""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from kbench.errors import KbenchError, unknown
from kbench.registry import is_data

if TYPE_CHECKING:
    from kbench.protocol import Protocol
    from kbench.registry import Entry
    from kbench.tasks import Task

LONGEST = 10_000
"""A length beyond it is a slip, and would only show as memory that runs out."""


def task_preset(
    task: "Entry", protocol: "Protocol", span: range | None = None
) -> tuple[dict[str, Any], range]:
    """A task's parameters, and its lengths: those asked for, or the preset's first to last."""
    preset = dict(task.preset(protocol.presets))
    lengths = preset.pop("lengths", None)
    if span:
        return preset, span
    match lengths:
        case (int(first), int(last)) if 1 <= first < last:
            return preset, range(first, last + 1)
    raise KbenchError(
        f"task {task.name}: `lengths` in its preset must be a first and a larger last length, "
        f"as in (2, 6), got {lengths!r}; --lengths would do as well"
    )


class MadeTask(NamedTuple):
    """A task as its preset and settings make it."""

    task: "Task"
    parameters: str
    lengths: range


def made_task(
    name: str, protocol_name: str, settings: Sequence[str], length: int | None
) -> MadeTask:
    """A task, looked over at its longest length, or at the one asked for."""
    _at_most(LONGEST, length or 1, "--length")
    from kbench import protocol as protocols
    from kbench.data.contract import made
    from kbench.registry import tasks
    from kbench.report.format import parameters_text

    protocol, entry = protocols.load(protocol_name), tasks[name]
    preset, lengths = task_preset(entry, protocol, range(length, length + 1) if length else None)
    params = but_defaults(entry, preset | settings_of(settings, [entry])[entry.name])
    return MadeTask(made(entry, params, lengths[-1:]), parameters_text(params), lengths)


def preset_lengths(task_name: str, protocol_name: str) -> range:
    """The lengths of a task's preset."""
    from kbench import protocol as protocols
    from kbench.registry import tasks

    return task_preset(tasks[task_name], protocols.load(protocol_name))[1]


def lengths_of(text: str) -> range:
    """`2-7` as lengths."""
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and 1 <= int(first) < int(last)):
        raise KbenchError(
            f"--lengths wants a first and a larger last length, as in 2-7, got {text!r}"
        )
    return range(int(first), _at_most(LONGEST, int(last), "--lengths") + 1)


def beyond(text: str, longest: int) -> tuple[int, ...]:
    """`2x,4x,500` as lengths, the longest in training being `longest`."""
    lengths = set()
    for part in text.split(","):
        digits = part.strip().removesuffix("x")
        if not digits.isdecimal():
            raise KbenchError(f"--extrapolate wants lengths, as in 2x,4x,500, got {part!r}")
        n = int(digits) * (longest if part.strip().endswith("x") else 1)
        if n <= longest:
            raise KbenchError(f"--extrapolate: {part} is not beyond the longest length, {longest}")
        lengths.add(_at_most(LONGEST, n, "--extrapolate"))
    return tuple(sorted(lengths))


def _at_most(most: int, n: int, option: str) -> int:
    if n > most:
        raise KbenchError(f"{option}: lengths go up to {most:,}, got {n:,}")
    return n


def but_defaults(entry: "Entry", params: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the constructor would fill in itself, so that one task has one name and key."""
    defaults = {p.name: p.default for p in entry.parameters().values()}
    return {k: v for k, v in params.items() if k not in defaults or v != defaults[k]}


def settings_of(settings: Sequence[str], entries: "Sequence[Entry]") -> dict[str, dict[str, Any]]:
    """The parameters set for each task; one that no task has is an error."""
    changes: dict[str, dict[str, Any]] = {entry.name: {} for entry in entries}
    parameters = {entry.name: entry.parameters() for entry in entries}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise KbenchError(f"--set wants NAME=VALUE, as in m=5, got {setting!r}")
        having = [task for task in parameters if name in parameters[task]]
        if not having:
            known = {name for of in parameters.values() for name in of}
            raise unknown(f"parameter of {', '.join(parameters)}", name, known)
        for task in having:
            changes[task][name] = _value(task, parameters[task][name], text)
    return changes


def _value(task: str, parameter: inspect.Parameter, text: str) -> Any:
    """The text as what the parameter is annotated with, or else as YAML would read it."""
    kinds = {kind.__name__: kind for kind in (str, int, float, bool)}
    kind = kinds.get(getattr(parameter.annotation, "__name__", parameter.annotation))
    value: Any = text
    with contextlib.suppress(ValueError, yaml.YAMLError):
        value = kind(text) if kind in (int, float, str) else yaml.safe_load(text)
    if (kind and not isinstance(value, kind)) or not is_data(value):
        wanted = f"of type {kind.__name__}" if kind else "a number, a text or a list of these"
        raise KbenchError(f"{task}: {parameter.name} must be {wanted}, got {text!r}")
    return value
