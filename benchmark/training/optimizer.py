"""Adam (Kingma & Ba 2014, arXiv 1412.6980), as `torch.optim` has it, bit for bit."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """`torch.optim.Adam(parameters, lr=rate, fused=True)`, for small models.

    That collects its state anew and looks for hooks at every step, which for models as small as
    these takes about as long as the update. A parameter without a gradient is passed over.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._rate = rate
        self._state: list[tuple[Tensor, Tensor, Tensor]] = []
        """Mean and mean square of each one's gradients, and its steps; from the first step on."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step by the gradients that there are."""
        self._state = self._state or [
            (torch.zeros_like(p), torch.zeros_like(p), torch.zeros((), device=p.device))
            for p in self._parameters
        ]
        both = zip(self._parameters, self._state, strict=True)
        active = [(p, p.grad, *state) for p, state in both if p.grad is not None]
        if not active:
            return
        parameters, gradients, means, squares, steps = map(list, zip(*active, strict=True))
        adam(
            parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False,
            beta1=0.9, beta2=0.999, lr=self._rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
