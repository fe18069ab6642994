"""Runs the trials of experiments that a store does not have yet, by the ordinary training loop."""

import time
from collections.abc import Callable, Sequence

from kbench.reproduce.results import Run
from kbench.study.executors import Executor
from kbench.study.store import Store
from kbench.trial import Trial


def run(
    trials: Sequence[Trial],
    store: Store,
    executor: Executor,
    stopping: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Train what is not in the store; each finished trial is stored at once.

    Returns when all are, or when `stopping` says so. A trial that breaks down is told of and left
    out: the next call tries it again.
    """
    left = [trial for trial in trials if store.get(trial.key()) is None]
    under_way, begun = 0, time.monotonic()
    while (left or under_way) and not stopping():
        while left and executor.idle and not stopping():
            executor.submit([left.pop(0)])
            under_way += 1
        for finished in executor.finished():
            under_way -= 1
            said = f"{finished.trial.protocol} {finished.trial.model} seed {finished.trial.seed}"
            if finished.result is None:
                say(f"{said}: left out, {finished.error}")
                continue
            store.put(finished.trial, finished.result)
            minutes = (time.monotonic() - begun) / 60
            say(
                f"{said}: {finished.result.reason} after {finished.result.steps:,} steps; "
                f"{len(left) + under_way} left, {minutes:.0f} min so far"
            )


def stored(trials: Sequence[Trial], store: Store) -> dict[str, Run]:
    """What a store has of these trials, by key."""
    found = ((trial, store.get(trial.key())) for trial in trials)
    return {trial.key(): Run.of(trial, result) for trial, result in found if result}
