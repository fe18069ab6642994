"""What was measured of a cell, read from its result: one side of `kbench compare`."""

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kbench.errors import KbenchError
from kbench.protocol import word_for
from kbench.recipe import plain
from kbench.report.document import Result, TrialRow
from kbench.report.format import task_name
from kbench.statistics.brackets import Bracket
from kbench.study.parameters import lengths_text
from kbench.study.request import backend_options


class Which(NamedTuple):
    """Which trial of a cell it is."""

    lengths: tuple[int, ...]
    seed: int
    n_samples: int
    recipe: str


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


def read(result: Result, command: str | None = None) -> Measured:
    """A cell from its result; raises KbenchError where that is none of one cell."""
    identity = {
        name: getattr(result, name)
        for name in ("model", "backend", "task", "task_params", "supervision", "protocol",
                     "lengths", "distribution", "hold_out_pairs")
    }  # fmt: skip
    over, span = result.distribution, lengths_text(result.lengths, dash=" to ", comma=", ")
    words = [result.model, task_name(result), result.supervision, over, f"lengths {span}"]
    n_star = {
        length: {row.seed: row.bracket() for row in found.per_seed}
        for length, found in result.n_star.items()
    }
    alone = set() if over else {*map(str, result.lengths)}
    if n_star.keys() != {"joint"} | alone:
        raise KbenchError(f"not a result of kbench: N* of {', '.join(n_star)}")
    if not n_star["joint"] or any(of.keys() != n_star["joint"].keys() for of in n_star.values()):
        raise KbenchError("not a result of kbench: N* of other seeds at other lengths, or of none")
    problems = [f"trial left out, {line}" for line in result.errors]
    problems += [] if result.complete else ["not complete"]
    problems += [f"fails the check `{check}`" for check in result.checks_failed]
    return Measured(
        name=", ".join(filter(None, words)),
        identity=tuple(f"{key} {_text(value)}" for key, value in identity.items()),
        versions={"model": result.model_version, "task": result.task_version},
        size=_text(result.size),
        n_star=n_star,
        # What was trained again only to be tested is no run of a search.
        trials=dict(_trial(row) for row in result.trials if not row.tested),
        digest=result.trials_behind.digest,
        environment=result.environment,
        problems=tuple(problems),
        command=command or _command(result),
    )


def _trial(row: TrialRow) -> tuple[Which, Trained]:
    recipe = row.recipe or plain(row.learning_rate, 1).name
    which = Which(tuple(row.lengths), row.seed, row.n_samples, recipe)
    return which, Trained(
        key=row.key,
        digest=row.digest,
        data_sha256=row.data_sha256,
        outcome=row.outcome,
        steps=row.steps,
    )


def _text(value: Any) -> str:
    """One text for one value, in whatever order a mapping came."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _command(result: Result) -> str:
    """The options of `kbench run` that ask for this cell."""
    options = {
        "--model": result.model,
        "--task": result.task,
        "--supervision": result.supervision,
        "--protocol": word_for(result.protocol),
        "--lengths": lengths_text(result.lengths),
    }
    if result.distribution:
        options["--distribution"] = result.distribution
    if result.hold_out_pairs is not None:
        options["--hold-out-pairs"] = f"{result.hold_out_pairs:g}"
    settings = [x for k, v in result.task_params.items() for x in ("--set", f"{k}={v}")]
    backend = backend_options(result.model, result.backend)
    return shlex.join(["kbench", "run", *itertools.chain(*options.items()), *settings, *backend])
