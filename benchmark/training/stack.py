"""Models of one shape trained side by side as one: one step for all of them."""

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vjp, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from kbench.errors import one_line
from kbench.ops.stackable import stackable
from kbench.recipe import Recipe, plain
from kbench.training.loss import cross_entropy
from kbench.training.optimizer import EPS, over


class Stack:
    """K models as one matrix of parameters [K, P], with Adam's moments of the same shape.

    Every member has a recipe of its own and sees its own batch. All that a step changes is
    changed in place, so that a CUDA graph can be captured of it.
    """

    def __init__(self, models: Sequence[nn.Module], recipes: Sequence[Recipe]) -> None:
        self._base = stackable(copy.deepcopy(models[0]))
        self._shapes = {n: p.shape for n, p in models[0].named_parameters() if p.requires_grad}
        self.parameters_KP = torch.stack([_vector(model) for model in models])
        constants = [_constants(model) for model in models]
        self._constants = {n: torch.stack([c[n] for c in constants]) for n in constants[0]}
        self._mean_KP = torch.zeros_like(self.parameters_KP)
        self._square_KP = torch.zeros_like(self.parameters_KP)
        numbers = [
            (r.learning_rate, *r.betas, r.weight_decay, max(r.warmup, 1), r.clip or math.inf)
            for r in recipes
        ]
        self._recipe_6K = self.parameters_KP.new_tensor(numbers).T.contiguous()
        self._steps = self.parameters_KP.new_zeros(())

    def gradients(self, tokens_KBT: Tensor, targets_KBT: Tensor) -> tuple[Tensor, Tensor]:
        """Of each member's mean cross-entropy over its supervised positions [K, P]; the losses."""
        gradients: tuple[Tensor, Tensor] = vmap(grad_and_value(self._mean))(
            self.parameters_KP, self._constants, tokens_KBT, targets_KBT
        )
        return gradients

    def step(self, tokens_KBT: Tensor, targets_KBT: Tensor) -> Tensor:
        """One step of AdamW for every member; the losses before it [K], in nats."""
        gradient_KP, loss_K = self.gradients(tokens_KBT, targets_KBT)
        self._steps += 1
        rate, beta1, beta2, decay, warmup, clip = self._recipe_6K.unsqueeze(2)
        gradient_KP /= over(gradient_KP.norm(dim=1, keepdim=True), clip)
        rate = rate * (self._steps / warmup).clamp(max=1.0)
        self.parameters_KP.mul_(1 - rate * decay)
        self._mean_KP.mul_(beta1).add_((1 - beta1) * gradient_KP)
        self._square_KP.mul_(beta2).add_((1 - beta2) * gradient_KP.square())
        scale_KP = (self._square_KP / (1 - beta2**self._steps)).sqrt_().add_(EPS)
        rate = rate / (1 - beta1**self._steps)
        self.parameters_KP.sub_(rate * self._mean_KP / scale_KP)
        return loss_K

    @torch.no_grad()
    def nats(self, tokens_KBT: Tensor, targets_KBT: Tensor, members: Tensor) -> Tensor:
        """Cross-entropy summed over the supervised positions, of some members only [K]."""
        constants = {name: value[members] for name, value in self._constants.items()}
        total: Tensor = vmap(self._sum)(
            self.parameters_KP[members], constants, tokens_KBT, targets_KBT
        )
        return total

    def keep(self, members: Tensor) -> None:
        """Continue with these members only, in this order."""
        for name in ("parameters_KP", "_mean_KP", "_square_KP"):
            setattr(self, name, getattr(self, name)[members])
        self._recipe_6K = self._recipe_6K[:, members]
        self._constants = {name: value[members] for name, value in self._constants.items()}

    def unstack(self, k: int, model: nn.Module) -> None:
        """Give a model the parameters of member k."""
        trained = [p for p in model.parameters() if p.requires_grad]
        vector_to_parameters(self.parameters_KP[k], trained)

    def state(self) -> list[Tensor]:
        """All that a step changes."""
        return [self.parameters_KP, self._mean_KP, self._square_KP, self._steps]

    def _logits(self, parameters_P: Tensor, constants: Any, tokens_BT: Tensor) -> Tensor:
        pieces = parameters_P.split([shape.numel() for shape in self._shapes.values()])
        named = {
            name: piece.view(shape)
            for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)
        }
        # cuDNN's recurrent layers look for the memory of weights, which a member's have none of.
        with torch.backends.cudnn.flags(enabled=False):
            logits: Tensor = functional_call(
                self._base, {**named, **constants}, (tokens_BT.long(),)
            )
        return logits

    def _mean(self, parameters_P: Tensor, constants: Any, tokens: Tensor, targets: Tensor) -> Any:
        logits = self._logits(parameters_P, constants, tokens)
        return cross_entropy(logits, targets, "mean")

    def _sum(self, parameters_P: Tensor, constants: Any, tokens: Tensor, targets: Tensor) -> Any:
        def nats(parameters_P: Tensor) -> Tensor:
            logits = self._logits(parameters_P, constants, tokens)
            return cross_entropy(logits, targets, "sum")

        # Operations without a vmap rule, such as torch's GRU, stack where they are differentiated.
        return vjp(nats, parameters_P)[0]


def why_not(models: Sequence[nn.Module], tokens_KBT: Tensor) -> str | None:
    """Why these models cannot be stacked, in one line; None where they can."""
    try:
        # A missing vmap rule is a warning where torch can loop over the members all the same.
        with warnings.catch_warnings(action="error"):
            Stack(models, [plain(1.0, 1)] * len(models)).gradients(tokens_KBT, tokens_KBT)
    except Exception as error:  # every operation has its own way to say that it cannot
        return one_line(error)
    return None


def _vector(model: nn.Module) -> Tensor:
    return parameters_to_vector([p for p in model.parameters() if p.requires_grad]).detach()


def _constants(model: nn.Module) -> dict[str, Tensor]:
    frozen = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    return frozen | dict(model.named_buffers())
