"""What an experiment is: a set-up and the figures that were published of it, from a YAML file."""

import importlib.resources
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from kbench.errors import KbenchError, unknown
from kbench.frozen import build, mapping
from kbench.protocol import Training
from kbench.recipe import Recipe
from kbench.trial import Trial

FOLDER = importlib.resources.files("kbench.reproduce")
SCORES = ("answers", "positions")
OVER: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "best": max,
}
"""What is published of several runs."""
ROUNDING = 5e-4
"""Figures are published with three decimals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One published number, and how near one has to come to it.

    It was published as a value, with or without a spread, or, where it is read off a plot, as a
    bound that the value was above or below.
    """

    model: str
    label: str
    """What the publication calls the model."""
    published: float
    sense: str = "is"
    """`is`, `at_least` or `at_most`."""
    spread: float | None = None
    """As published: a standard deviation, or a median absolute deviation."""
    tolerance: float | None = None
    """Where no spread is published: fixed before anything ran."""
    over: str = "mean"
    """Of the runs: `mean`, `median` or `best`."""
    at: tuple[int, ...] = ()
    """Lengths whose accuracies are averaged; with the score `positions` the last position."""
    again: bool = False
    """The same figure stands elsewhere too, beside another model or set-up: it counts once."""

    def holds(self, here: float, test_error: float) -> bool:
        """Is the value measured here within what was published?

        It may be off by the spread or the tolerance, and by the error of the test here.
        """
        if self.sense == "at_least":
            return here >= self.published - ROUNDING
        if self.sense == "at_most":
            return here <= self.published + ROUNDING
        spread = self.tolerance if self.spread is None else self.spread
        return abs(here - self.published) <= (spread or 0.0) + test_error + ROUNDING


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """A set-up, run at one number of samples, and the figures that were published of it."""

    name: str
    version: int
    title: str
    source: str
    """Where the figures and the set-up were published."""
    scaled_down: str
    """What is smaller here than there, or otherwise, in a sentence or two."""
    task: str
    task_params: Mapping[str, Any]
    supervision: str
    lengths: tuple[int, ...]
    """Trained at, uniformly."""
    tested: tuple[int, ...]
    samples: int
    recipe: Recipe
    training: Training
    seeds: int
    score: str
    """`answers`: the accuracy of the answer at each length. `positions`: of every position of one
    long sequence, which for a causal model is that of the answer at each length up to it."""
    scaled: bool
    """(accuracy − chance) / (1 − chance) in place of the accuracy."""
    models: Mapping[str, Mapping[str, Any]]
    """Sizes by name."""
    figures: tuple[Figure, ...]

    @property
    def id(self) -> str:
        """Name and version."""
        return f"{self.name}-{self.version}"

    @property
    def longest_trained(self) -> int:
        """The accuracy there tells whether a model learned what it was trained on."""
        return max(self.lengths)

    def trials(self, seeds: int | None = None) -> list[Trial]:
        """Every run: all models with the first seed, then with the next."""
        from kbench.registry import models, tasks

        return [
            Trial(
                model=model,
                model_version=models[model].version,
                size=size,
                backend=_backend(model),
                task=self.task,
                task_version=tasks[self.task].version,
                task_params=self.task_params,
                supervision=self.supervision,
                lengths=self.lengths,
                distribution="uniform" if len(self.lengths) > 1 else "fixed",
                n_samples=self.samples,
                recipe=self.recipe,
                seed=seed,
                protocol=f"reproduce-{self.id}",
                training=self.training,
                tested=tuple(sorted({*self.tested, self.longest_trained})),
            )
            for seed in range(1, (seeds or self.seeds) + 1)
            for model, size in self.models.items()
        ]


def _backend(model: str) -> str:
    """The fastest that the model has on a CPU."""
    from kbench.ops.backends import missing
    from kbench.registry import models
    from kbench.training.modules import backends

    return [b for b in backends(models[model]) if not missing(b, "cpu")][-1]


def names() -> list[str]:
    """Every packaged experiment."""
    files = (FOLDER / "experiments").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load(name: str) -> Experiment:
    """A packaged experiment by name; raises KbenchError where there is none."""
    if name not in names():
        raise unknown("experiment", name, names())
    return from_text((FOLDER / "experiments" / f"{name}.yaml").read_text("utf-8"), name)


def from_text(text: str, where: str) -> Experiment:
    """An experiment from YAML; raises KbenchError for what is unknown, missing or out of place."""
    top = dict(mapping(yaml.safe_load(text), where))
    for name in {"lengths", "tested"} & top.keys():
        top[name] = _lengths(top[name])
    recipe = {"name": where} | dict(mapping(top.get("recipe"), f"{where}: recipe"))
    training = {"futility": None} | dict(mapping(top.get("training"), f"{where}: training"))
    top["recipe"] = build(Recipe, recipe, f"{where}: recipe")
    top["training"] = build(Training, training, f"{where}: training")
    every = top.get("tested", ()) if top.get("score") == "answers" else ()
    top["figures"] = tuple(_figure({"at": every} | of, where) for of in top.get("figures") or ())
    made = build(Experiment, top, where)
    _look_over(made)
    return made


def _lengths(given: Sequence[int] | Mapping[str, int]) -> tuple[int, ...]:
    """A list, or `{from: 3, to: 40}`."""
    if isinstance(given, Mapping):
        return tuple(range(given["from"], given["to"] + 1, given.get("step", 1)))
    return tuple(given)


def _figure(content: dict[str, Any], where: str) -> Figure:
    """`published`, or `at_least` or `at_most` in its place."""
    for sense in ("at_least", "at_most"):
        if sense in content:
            content |= {"published": content.pop(sense), "sense": sense}
    content["at"] = tuple(at) if isinstance(at := content["at"], list | tuple) else (at,)
    return build(Figure, content, f"{where}: figure of {content.get('label')}")


def _look_over(of: Experiment) -> None:
    wanted = {
        f"score must be one of {', '.join(SCORES)}": of.score in SCORES,
        "a figure is of one of its models": all(f.model in of.models for f in of.figures),
        f"over must be one of {', '.join(OVER)}": all(f.over in OVER for f in of.figures),
        "a figure has a spread, a tolerance or a bound": all(
            f.sense != "is" or (f.spread is None) != (f.tolerance is None) for f in of.figures
        ),
        "a figure is read where there are tests": all(
            set(lengths_read(of, f)) <= {*of.tested} for f in of.figures
        ),
    }
    for rule, holds in wanted.items():
        if not holds:
            raise KbenchError(f"experiment {of.name}: {rule}")


def lengths_read(of: Experiment, figure: Figure) -> tuple[int, ...]:
    """Lengths whose accuracies the figure is the mean of."""
    return tuple(range(1, figure.at[0] + 1)) if of.score == "positions" else figure.at
