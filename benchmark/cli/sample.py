"""`kbench sample`: what a task looks like."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from kbench.cli import completion
from kbench.cli.console import out
from kbench.cli.options import HoldOutOption, ProtocolOption, SetOption, SupervisionOption
from kbench.errors import KbenchError, unknown
from kbench.study.parameters import made_task, settings_from
from kbench.study.request import PROTOCOL, share_of_pairs

if TYPE_CHECKING:
    import numpy as np

    from kbench.tasks import Task

SHOWN = 12
"""Pairs held out that are named."""


def sample(
    task: Annotated[
        str,
        typer.Option(
            "--task", autocompletion=completion.tasks, help="Task, or path/to/file.py:Class."
        ),
    ],
    length: Annotated[
        int | None, typer.Option("--length", help="Length. Default: the task's longest.")
    ] = None,
    supervision: SupervisionOption = None,
    count: Annotated[int, typer.Option("--count", help="Samples of each.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Whose order they come in.")] = 1,
    protocol: ProtocolOption = PROTOCOL,
    set_: SetOption = None,
    hold_out_pairs: HoldOutOption = None,
) -> None:
    """Print samples as a model reads them, with its targets below.

    With --hold-out-pairs, which pairs those are, and validation samples with the targets that a
    model is judged by.
    """
    from kbench.data.pairs import held_out_of
    from kbench.data.splits import answer_counts, chance, digits_at, permuted, stream, universe
    from kbench.data.supervision import IGNORE, SUPERVISIONS, laid_out, read_before, steps_of
    from kbench.registry import tasks
    from kbench.report.format import parameters_text
    from kbench.tasks import NONE
    from kbench.trial import canonical_json

    if count < 1:
        raise KbenchError(f"--count is a number of samples, at least 1, got {count}")
    if seed < 0:
        raise KbenchError(f"--seed must be at least 0, got {seed}")
    if length is not None and length < 1:
        raise KbenchError(f"--length must be at least 1, got {length}")
    for name in supervision or ():
        if name not in SUPERVISIONS:
            raise unknown("supervision", name, SUPERVISIONS)
    made, parameters, lengths = made_task(task, protocol, settings_from(set_ or ()), length)
    n = lengths[-1]
    there_are, answers = universe(made, n), answer_counts(made, n)
    out.print(
        f"{task} {parameters_text(parameters)}".rstrip() + f", length {n}",
        style="bold",
        highlight=False,
    )
    size = f"{there_are:,}" if there_are < 10**15 else f"about 10^{math.log10(there_are):.0f}"
    out.print(
        f"{size} samples in all; {len(answers)} different answers, "
        f"the best constant one is right in {chance(made, n):.3g} of all",
        highlight=False,
    )
    held_out = None
    if (share := share_of_pairs(hold_out_pairs)) is not None:
        version = tasks[task].version
        held_out = held_out_of(task, version, canonical_json(parameters), share)
        is_held = held_out.whole(n)
        pairs = ", ".join(map(held_out.text, held_out.pairs[:SHOWN]))
        more = ", …" if len(held_out.pairs) > SHOWN else ""
        out.print(
            f"{len(held_out.pairs)} of {held_out.of} pairs held out, after their state: {pairs}"
            f"{more}\n{held_out.sizes([n])[n]:,} samples hold one, for validation; the other "
            f"{(~is_held).sum():,} are for training",
            highlight=False,
        )
        order = permuted(made, n, seed)
        digits = digits_at(made, n, order[is_held[order]][:count])
    else:
        digits = stream(made, n, seed, min(count, there_are))
    steps = steps_of(made, digits, n)
    for way in dict.fromkeys(supervision or SUPERVISIONS):
        out.print(f"\n{way}", style="bold", highlight=False)
        rows = laid_out(way, steps, made.vocab_size)
        start = read_before(way, steps, held_out.first(steps)) if held_out else [0] * len(digits)
        for tokens, targets, t in zip(rows.tokens, rows.targets.copy(), start, strict=True):
            targets[:t] = IGNORE
            is_there = tokens != NONE
            _print(made, tokens[is_there], targets[is_there])


def _print(task: "Task", tokens: "np.ndarray", targets: "np.ndarray") -> None:
    """One sample, each target below the token at which it is asked for."""
    from kbench.data.supervision import IGNORE

    def name(token: int) -> str:
        return "=" if token == task.vocab_size else task.token_name(token)

    read = ["read  ", *map(name, tokens.tolist())]
    asked = ["target", *("" if t == IGNORE else name(t) for t in targets.tolist())]
    widths = [max(map(len, column)) for column in zip(read, asked, strict=True)]
    start = 1
    while start < len(read):
        line, end = widths[0], start
        while end < len(read) and (end == start or line + 1 + widths[end] <= out.width):
            line += 1 + widths[end]
            end += 1
        for row in (read, asked):
            cells = zip([row[0], *row[start:end]], [widths[0], *widths[start:end]], strict=True)
            text = " ".join(f"{cell:>{width}}" for cell, width in cells).rstrip()
            out.print(text, highlight=False, soft_wrap=True)
        start = end
