"""What a model is before it is trained: it follows from its class, size and seed alone."""

import dataclasses
from typing import NamedTuple

import torch

from kbench.data.splits import source_of
from kbench.training.member import Member
from kbench.trial import Trial


class Initial(NamedTuple):
    """Two numbers that another model, or another initialisation, does not have."""

    loss: float
    """On the validation set, in nats per supervised position."""
    weights: float
    """Σ w_i cos i, over all parameters in the order of the module."""


def initial(trial: Trial) -> Initial:
    """Of the model that this trial would begin with; in plain torch, whatever its backend."""
    trial = dataclasses.replace(trial, n_samples=1, backend="torch", tested=())
    member = Member(trial, *source_of(trial).splits(1, trial.seed))
    weights_P = torch.nn.utils.parameters_to_vector(member.model.parameters()).detach().double()
    signs_P = torch.arange(len(weights_P), dtype=torch.float64).cos()
    return Initial(loss=member.validation_loss(), weights=float(weights_P @ signs_P))
