"""Cycle navigation: stay, go forward or back on a ring of five places."""

from dataclasses import dataclass, field

from kbench.registry import tasks
from kbench.tasks.permutation import GroupComposition


@tasks.register(
    "cycle",
    version=1,
    presets={
        "quick": {"lengths": (2, 6)},
        "cpu": {"lengths": (2, 8)},
        "paper": {"lengths": (2, 40)},
    },
)
@dataclass(frozen=True, kw_only=True, slots=True)
class CycleNavigation(GroupComposition):
    """`permutation` in Z5 from its generator alone (arXiv 2207.02098, "cycle navigation").

    The tokens 0, 1, 4 stand for staying, one place forward, one place back.
    """

    group: str = field(default="Z5", init=False)
    tokens: str = field(default="generators", init=False)
