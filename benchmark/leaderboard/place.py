"""What a cell is called on a leaderboard: where its entry lies, and what measures it again.

All of it follows from the cell's settings; nothing is taken from an entry.
"""

import re
import shlex
from pathlib import PurePosixPath
from typing import Any

from kbench.errors import KbenchError
from kbench.protocol import word_for
from kbench.registry import tasks
from kbench.study.cell import Cell
from kbench.study.parameters import lengths_text, preset_of
from kbench.study.request import backend_options
from kbench.trial import digest


def location(cell: Cell) -> PurePosixPath:
    """Where the entry of a cell belongs, below `leaderboards/`.

    <protocol>/<task>/<supervision>/<model>.json. Raises KbenchError for a name that makes no file
    name.
    """
    return PurePosixPath(
        cell.protocol.id, task_label(cell), cell.supervision, f"{model_label(cell)}.json"
    )


def task_label(cell: Cell) -> str:
    """The task, and what differs from its preset: `modadd`, `modadd.m-5.2-8`, `modadd.4+6+10`,
    `automaton.regex-5b6c3da0c1d1`.

    Raises KbenchError for a cell that is on no board.
    """
    if cell.hold_out_pairs is not None:
        raise KbenchError("boards do not mix splits: none has cells with --hold-out-pairs")
    task = tasks[cell.task]
    preset = preset_of(task, cell.protocol) if task.presets else {}
    first, last = preset.pop("lengths", (0, 0))
    # A parameter that has its default is left out of the cell's.
    usual = {p.name: p.default for p in task.parameters().values()} | preset
    parts = [_setting(k, v) for k, v in sorted(cell.task_params.items()) if usual.get(k) != v]
    if cell.lengths != tuple(range(first, last + 1)):
        parts.append(lengths_text(cell.lengths, comma="+"))
    return _file_name(cell.task, *parts)


def model_label(cell: Cell) -> str:
    """The model, with a backend or a distribution of lengths where it has one: `lstm`,
    `mamba.mamba-ssm`, `lstm.short-to-long`.

    `own.mean.Mean` for `zoo/mean.py:Mean`: registered names have no dot, so nobody's own model
    takes the place, or the name, of one of these.
    """
    file, _, own = cell.model.partition(".py:")
    stem = f"own.{file.rpartition('/')[2]}.{own}" if own else cell.model
    backend = () if cell.backend == "torch" else (cell.backend,)
    distribution = (cell.distribution,) if cell.distribution else ()
    return _file_name(stem, *backend, *distribution)


def is_own(cell: Cell) -> bool:
    """Is the model in a file of somebody's own? Such a name must never reach the registry, which
    would load the file."""
    return ".py" in cell.model


def command(cell: Cell) -> str:
    """What measures the cell: written from its settings, never taken from an entry."""
    words = ["kbench", "run", "--model", cell.model, "--task", cell.task]
    words += ["--supervision", cell.supervision, "--protocol", word_for(cell.protocol.id)]
    task = tasks[cell.task]
    preset = preset_of(task, cell.protocol) if task.presets else {}
    first, last = preset.pop("lengths", (0, 0))
    if cell.lengths != tuple(range(first, last + 1)):
        words += ["--lengths", lengths_text(cell.lengths)]
    for name, value in cell.task_params.items():
        if preset.get(name) != value:
            words += ["--set", f"{name}={value}"]
    if cell.seeds != cell.protocol_seeds:
        words += ["--seeds", str(len(cell.seeds))]
    if cell.distribution:
        words += ["--distribution", cell.distribution]
    if cell.hold_out_pairs is not None:
        words += ["--hold-out-pairs", f"{cell.hold_out_pairs:g}"]
    if cell.extrapolate:
        words += ["--extrapolate", ",".join(map(str, cell.extrapolate))]
    return shlex.join([*words, *backend_options(cell.model, cell.backend)])


def _setting(name: str, value: Any) -> str:
    """`m-5`; of a value that is long, or of other characters than names have, a digest."""
    text = str(value)
    is_plain = re.fullmatch(r"[A-Za-z0-9_+-]([A-Za-z0-9._+-]*[A-Za-z0-9_+-])?", text)
    return f"{name}-{text if is_plain and len(text) <= 20 else digest(value)[:12]}"


def _file_name(*parts: str) -> str:
    text = ".".join(parts)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", text) or ".." in text or len(text) > 120:
        raise KbenchError(f"{text!r} makes no file name")
    return text
