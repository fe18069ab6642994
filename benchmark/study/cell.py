"""Cells: what is measured, frozen.

A cell is one model on one task under one supervision: a search for N* per length and seed, and one
per seed over all lengths together, which is all that κ needs; or, for N* under a distribution of
lengths, that last one alone.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kbench import protocol as protocols
from kbench.data.pairs import held_out_of
from kbench.data.splits import Shares, universe
from kbench.protocol import Protocol
from kbench.registry import models, tasks
from kbench.statistics.search import Probe
from kbench.trial import Trial, canonical_json

Lengths = tuple[int, ...]
PLENTY = 1 << 62
"""More samples than any search asks for, and still an integer to every reader of JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One row of a table."""

    model: str
    model_version: int | str
    size: Mapping[str, Any]
    backend: str
    task: str
    task_version: int | str
    task_params: Mapping[str, Any]
    supervision: str
    protocol: Protocol
    lengths: Lengths
    universes: Mapping[int, int]
    """Samples of each length there are, or PLENTY: what the searches need to know of the task, so
    that a stored result can be shown without it."""
    seeds: tuple[int, ...]
    """All that it may come to have; how many of them are used, its verdict decides (`looks`)."""
    distribution: str | None = None
    """Of the lengths, for N* alone; None for κ, which is over `uniform`."""
    extrapolate: tuple[int, ...] = ()
    """Lengths at which the models of the joint search are tested."""
    hold_out_pairs: float | None = None
    """The share of pairs of updates that training never sees, if any (`kbench.data.pairs`)."""
    held_out: Mapping[int, int] = field(default_factory=dict)
    """Samples of each length that hold such a pair: those for validation."""

    @staticmethod
    def of(
        *,
        model: str,
        task: str,
        task_params: Mapping[str, Any],
        lengths: Lengths,
        protocol: Protocol,
        size: Mapping[str, Any] | None = None,
        backend: str = "torch",
        hold_out_pairs: float | None = None,
        **others: Any,
    ) -> "Cell":
        """The cell of a registered model, of its preset size by default, on a registered task.

        Raises KbenchError where pairs are to be held out and cannot be.
        """
        instance, version = tasks[task].cls(**task_params), tasks[task].version
        held_out = {}
        if hold_out_pairs is not None:
            pairs = held_out_of(task, version, canonical_json(task_params), hold_out_pairs)
            held_out = pairs.sizes(lengths)
        return Cell(
            model=model,
            model_version=models[model].version,
            size=models[model].preset(protocol.presets) if size is None else size,
            backend=backend,
            task=task,
            task_version=version,
            task_params=task_params,
            lengths=lengths,
            universes={n: min(universe(instance, n), PLENTY) for n in lengths},
            protocol=protocol,
            hold_out_pairs=hold_out_pairs,
            held_out=held_out,
            **others,
        )

    def spec(self) -> dict[str, Any]:
        """As plain JSON values, without what says that no pairs are held out."""
        spec = dataclasses.asdict(self)
        if self.hold_out_pairs is None:
            del spec["hold_out_pairs"], spec["held_out"]
        return spec

    @staticmethod
    def from_spec(spec: Mapping[str, Any]) -> "Cell":
        """The cell with this spec()."""
        return Cell(
            **{
                **spec,
                "lengths": tuple(spec["lengths"]),
                "universes": {int(n): size for n, size in spec["universes"].items()},
                "held_out": {int(n): size for n, size in spec.get("held_out", {}).items()},
                "seeds": tuple(spec["seeds"]),
                "extrapolate": tuple(spec["extrapolate"]),
                "protocol": protocols.from_dict(spec["protocol"], "in the store"),
            }
        )

    @property
    def protocol_seeds(self) -> tuple[int, ...]:
        """What the cell has where nobody asked for another number of seeds."""
        seeds = self.protocol.seeds
        return seeds.values(seeds.count if self.distribution else None)

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds after which the cell is done if its verdict is not open.

        The protocol's, for κ from all of its seeds; somebody's own number of seeds is one look.
        """
        looks = () if self.distribution else self.protocol.seeds.looks
        return looks if looks and self.seeds == self.protocol_seeds else (len(self.seeds),)

    @property
    def alone(self) -> list[Lengths]:
        """The lengths that are searched each by itself, as κ needs it."""
        return [(n,) for n in self.lengths] if self.distribution is None else []

    @property
    def joint(self) -> Lengths:
        """The lengths that are searched together."""
        return self.lengths[-1:] if self.distribution == "fixed" else self.lengths

    @property
    def together(self) -> list[Lengths]:
        """The lengths that are searched together: the first to L for each L, where the protocol
        asks for κ by length, and last all of them."""
        fewer = range(2, len(self.lengths)) if self.protocol.by_length and self.alone else ()
        return [*(self.lengths[:count] for count in fewer), self.joint]

    def shorter(self, lengths: Lengths) -> Lengths | None:
        """Those whose N* tells where to begin the search at these; None where none do."""
        for of in (self.alone, self.together):
            if lengths in of[1:]:
                return of[of.index(lengths) - 1]
        return None

    def over(self, lengths: Lengths) -> str:
        """The distribution over the lengths of one of the cell's searches."""
        return "fixed" if len(lengths) == 1 else self.distribution or "uniform"

    def shares(self, lengths: Lengths) -> Shares:
        """How the samples of one of the cell's searches are divided."""
        training = self.protocol.training
        return Shares(
            universes={n: self.universes[n] for n in lengths},
            distribution=self.over(lengths),
            max_validation=training.max_validation,
            max_validation_fraction=training.max_validation_fraction,
            held_out={n: self.held_out[n] for n in lengths if self.held_out},
        )

    def trial(self, lengths: Lengths, seed: int, probe: Probe) -> Trial:
        """The run that a search asks for."""
        return Trial(
            model=self.model,
            model_version=self.model_version,
            size=self.size,
            backend=self.backend,
            task=self.task,
            task_version=self.task_version,
            task_params=self.task_params,
            supervision=self.supervision,
            lengths=lengths,
            distribution=self.over(lengths),
            n_samples=probe.n_samples,
            recipe=probe.recipe,
            seed=seed,
            protocol=self.protocol.id,
            training=self.protocol.training,
            hold_out_pairs=self.hold_out_pairs,
        )
