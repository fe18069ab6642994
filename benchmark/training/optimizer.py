"""AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) by a recipe, as `torch.optim` has it."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from kbench.recipe import Recipe

EPS = 1e-8
"""What is added to the root of the mean square, as in torch.optim."""


class AdamW:
    """`torch.optim.AdamW(parameters, fused=True)` with warm-up and clipping, for small models.

    That collects its state anew and looks for hooks at every step, which for models as small as
    these takes about as long as the update. Without decay it is Adam (Kingma & Ba 2014, arXiv
    1412.6980), bit for bit. A parameter without a gradient is passed over.
    """

    def __init__(self, parameters: Iterable[Tensor], recipe: Recipe) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._recipe = recipe
        self._steps = 0
        self._state: list[tuple[Tensor, Tensor, Tensor]] = []
        """Mean and mean square of each one's gradients, and its steps; from the first step on."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step by the gradients that there are."""
        recipe = self._recipe
        self._steps += 1
        self._state = self._state or [
            (torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=p.device))
            for p in self._parameters
        ]
        both = zip(self._parameters, self._state, strict=True)
        active = [(p, p.grad, *state) for p, state in both if p.grad is not None]
        if not active:
            return
        parameters, gradients, means, squares, steps = map(list, zip(*active, strict=True))
        # The fused step divides the gradients by a scale as it reads them.
        scale = excess(gradients, recipe.clip) if recipe.clip else None
        adamw(
            parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False,
            beta1=recipe.betas[0], beta2=recipe.betas[1], weight_decay=recipe.weight_decay,
            lr=recipe.learning_rate * warm(self._steps, recipe.warmup), eps=EPS, maximize=False,
            grad_scale=scale,
        )  # fmt: skip


def warm(step: int, warmup: int) -> float:
    """The part of the learning rate that a step takes, the first being step 1."""
    return min(step / warmup, 1.0) if warmup else 1.0


def excess(gradients: list[Tensor], clip: float) -> Tensor:
    """How many times the norm of all gradients together is the largest allowed; at least 1."""
    norms = torch.stack(torch._foreach_norm(gradients))
    return over(torch.linalg.vector_norm(norms), clip)


def over(norm: Tensor, clip: float | Tensor) -> Tensor:
    """What to divide gradients of this norm by, as in `torch.nn.utils.clip_grad_norm_`."""
    return ((norm + 1e-6) / clip).clamp(min=1.0)
