"""From what a person writes to a task: its parameters, lengths, and lengths beyond."""

import contextlib
import inspect
import re
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


def preset_of(task: "Entry", protocol: "Protocol") -> dict[str, Any]:
    """A task's parameters and `lengths`: those of the protocol, or of the task's preset for it."""
    return dict(protocol.tasks.get(task.name) or task.preset(protocol.presets))


def task_preset(
    task: "Entry", protocol: "Protocol", wanted: tuple[int, ...] | None = None
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """A task's parameters, and its lengths: those asked for, or the preset's first to last."""
    preset = preset_of(task, protocol)
    lengths = preset.pop("lengths", None)
    if wanted:
        return preset, wanted
    match lengths:
        case (int(first), int(last)) if 1 <= first < last:
            return preset, tuple(range(first, last + 1))
    raise KbenchError(
        f"task {task.name}: `lengths` in its preset must be a first and a larger last length, "
        f"as in (2, 6), got {lengths!r}; or name lengths on the command line"
    )


class MadeTask(NamedTuple):
    """A task as its preset and settings make it."""

    task: "Task"
    parameters: dict[str, Any]
    lengths: tuple[int, ...]


def made_task(
    name: str, protocol_name: str, settings: Mapping[str, Any], length: int | None
) -> MadeTask:
    """A task, looked over at its longest length, or at the one asked for."""
    _at_most(LONGEST, length or 1, "--length")
    from kbench import protocol as protocols
    from kbench.data.contract import made
    from kbench.registry import tasks

    protocol, entry = protocols.load(protocol_name), tasks[name]
    preset, lengths = task_preset(entry, protocol, (length,) if length else None)
    params = but_defaults(entry, preset | settings_of(settings, [entry])[entry.name])
    return MadeTask(made(entry, params, lengths[-1:]), params, lengths)


def preset_lengths(task_name: str, protocol_name: str) -> tuple[int, ...]:
    """The lengths of a task's preset."""
    from kbench import protocol as protocols
    from kbench.registry import tasks

    return task_preset(tasks[task_name], protocols.load(protocol_name))[1]


def lengths_of(lengths: Any) -> tuple[int, ...]:
    """`2-7`, or (2, 7) from Python, as all lengths from first to last; `4,6,10` and `2-5,8` too."""
    match lengths:
        case str():
            found = [
                re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", p.strip()) for p in lengths.split(",")
            ]
            ends = [(int(part[1]), int(part[2] or part[1])) for part in found if part]
            if len(ends) == len(found):
                return _lengths_within(ends, lengths)
        case (int(first), int(last)):
            return _lengths_within([(first, last)], lengths)
        case (int(), int(), int(), *more) if all(isinstance(n, int) for n in more):
            return _lengths_within([(n, n) for n in lengths], lengths)
    raise _no_lengths(lengths)


def _lengths_within(ends: Sequence[tuple[int, int]], given: Any) -> tuple[int, ...]:
    """All from the first to the last of each pair."""
    found: set[int] = set()
    for first, last in ends:
        if not 1 <= first <= last:
            raise _no_lengths(given)
        found.update(range(first, _at_most(LONGEST, last, "--lengths") + 1))
    if len(found) < 2:
        raise _no_lengths(given)
    return tuple(sorted(found))


def _no_lengths(given: Any) -> KbenchError:
    return KbenchError(
        "--lengths wants a first and a larger last length, as in 2-7, or several, as in 4,6,10, "
        f"got {given!r}"
    )


def lengths_text(lengths: Sequence[int], dash: str = "-", comma: str = ",") -> str:
    """As `--lengths` takes them: `2-7`, or `4,6,10` and `2-5,8` where some are left out."""
    runs: list[list[int]] = []
    for n in lengths:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return comma.join(dash.join(map(str, dict.fromkeys((run[0], run[-1])))) for run in runs)


def beyond(wanted: Any, longest: int) -> tuple[int, ...]:
    """`2x,4x,500`, or ["2x", 500] from Python, as lengths above `longest`, that of training."""
    lengths = set()
    parts = wanted.split(",") if isinstance(wanted, str) else wanted
    for part in [parts] if isinstance(parts, int) else parts:
        text = str(part).strip()
        digits = text.removesuffix("x")
        if isinstance(part, bool) or not digits.isdecimal():
            raise KbenchError(f"--extrapolate wants lengths, as in 2x,4x,500, got {part!r}")
        n = int(digits) * (longest if text.endswith("x") else 1)
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


def settings_of(
    settings: Mapping[str, Any], entries: "Sequence[Entry]"
) -> dict[str, dict[str, Any]]:
    """The parameters set for each task; one that no task has is an error."""
    changes: dict[str, dict[str, Any]] = {entry.name: {} for entry in entries}
    parameters = {entry.name: entry.parameters() for entry in entries}
    for name, value in settings.items():
        having = [task for task in parameters if name in parameters[task]]
        if not having:
            known = {name for of in parameters.values() for name in of}
            raise unknown(f"parameter of {', '.join(parameters)}", name, known)
        for task in having:
            changes[task][name] = _value(task, parameters[task][name], value)
    return changes


def settings_from(texts: Sequence[str]) -> dict[str, str]:
    """`m=5` as {"m": "5"}."""
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise KbenchError(f"--set wants NAME=VALUE, as in m=5, got {text!r}")
        settings[name] = value
    return settings


def _value(task: str, parameter: inspect.Parameter, given: Any) -> Any:
    """What was given, a text as what the parameter is annotated with or as YAML would read it."""
    kinds = {kind.__name__: kind for kind in (str, int, float, bool)}
    kind = kinds.get(getattr(parameter.annotation, "__name__", parameter.annotation))
    value = given
    if isinstance(given, str):
        with contextlib.suppress(ValueError, yaml.YAMLError):
            value = kind(given) if kind in (int, float, str) else yaml.safe_load(given)
    elif kind is float and isinstance(given, int) and not isinstance(given, bool):
        value = float(given)
    wrong = kind and not isinstance(value, kind)
    if wrong or (isinstance(value, bool) and kind is not bool) or not is_data(value):
        wanted = f"of type {kind.__name__}" if kind else "a number, a text or a list of these"
        raise KbenchError(f"{task}: {parameter.name} must be {wanted}, got {given!r}")
    return value
