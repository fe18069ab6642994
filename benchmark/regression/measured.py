"""What was measured of a cell, read from the JSON of a result: one side of `kbench compare`."""

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from kbench.errors import KbenchError
from kbench.statistics.brackets import Bracket

T = TypeVar("T")

PLENTY = 1 << 62
"""No number of samples, steps or seeds is larger."""


class Which(NamedTuple):
    """Which trial of a cell it is."""

    lengths: tuple[int, ...]
    seed: int
    n_samples: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A trial, as far as it is compared."""

    key: str
    digest: str
    """Of all that is equal when the same code runs it again; not of the key."""
    data_sha256: Mapping[str, str]
    outcome: str
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One side's results of a cell."""

    name: str
    identity: tuple[str, ...]
    """What must be equal for results to be compared at all."""
    versions: Mapping[str, int | str]
    """Of `model` and `task`: a number, or the digest of a class that is not packaged."""
    size: str
    n_star: Mapping[str, Mapping[int, Bracket]]
    """By length, or `joint`, and seed."""
    trials: Mapping[Which, Trained]
    """Empty where the source holds none."""
    digest: str
    """Over all trials, their keys included."""
    environment: Mapping[str, Any]
    problems: tuple[str, ...]
    """Why this is no complete result."""
    command: str
    """What measures it again; `--seeds K` is to be added."""

    @property
    def seeds(self) -> list[int]:
        """In increasing order."""
        return sorted(self.n_star["joint"])


def read(result: Mapping[str, Any], command: str | None = None) -> Measured:
    """A cell from its part of a JSON document; raises KbenchError where it is none."""
    try:
        return _read(result, command)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise KbenchError(f"not a result of kbench: {type(error).__name__}: {error}") from None


def _read(result: Mapping[str, Any], command: str | None) -> Measured:
    identity = {
        name: result[name]
        for name in ("model", "backend", "task", "task_params", "supervision", "protocol",
                     "lengths", "distribution")
    }  # fmt: skip
    for name in ("model", "backend", "task", "supervision", "protocol"):
        _as(str, result[name])
    first, *_, last = (_as(int, n) for n in result["lengths"])
    params = " ".join(f"{name}={value}" for name, value in result["task_params"].items())
    task = f"{result['task']} {params}".rstrip()
    over = result["distribution"] and _as(str, result["distribution"])
    words = [result["model"], task, result["supervision"], over, f"lengths {first} to {last}"]
    n_star = {
        length: {_as(int, row["seed"]): _bracket(row) for row in found["per_seed"]}
        for length, found in result["n_star"].items()
    }
    alone = set() if over else {*map(str, result["lengths"])}
    if n_star.keys() != {"joint"} | alone:
        raise ValueError(f"N* of {', '.join(n_star)}")
    if not n_star["joint"] or any(of.keys() != n_star["joint"].keys() for of in n_star.values()):
        raise ValueError("N* of other seeds at other lengths, or of none")
    problems = [f"trial left out, {line}" for line in _as(list, result["errors"])]
    problems += [] if _as(bool, result["complete"]) else ["not complete"]
    problems += [f"fails the check `{c}`" for c in _as(list, result.get("checks_failed", []))]
    versions = {"model": result["model_version"], "task": result.get("task_version", "")}
    return Measured(
        name=", ".join(filter(None, words)),
        identity=tuple(f"{key} {_text(value)}" for key, value in identity.items()),
        versions={k: v if isinstance(v, str) else _as(int, v) for k, v in versions.items()},
        size=_text(result["size"]),
        n_star=n_star,
        trials=dict(map(_trial, _as(list, result["trials"].get("each", [])))),
        digest=_as(str, result["trials"]["digest"]),
        environment=_as(dict, result["environment"]),
        problems=tuple(problems),
        command=_as(str, command) if command else _command(result),
    )


def _as(kind: type[T], value: Any) -> T:
    """The value, if it is of this very type; true and false are no integers."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    if isinstance(value, int) and abs(value) > PLENTY:
        raise ValueError("a number beyond all samples and seeds")
    return value


def _trial(row: Mapping[str, Any]) -> tuple[Which, Trained]:
    lengths = tuple(_as(int, n) for n in row["lengths"])
    which = Which(lengths, _as(int, row["seed"]), _as(int, row["n_samples"]), row["learning_rate"])
    if _as(int, row["steps"]) < 1:
        raise ValueError(f"a trial of {row['steps']} steps")
    return which, Trained(
        key=_as(str, row["key"]),
        digest=_as(str, row["digest"]),
        data_sha256=_as(dict, row["data_sha256"]),
        outcome=_as(str, row["outcome"]),
        steps=row["steps"],
    )


def _bracket(row: Mapping[str, Any]) -> Bracket:
    low, high = row["low"], row["high"]
    if (low is not None and _as(int, low) < 0) or (
        high is not None and _as(int, high) <= (low or 0)
    ):
        raise ValueError(f"a bracket from {low} to {high}")
    return Bracket(low=low, high=high, censored=row["censored"])


def _text(value: Any) -> str:
    """One text for one value, in whatever order a mapping came."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _command(result: Mapping[str, Any]) -> str:
    """The options of `kbench run` that ask for this cell."""
    lengths = result["lengths"]
    options = {
        "--model": result["model"],
        "--task": result["task"],
        "--supervision": result["supervision"],
        "--protocol": result["protocol"].rpartition("-")[0],
        "--lengths": f"{lengths[0]}-{lengths[-1]}",
    }
    if result["distribution"]:
        options["--distribution"] = result["distribution"]
    if result["backend"] != "torch":
        options["--backend"] = result["backend"]
    settings = [x for k, v in result["task_params"].items() for x in ("--set", f"{k}={v}")]
    return shlex.join(["kbench", "run", *itertools.chain(*options.items()), *settings])
