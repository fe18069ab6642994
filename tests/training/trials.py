"""Trials that take a second, and what training makes of them."""

import dataclasses

from kbench.data.splits import source_of
from kbench.protocol import Training
from kbench.registry import models
from kbench.training.loop import train
from kbench.training.member import Member
from kbench.trial import Trial

TRAINING = Training(
    eps=1e-2,
    steps=60,
    batch_size=64,
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
    learning_rate=3e-3,
    seed=1,
    protocol="test-1",
    training=TRAINING,
)


def a_trial(**changes):
    """TRIAL with some fields of it, or of its training, changed."""
    inner = {field.name for field in dataclasses.fields(Training)} & changes.keys()
    training = dataclasses.replace(TRAINING, **{key: changes.pop(key) for key in inner})
    if "model" in changes:
        changes.setdefault("model_version", models[changes["model"]].version)
    return dataclasses.replace(TRIAL, training=training, **changes)


def splits(trial):
    return source_of(trial).splits(trial.n_samples, trial.seed)


def member(trial=TRIAL):
    return Member(trial, *splits(trial))


def digests(cohort):
    return [r.digest(t.key()) for t, r in zip(cohort, train(cohort), strict=True)]
