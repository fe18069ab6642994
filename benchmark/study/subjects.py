"""Models as they would be built for a task: what is checked, listed and matched before a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from kbench import protocol as protocols
from kbench.data.contract import made
from kbench.data.splits import Source, source_of
from kbench.errors import KbenchError
from kbench.registry import Entry, models, tasks
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.parameters import task_preset
from kbench.training.conformance import Subject


def subject_of(cell: Cell, entry: Entry, size: Mapping[str, Any]) -> Subject:
    """A model as it would be built for a cell's longest input."""
    probe = Probe(n_samples=1, recipe=cell.protocol.recipes[0])
    source = source_of(cell.trial(cell.joint, cell.seeds[0], probe))
    return Subject(entry=entry, size=size, vocab_size=source.vocab_size(), max_len=source.width())


def subjects(model_names: Sequence[str], protocol_name: str, task_name: str) -> list[Subject]:
    """The models at a protocol's size, for a task's longest input under any supervision."""
    protocol, task = protocols.load(protocol_name), tasks[task_name]
    params, lengths = task_preset(task, protocol)
    source = Source(
        task=made(task, params, lengths),
        supervision="cot",
        lengths=tuple(lengths),
        max_validation=protocol.training.max_validation,
        max_validation_fraction=protocol.training.max_validation_fraction,
    )
    return [
        Subject(
            entry=models[name],
            size=models[name].preset(protocol.presets),
            vocab_size=source.vocab_size(),
            max_len=source.width(),
        )
        for name in dict.fromkeys(model_names)
    ]


def all_subjects(
    protocol_name: str, task_name: str
) -> tuple[list[Subject], dict[str, KbenchError]]:
    """Every registered model, and why those left out are: a broken plug-in concerns no other."""
    subjects([], protocol_name, task_name)  # a wrong protocol or task is no fault of the models
    found, left_out = [], {}
    for name in models.names():
        try:
            found += subjects([name], protocol_name, task_name)
        except KbenchError as error:
            left_out[name] = error
    return found, left_out
