"""Trials that take a second, and what training makes of them."""

import dataclasses

from kbench.data.splits import source_of
from kbench.protocol import Training
from kbench.recipe import plain
from kbench.registry import models
from kbench.training.loop import train
from kbench.training.member import Member
from kbench.trial import Trial

TRAINING = Training(
    eps=1e-2,
    steps=60,
    max_validation=100,
    max_validation_fraction=0.2,
    futility=None,
)
TRIAL = Trial(
    model="lstm",
    model_version=1,
    size={"width": 16, "layers": 1},
    backend="torch",
    task="modadd",
    task_version=1,
    task_params={"m": 3},
    supervision="aligned",
    lengths=(2, 3, 4, 5),
    distribution="uniform",
    n_samples=150,
    recipe=plain(3e-3, 64),
    seed=1,
    protocol="test-1",
    training=TRAINING,
)


def a_trial(**changes):
    """TRIAL with some fields of it, of its recipe or of its training, changed."""
    changes["recipe"] = _replaced(TRIAL.recipe, changes)
    training = _replaced(TRAINING, changes)
    if "model" in changes:
        changes.setdefault("model_version", models[changes["model"]].version)
    return dataclasses.replace(TRIAL, training=training, **changes)


def _replaced(part, changes):
    """The part with those of the changes, taken out of them, that are fields of it."""
    own = {field.name for field in dataclasses.fields(part)} & changes.keys()
    return dataclasses.replace(part, **{key: changes.pop(key) for key in own})


def splits(trial):
    return source_of(trial).splits(trial.n_samples, trial.seed)


def member(trial=TRIAL):
    return Member(trial, *splits(trial))


def digests(cohort):
    return [r.digest(t.key()) for t, r in zip(cohort, train(cohort), strict=True)]
