"""Parity: is the number of ones even or odd?"""

from dataclasses import dataclass, field

from kbench.registry import tasks
from kbench.tasks.modadd import ModularAddition


@tasks.register(
    "parity",
    version=1,
    presets={
        "quick": {"lengths": (3, 8)},
        "cpu": {"lengths": (3, 10)},
        "paper": {"lengths": (3, 40)},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class Parity(ModularAddition):
    """`modadd` with m = 2 (arXiv 2207.02098, "parity check").

    Lengths begin at 3: of the four samples of length 2 none could be held out for validation.
    """

    m: int = field(default=2, init=False)
