"""Frozen, versioned measurement protocols: every number that can move a result, in a YAML file."""

import importlib.resources
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kbench.errors import KbenchError, unknown
from kbench.frozen import build, is_a, mapping
from kbench.recipe import Recipe, plain

CONFIDENCE = 0.96
"""Of the intervals over seeds that verdicts go by, where a protocol does not say otherwise.

With brackets, run noise and skewed seeds, intervals of 95 % claim sharing or interference at κ = 1
in more than 5 % of cells, those of 96 % hardly ever (docs/coverage.md).
"""
SEVERAL_LOOKS, MANY_LOOKS = 0.985, 0.99
"""With two or three looks at the seeds, and with more: all of them together err no oftener."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FarOff:
    """End a run sooner that knows its training set by heart and is far from eps.

    Its training loss stayed below `by_heart` times its validation loss for `patience` steps; that
    was never below `loss`, and falls too slowly ("Far off" in docs/protocols.md)."""

    patience: int
    loss: float
    by_heart: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Futility:
    """End a run that has learned its training set by heart and is too slow to reach eps.

    That is: over the last `patience` steps its training loss stayed below half its validation
    loss, and even if log(best validation loss) went on falling `slack` times as fast as over these
    steps, it would not be below eps by the end of the budget.
    """

    patience: int
    slack: float
    far_off: FarOff | None = None

    @property
    def shortest(self) -> int:
        """Steps before which no run is ended."""
        return min(self.patience, self.far_off.patience if self.far_off else self.patience)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What decides whether one run succeeds, whatever its recipe.

    Its validation loss (nats per supervised position) must fall below `eps` within `steps`
    optimiser steps.
    """

    eps: float
    steps: int
    max_validation: int
    max_validation_fraction: float
    futility: Futility | None
    only_new_positions: bool = False
    """Of validation: those that do not stand, prefix and target, in the training set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BracketRule:
    """Look for N* on one geometric grid of ratio `resolution` up to `n_max`, seed by seed."""

    strategy: str
    n_max: int
    resolution: float
    audit: bool = False
    """Look for sizes that fail above N*, and try twice before giving up (`bracket_path`)."""
    likeliest_first: bool = False
    """Try recipes in the order in which they passed where a search takes its start from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRule:
    """Go down from `n_max` by `multiplier`, then bisect: at most `max_sizes` sizes in all."""

    strategy: str
    n_max: int
    multiplier: int
    max_sizes: int


_RULES: dict[str, type] = {"bracket": BracketRule, "paper": PaperRule}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seeds:
    """`count` seeds: first, first + step, …

    With `looks`, as in [4, 6, 9, 12], a cell whose verdict is open after so many seeds gets those
    of the next look. Each look is another chance to be wrong, so that the protocol's `confidence`
    must be higher (docs/protocols.md).
    """

    count: int
    first: int
    step: int
    looks: tuple[int, ...] = ()

    def __str__(self) -> str:
        """`3 seeds`, or `5, 8 or 12 seeds`."""
        *others, last = self.looks or (self.count,)
        return f"{', '.join(map(str, others))} or {last} seeds" if others else f"{last} seeds"

    def values(self, count: int | None = None) -> tuple[int, ...]:
        """The protocol's seeds up to its last look, or as many as asked for."""
        count = count or max(self.count, *self.looks, 0)
        return tuple(self.first + i * self.step for i in range(count))


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Results of two protocols never share a table; any changed number is a new version."""

    name: str
    version: int
    presets: str
    """Which of the models' and tasks' presets it uses: `quick`, `cpu` or `paper`."""
    recipes: tuple[Recipe, ...]
    """In the order they are tried; a size passes for a seed when it passes with any of them."""
    seeds: Seeds
    training: Training
    search: BracketRule | PaperRule
    by_length: bool = False
    """Search the first length to L together for every L, which κ(L) and reach need."""
    confidence: float = CONFIDENCE
    """Of its intervals over seeds, and so of its verdicts; higher by default with several looks."""
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    """Parameters and lengths of tasks, by name, in the place of their presets."""

    @property
    def id(self) -> str:
        """Name and version, as in `quick-1`."""
        return f"{self.name}-{self.version}"


def ids() -> list[str]:
    """Every packaged protocol by name and version, `quick-1`; those of earlier versions stay."""
    files = importlib.resources.files("kbench.protocols").iterdir()
    found = (f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))
    return sorted(found, key=lambda id: (_name_of(id), int(id.rpartition("-")[2])))


def _name_of(id: str) -> str:
    return id.rpartition("-")[0]


def newest() -> dict[str, str]:
    """Of each packaged name, the id of its last version: what the name alone stands for."""
    return {_name_of(id): id for id in ids()}


def names() -> list[str]:
    """The packaged protocols, without their versions."""
    return list(newest())


AGAIN = "-again"


def repeated(id: str) -> str | None:
    """The packaged protocol that this one repeats with other seeds: `quick-2` for `quick-again-2`.

    None for all others.
    """
    name, _, version = id.rpartition("-")
    original = f"{name.removesuffix(AGAIN)}-{version}"
    return original if name.endswith(AGAIN) and original in ids() else None


def word_for(id: str) -> str:
    """What `--protocol` wants for a protocol with this id: the name alone where that will do."""
    return _name_of(id) if newest().get(_name_of(id)) == id else id


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a field given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.YAMLError(f"{twice!r} is given twice")
        return super().construct_mapping(node, deep)


def load(name: str) -> Protocol:
    """A packaged protocol by name, or name and version; your own by the path of its YAML file.

    Raises KbenchError for an unknown name and for a file that is not a protocol.
    """
    id = newest().get(name, name)
    if id in ids():
        text = (importlib.resources.files("kbench.protocols") / f"{id}.yaml").read_text("utf-8")
    elif Path(name).suffix in {".yaml", ".yml"}:
        try:
            text = Path(name).read_text("utf-8")
        except OSError as error:
            raise KbenchError(f"protocol file {name!r}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise KbenchError(f"protocol file {name!r} is not text in UTF-8") from None
    else:
        raise unknown("protocol", name, [*names(), *ids()])
    try:
        content = yaml.load(text, _Loader)
    except RecursionError:
        raise KbenchError(f"protocol file {name!r} is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise KbenchError(
            f"protocol file {name!r} is not YAML: {error}".replace("\n", " ")
        ) from None
    protocol = from_dict(content, name)
    if protocol.name in names() and id not in ids():
        raise KbenchError(f"protocol file {name!r}: the name {protocol.name!r} is taken by kbench")
    return protocol


def from_dict(content: Any, where: str) -> Protocol:
    """A protocol from plain values, as in YAML; raises KbenchError for anything out of place."""
    top = dict(mapping(content, where))
    training = dict(mapping(top.get("training"), f"{where}: training"))
    if training.get("futility") is not None:
        futility = dict(mapping(training["futility"], f"{where}: futility"))
        if futility.get("far_off") is not None:
            futility["far_off"] = build(FarOff, futility["far_off"], f"{where}: futility: far_off")
        training["futility"] = build(Futility, futility, f"{where}: futility")
    if "recipes" not in top:
        rates, batch_size = top.pop("learning_rates", None), training.pop("batch_size", None)
        top["recipes"] = _plain(rates, batch_size, where)
    top["training"] = build(Training, training, f"{where}: training")
    search = mapping(top.get("search"), f"{where}: search")
    if (strategy := str(search.get("strategy"))) not in _RULES:
        raise unknown(f"search: strategy in protocol {where}:", strategy, _RULES)
    top["search"] = build(_RULES[strategy], search, f"{where}: search")
    seeds = dict(mapping(top.get("seeds"), f"{where}: seeds"))
    looks = seeds.get("looks", ())
    if not isinstance(looks, list | tuple) or not all(is_a(look, int) for look in looks):
        raise KbenchError(f"{where}: seeds: looks must be a list of whole numbers, got {looks!r}")
    top["seeds"] = build(Seeds, seeds | {"looks": tuple(looks)}, f"{where}: seeds")
    if len(looks) > 1:
        top.setdefault("confidence", SEVERAL_LOOKS if len(looks) <= 3 else MANY_LOOKS)
    recipes = top.get("recipes")
    if not isinstance(recipes, list | tuple) or not recipes:
        raise KbenchError(f"protocol {where}: recipes must be a list of recipes, got {recipes!r}")
    top["recipes"] = tuple(_recipe(r, f"{where}: recipe {i + 1}") for i, r in enumerate(recipes))
    top["tasks"] = _sizes(top.get("tasks", {}), f"{where}: tasks")
    protocol = build(Protocol, top, where)
    _check(protocol, where)
    return protocol


def _sizes(content: Any, where: str) -> dict[str, dict[str, Any]]:
    """Of tasks, by name."""
    found = {str(name): dict(mapping(of, where)) for name, of in mapping(content, where).items()}
    if found:
        from kbench.registry import tasks  # which loads every task

        for name, of in found.items():
            if name not in tasks.names() and ".py:" not in name:
                raise unknown(f"task in protocol {where}:", name, tasks.names())
            if isinstance(of.get("lengths"), list):
                of["lengths"] = tuple(of["lengths"])
    return found


MOST = 10**9
"""Of steps, samples of a batch, seeds: more is a slip of the pen, and would be planned for."""
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""A name: it is printed, and becomes part of paths."""


def _check(protocol: Protocol, where: str) -> None:
    """Numbers that cannot be meant."""
    training, search = protocol.training, protocol.search
    seeds, looks = protocol.seeds, list(protocol.seeds.looks)
    wanted = {
        "name must be made of letters, digits, `.`, `_`, `+` and `-`, 64 at most": (
            PLAIN.fullmatch(protocol.name)
        ),
        "version must be a whole number from 1 to 10^9": 1 <= protocol.version <= MOST,
        "training: eps must lie above 0, and at most be 1,000": 0 < training.eps <= 1000,
        "training: steps must lie between 1 and 10^9": 1 <= training.steps <= MOST,
        "training: max_validation must lie between 1 and 10^9": (
            1 <= training.max_validation <= MOST
        ),
        "training: max_validation_fraction must lie between 0 and 1": (
            0 < training.max_validation_fraction < 1
        ),
        "training: futility needs a patience from 1 to 10^9 and a slack above 0": (
            training.futility is None
            or (1 <= training.futility.patience <= MOST and training.futility.slack > 0)
        ),
        "training: futility: far_off needs a patience from 1 to 10^9, a loss from eps to 1,000, "
        "and a by_heart above 0 and at most 1": (
            not (far := training.futility and training.futility.far_off)
            or 1 <= far.patience <= MOST
            and training.eps < far.loss <= 1000
            and 0 < far.by_heart <= 1
        ),
        "recipes must all differ, in their names and in their numbers": (
            len({r.name for r in protocol.recipes}) == len(set(protocol.recipes))
            and len(set(protocol.recipes)) == len(protocol.recipes)
        ),
        "recipes must be 100 at most": len(protocol.recipes) <= 100,
        "seeds: count must lie between 1 and 10,000": 1 <= seeds.count <= 10_000,
        "seeds: step must be at least 1, first at least 0": seeds.step >= 1 and seeds.first >= 0,
        "seeds: looks must rise, begin with count, and end at 10,000 or before": (
            not looks or (looks == sorted({seeds.count, *looks}) and looks[-1] <= 10_000)
        ),
        "seeds must stay below 2^62": seeds.first + max(seeds.count, *looks, 0) * seeds.step
        < 1 << 62,
        "confidence must lie between 0.5 and 1": 0.5 < protocol.confidence < 1,
        "search: n_max must be at least 1 and below 2^62": 1 <= search.n_max < 1 << 62,
        "search: resolution must lie between 1.01 and 1,000": (
            not isinstance(search, BracketRule) or 1.01 <= search.resolution <= 1000
        ),
        "search: multiplier must be above 1 and below 2^62, max_sizes above 1 and at most 1,000": (
            not isinstance(search, PaperRule)
            or (1 < search.multiplier < 1 << 62 and 1 < search.max_sizes <= 1000)
        ),
    }
    for message, holds in wanted.items():
        if not holds:
            raise KbenchError(f"protocol {where}: {message}")


def _plain(rates: Any, batch_size: Any, where: str) -> list[Any]:
    """Recipes out of `learning_rates` and `training: batch_size`, which is short for plain Adam."""
    if (
        not isinstance(rates, list | tuple)
        or not rates
        or not all(is_a(rate, float) and rate > 0 for rate in rates)
        or len(set(rates)) < len(rates)
    ):
        raise KbenchError(
            f"protocol {where}: needs recipes, or learning_rates, which are numbers above 0, all "
            f"different; got {rates!r}"
        )
    if not is_a(batch_size, int) or batch_size < 1:
        raise KbenchError(
            f"protocol {where}: training: batch_size must be a whole number of at least 1, "
            f"got {batch_size!r}"
        )
    return [plain(float(rate), batch_size) for rate in rates]


def _recipe(content: Any, where: str) -> Recipe:
    """From plain values."""
    if isinstance(content, Recipe):
        recipe = content
    else:
        values = dict(mapping(content, where))
        betas = values.get("betas", (0.9, 0.999))
        if (
            not isinstance(betas, list | tuple)
            or len(betas) != 2
            or not all(is_a(b, float) for b in betas)
        ):
            raise KbenchError(f"protocol {where}: betas must be two numbers, got {betas!r}")
        recipe = build(Recipe, values | {"betas": tuple(map(float, betas))}, where)
    wanted = {
        "name must be made of letters, digits, `.`, `_`, `+` and `-`, 64 at most": (
            PLAIN.fullmatch(recipe.name)
        ),
        "learning_rate must lie above 0, and at most be 1,000": 0 < recipe.learning_rate <= 1000,
        "batch_size must lie between 1 and 10^9": 1 <= recipe.batch_size <= MOST,
        "betas must lie between 0 and 1": all(0 <= b < 1 for b in recipe.betas),
        "weight_decay must be at least 0": recipe.weight_decay >= 0,
        "warmup must lie between 0 and 10^9": 0 <= recipe.warmup <= MOST,
        "clip must be at least 0": recipe.clip >= 0,
    }
    for message, holds in wanted.items():
        if not holds:
            raise KbenchError(f"protocol {where}: {message}")
    return recipe
