"""Recipes: how a run is trained."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Recipe:
    """How a run is trained: AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), all that it takes.

    Plain Adam by default. Nothing depends on the step budget, so that a run with a longer budget
    repeats the shorter one as its beginning. Two recipes of equal numbers are equal, whatever they
    are called.
    """

    name: str = field(compare=False)
    learning_rate: float
    batch_size: int
    """Samples of a step; N where that is smaller."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    """Decoupled, of every parameter: each step takes learning_rate · weight_decay of it."""
    warmup: int = 0
    """Steps in which the learning rate rises in a straight line to its value."""
    clip: float = 0.0
    """Largest Euclidean norm of the gradient, of all parameters together; 0 where it is not cut."""

    def beyond_adam(self) -> dict[str, Any]:
        """Of the numbers that plain Adam has no use for, those in use."""
        return {
            of.name: getattr(self, of.name)
            for of in fields(self)
            if of.default is not MISSING and getattr(self, of.name) != of.default
        }

    def __str__(self) -> str:
        """`warm (learning rate 0.001, batches of 64, warmup 500, clip 1)`."""
        others = "".join(
            f", {name.replace('_', ' ')} {_short(value)}"
            for name, value in self.beyond_adam().items()
        )
        return (
            f"{self.name} (learning rate {self.learning_rate:g}, batches of {self.batch_size}"
            f"{others})"
        )


def _short(value: Any) -> str:
    return " ".join(f"{x:g}" for x in (value if isinstance(value, tuple | list) else [value]))


def plain(learning_rate: float, batch_size: int) -> Recipe:
    """Adam without anything, under the name that results before there were recipes go by."""
    return Recipe(
        name=f"adam-{learning_rate:g}", learning_rate=learning_rate, batch_size=batch_size
    )
