"""A trial: one training run, fully specified, and what came of it."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from kbench.protocol import Training
from kbench.recipe import Recipe


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@functools.cache
def _plain(training: Training) -> dict[str, Any]:
    """As JSON has it; without what earlier protocols could not say, so that their keys stay."""
    plain = dataclasses.asdict(training)
    if training.futility and not training.futility.far_off:
        del plain["futility"]["far_off"]
    if not training.only_new_positions:
        del plain["only_new_positions"]
    return plain


def _without_folder(name: str) -> str:
    """`m.py:Model` for `zoo/m.py:Model`; a registered name as it is."""
    file, colon, of = name.rpartition(":")
    return f"{PurePath(file).name}{colon}{of}"


IN_FAMILY = ("seed", "n_samples", "learning_rate")
"""What tells the trials of a family apart, as a store keeps them."""


class Variant(NamedTuple):
    """One of the trials that a search may ask for."""

    seed: int
    n_samples: int
    recipe: Recipe

    def columns(self) -> dict[str, Any]:
        """As documents have it; the rest of a recipe stands in its protocol."""
        return {
            "seed": self.seed,
            "n_samples": self.n_samples,
            "learning_rate": self.recipe.learning_rate,
            "recipe": self.recipe.name,
        }


class Ending(NamedTuple):
    """What searches and reports want to know of a result."""

    outcome: str
    steps: int
    best_loss: float | None
    digest: str
    environment: str
    """As canonical JSON."""
    failure: str | None = None
    """Why it failed; None where it passed, or ran before this was recorded."""
    seen_prefixes: float | None = None

    @property
    def tells(self) -> bool:
        """Is its failure a sign that there were too few samples? Taken to be one if not known."""
        return self.failure in (None, "memorised")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """Everything that decides how a run ends. Equal trials are run once."""

    model: str
    model_version: int | str
    size: Mapping[str, Any]
    backend: str
    """Which implementation of the model's innermost operation; `torch` unless it has others."""
    task: str
    task_version: int | str
    task_params: Mapping[str, Any]
    supervision: str
    lengths: tuple[int, ...]
    distribution: str
    """Over the lengths: `fixed` for a single one, `uniform` or `short-to-long` for several."""
    n_samples: int
    recipe: Recipe
    seed: int
    protocol: str
    training: Training
    tested: tuple[int, ...] = ()
    """Lengths at which the accuracy of the trained model is measured."""
    hold_out_pairs: float | None = None
    """The share of pairs of updates that training never sees, if any (`kbench.data.pairs`)."""

    def spec(self) -> dict[str, Any]:
        """As plain JSON values.

        Of the recipe its numbers, not its name; of a file of one's own its name, not its folder,
        since its content is in the version. What plain Adam has no use for is left out, and that no
        pairs are held out, so that trials from before there were these keep their keys.
        """
        # By hand: a search asks for keys by the thousand, and `asdict` copies everything deep.
        spec = {of.name: getattr(self, of.name) for of in dataclasses.fields(self)} | {
            "model": _without_folder(self.model),
            "task": _without_folder(self.task),
            "size": dict(self.size),
            "task_params": dict(self.task_params),
            "lengths": list(self.lengths),
            "tested": list(self.tested),
        }
        del spec["recipe"]
        if self.hold_out_pairs is None:
            del spec["hold_out_pairs"]
        spec["learning_rate"] = self.recipe.learning_rate
        spec["training"] = _plain(self.training) | {"batch_size": self.recipe.batch_size}
        return spec | ({"recipe": beyond} if (beyond := self.recipe.beyond_adam()) else {})

    def key(self) -> str:
        """The content key of the trial store."""
        return digest(self.spec())

    @property
    def variant(self) -> "Variant":
        """What tells it from the others of its family."""
        return Variant(self.seed, self.n_samples, self.recipe)

    def family(self) -> dict[str, Any]:
        """What it shares with those that differ in IN_FAMILY alone, as plain JSON values."""
        return {name: value for name, value in self.spec().items() if name not in IN_FAMILY}

    def stacks_with(self, other: "Trial") -> bool:
        """May both train in one cohort?"""
        return self == dataclasses.replace(other, **self.variant._asdict())


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """How a run ended."""

    outcome: str
    """`passed`, `failed`, or `error` where the run itself broke down twice."""
    reason: str
    """Why it ended: `success`, `budget`, `futility`, `diverged`, or the error in one line."""
    steps: int
    best_loss: float | None
    """Smallest validation loss, in nats per supervised position; None before the first one."""
    best_step: int
    histogram: Mapping[str, int]
    """Training samples of each length."""
    data_sha256: Mapping[str, str]
    """Of the splits `train` and `validation`."""
    wall_s: float
    environment: Mapping[str, Any]
    """Versions, device and threads."""
    accuracy: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    """By length tested: the share of answers that are right, and what a constant answer gets."""
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Spent on `data`, `training`, `validation` and `other`; in a cohort, the trial's share."""
    failure: str | None = None
    """Why it failed (docs/protocols.md): `memorised`, it knew its training set by
    heart, to a loss below eps, and there were too few samples; `unfit`, it did not fit even those,
    so that samples were not what it lacked; `diverged`. None where it passed or broke down, and in
    runs from before this was recorded."""
    training_loss: float | None = None
    """Of a failing run: the smallest mean over the batches between two validations, in nats."""
    seen_prefixes: float | None = None
    """The share of the validation set's supervised positions that stand, with all before them, in
    the training set (`kbench.data.leaks`); None in runs from before this was recorded."""
    curve: Sequence[Sequence[float]] = ()
    """Step and validation loss of the validations that the run passed through, thinned out."""

    def ending(self, key: str) -> Ending:
        """Of the trial with this key."""
        return Ending(
            self.outcome,
            self.steps,
            self.best_loss,
            self.digest(key),
            canonical_json(self.environment),
            self.failure,
            self.seen_prefixes,
        )

    def digest(self, key: str) -> str:
        """sha256 of all that must be equal when the trial with this key is run again."""
        content = dataclasses.asdict(self)
        del content["wall_s"], content["seconds"], content["environment"], content["curve"]
        # Older runs do not hold these.
        del content["failure"], content["training_loss"], content["seen_prefixes"]
        return digest({"key": key} | content)
