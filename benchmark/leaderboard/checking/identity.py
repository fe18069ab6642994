"""Are these the trials of this model, and of no other entry's?"""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from kbench.leaderboard.entry import Entry
from kbench.leaderboard.submission import initial_of
from kbench.study.cell import Cell

LIKE = 1e-3
"""Between machines, relative: initial losses and weights differ in the sixth digit."""
ALIKE = 1e-4
"""Losses of two trials that are one, copied and perhaps changed a little."""
SHARED = 0.5
"""So many of the trials that two entries have in common may not be alike."""


def initial_problems(entry: Entry, cell: Cell) -> Iterator[str]:
    """Initial losses and weights that are not those of the model that the entry names."""
    if entry.initial is None:
        if entry.schema_version >= 3:
            yield "its initial losses and weights are missing"
        return
    for seed, made in initial_of(cell).items():
        stated = entry.initial.get(seed)
        for name, value in made.items():
            if stated is None or not math.isclose(
                getattr(stated, name), value, rel_tol=LIKE, abs_tol=LIKE
            ):
                says = "nothing" if stated is None else f"{getattr(stated, name):.6g}"
                yield (
                    f"model {cell.model}: initial {name} of seed {seed} is {says}, the model gives "
                    f"{value:.6g}"
                )


class Seen:
    """The entries looked at so far: whose trials are those of another, up to rounding?"""

    def __init__(self) -> None:
        self._by_task: dict[str, list[tuple[Path, Entry, dict[str, tuple[float, ...]]]]] = (
            defaultdict(list)
        )

    def like(self, entry: Entry, path: Path) -> Path | None:
        """The first entry of another model whose trials these are; None where there is none."""
        of = entry.settings
        about = repr((of.protocol, of.task, of.task_params, of.supervision, of.distribution))
        trials: dict[str, tuple[float, ...]] = {
            repr((r.lengths, r.seed, r.n_samples, r.learning_rate, r.recipe, r.tested)): (
                r.steps, r.best_step, math.inf if r.best_loss is None else r.best_loss,
            )
            for r in entry.trials
        }  # fmt: skip
        for other_path, other, theirs in self._by_task[about]:
            common = trials.keys() & theirs.keys()
            alike = sum(_alike(trials[key], theirs[key]) for key in common)
            if other.settings.model != of.model and common and alike > SHARED * len(common):
                return other_path
        self._by_task[about].append((path, entry, trials))
        return None


def _alike(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[:2] == b[:2] and (a[2] == b[2] or math.isclose(a[2], b[2], rel_tol=ALIKE))
