"""What a run has measured, handed on while it runs: TensorBoard, Weights & Biases or your own.

A callback hears of every trial when it ends, and of every cell when it is complete. What it gets is
frozen, so it can change no result. Without callbacks a run does nothing for them.
"""

import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from kbench.errors import KbenchError, one_line, unknown
from kbench.report.document import Median, Result, Settings, TrialRow, plain, result_of
from kbench.report.format import lengths_words, parameters_text
from kbench.report.readings import settings, trial_row
from kbench.study.driver import Progress, Results
from kbench.trial import Trial, TrialResult


@runtime_checkable
class Callback(Protocol):
    """What hears of a run; any class with these three methods is one.

    They are called in the process that starts the run, one at a time. A callback that raises is
    named in one line and not called again; the run continues.

    >>> class Printer:
    ...     def on_trial(self, settings, trial):
    ...         print(settings.model, trial.n_samples, trial.outcome)
    ...     def on_result(self, result):
    ...         print(result.model, result.verdict)
    ...     def close(self):
    ...         pass
    >>> isinstance(Printer(), Callback)
    True
    """

    def on_trial(self, settings: Settings, trial: TrialRow) -> None:
        """A trial of the cell with these settings has ended; `trial.curve` has its losses.

        Trials that were in the store already are not told. Speculative ones are.
        """

    def on_result(self, result: Result) -> None:
        """A cell is complete; `result.trials` has all its trials, those from the store too."""

    def close(self) -> None:
        """The run is over, complete or stopped; called once."""


class Callbacks:
    """Several callbacks of one run, of which none can end it."""

    def __init__(self, callbacks: Sequence[Callback], say: Callable[[str], None]) -> None:
        self._heeded, self._say = list(callbacks), say
        self._told: set[int] = set()

    def trial(self, progress: Progress, trial: Trial, result: TrialResult) -> None:
        """A trial has ended; one that broke down is told by nobody."""
        if result.outcome == "error":
            return
        cell = Settings.model_validate(settings(progress.run))
        row = TrialRow.model_validate(trial_row(trial, result))
        self._each(lambda callback: callback.on_trial(cell, row))

    def cell(self, progress: Progress, trials: Results) -> None:
        """Something new is known of a cell: told once, when it is complete."""
        if not self._heeded or not progress.run.complete or id(progress) in self._told:
            return
        self._told.add(id(progress))
        result = result_of(progress, trials)
        self._each(lambda callback: callback.on_result(result))

    def __enter__(self) -> "Callbacks":
        return self

    def __exit__(self, *error: object) -> None:
        self._each(lambda callback: callback.close())

    def _each(self, call: Callable[[Callback], None]) -> None:
        for callback in [*self._heeded]:
            try:
                call(callback)
            except Exception as error:
                self._heeded.remove(callback)
                name = type(callback).__name__
                self._say(f"{name} failed ({one_line(error)}) and is left out from here on")


class TensorBoard:
    """Writes event files for TensorBoard: a run for each trial, and one for each result.

    A trial's run has `validation_loss` by step. A result's run has κ, N* and their intervals by
    length, and the whole result as text. What is in the folder already is not written again.

    Raises:
        KbenchError: where the package tensorboard is missing.
    """

    def __init__(self, folder: str | Path = "runs") -> None:
        module = _imported("torch.utils.tensorboard", "tensorboard")
        self._writer, self._folder = module.SummaryWriter, Path(folder)

    def on_trial(self, settings: Settings, trial: TrialRow) -> None:
        """Write the learning curve."""
        self._write(_cell_name(settings), trial)

    def on_result(self, result: Result) -> None:
        """Write the readings, and the curves of trials from the store."""
        for trial in result.trials:
            self._write(_cell_name(result), trial)
        folder = self._new(_cell_name(result), f"result-{result.trials_behind.digest[:8]}")
        if folder:
            with self._writer(str(folder)) as writer:
                for name, length, value in _readings(result):
                    writer.add_scalar(name, value, length)
                content = json.dumps(plain(result) | {"trials": None}, indent=1, ensure_ascii=False)
                writer.add_text("result", f"```\n{content}\n```")

    def close(self) -> None:
        """Nothing is left open."""

    def _write(self, cell: str, trial: TrialRow) -> None:
        if trial.curve and (folder := self._new(cell, f"{_trial_name(trial)}-{trial.key[:8]}")):
            with self._writer(str(folder)) as writer:
                for step, loss in trial.curve:
                    writer.add_scalar("validation_loss", loss, int(step))

    def _new(self, *names: str) -> Path | None:
        """The run's folder, unless it is there."""
        folder = self._folder.joinpath(*(re.sub(r"[^\w.=+-]+", "_", name) for name in names))
        return None if folder.exists() else folder


class WandB:
    """Writes to Weights & Biases: a run for each cell, with its settings as the configuration.

    Learning curves are `validation_loss/…` by `step`. κ, N* and reach are in the run's summary.

    Raises:
        KbenchError: where the package wandb is missing.
    """

    def __init__(self, project: str = "kbench") -> None:
        self._wandb, self._project = _imported("wandb", "wandb"), project
        self._runs: dict[str, Any] = {}
        self._written: set[str] = set()
        self._done: set[str] = set()

    def on_trial(self, settings: Settings, trial: TrialRow) -> None:
        """Log the learning curve."""
        if _cell_name(settings) not in self._done:  # else a speculative trial, which nobody misses
            self._log(self._run(settings), trial)

    def on_result(self, result: Result) -> None:
        """Log curves of trials from the store, write the summary, and finish the run."""
        run, name = self._run(result), _cell_name(result)
        for trial in result.trials:
            self._log(run, trial)
        found = {f"{of}/{length}": value for of, length, value in _readings(result)}
        run.summary.update(found | {"verdict": result.verdict})
        self._runs.pop(name).finish()
        self._done.add(name)

    def close(self) -> None:
        """Finish the runs of cells that are not complete."""
        for run in self._runs.values():
            run.finish()

    def _run(self, settings: Settings) -> Any:
        name = _cell_name(settings)
        if name not in self._runs:
            names = Settings.model_fields
            run = self._wandb.init(
                project=self._project,
                name=name,
                config={k: v for k, v in settings.model_dump(mode="json").items() if k in names},
                reinit="create_new",
            )
            run.define_metric("validation_loss/*", step_metric="step")
            self._runs[name] = run
        return self._runs[name]

    def _log(self, run: Any, trial: TrialRow) -> None:
        if trial.key not in self._written:
            self._written.add(trial.key)
            for step, loss in trial.curve:
                run.log({"step": int(step), f"validation_loss/{_trial_name(trial)}": loss})


LOGS: dict[str, Callable[..., Callback]] = {"tensorboard": TensorBoard, "wandb": WandB}
"""What `--log` knows, and what stands after its colon: a folder, and a project."""


def callbacks_of(given: Sequence[Any]) -> list[Callback]:
    """Callbacks, or texts as `tensorboard`, `tensorboard:runs` and `wandb:project`.

    Raises:
        KbenchError: for a name that is not known, what is no callback, or a missing package.

    >>> callbacks_of(["tensorbord"])
    Traceback (most recent call last):
    kbench.errors.KbenchError: unknown log 'tensorbord'; did you mean 'tensorboard'? \
(known: tensorboard, wandb)
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise KbenchError(f"callbacks is a list of callbacks, got {given!r}")
    found: list[Callback] = []
    for one in given:
        if isinstance(one, str):
            kind, _, where = one.partition(":")
            if kind not in LOGS:
                raise unknown("log", kind, LOGS)
            found.append(LOGS[kind](where) if where else LOGS[kind]())
        elif isinstance(one, type) or not isinstance(one, Callback):
            raise KbenchError(
                f"a callback is an object with on_trial, on_result and close, got {one!r}"
            )
        else:
            found.append(one)
    return found


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise KbenchError(
            f"the package {package} is not installed: pip install {package}"
        ) from None


def _cell_name(settings: Settings) -> str:
    """Short, and with all that tells the cells of a run apart."""
    parts = (
        settings.model,
        f"{settings.task} {parameters_text(settings.task_params)}".rstrip(),
        settings.supervision,
        settings.distribution or "",
        f"n={lengths_words(settings.lengths)}",
        settings.protocol,
        settings.backend,
    )
    return " ".join(filter(None, parts))


def _trial_name(trial: TrialRow) -> str:
    recipe = trial.recipe or f"{trial.learning_rate:g}"
    lengths = lengths_words(trial.lengths).replace(" to ", "-")
    return f"n={lengths}_seed={trial.seed}_N={trial.n_samples}_{recipe}"


def _readings(result: Result) -> Iterator[tuple[str, int, float]]:
    """What can be drawn against the length: name, length and value."""
    found: dict[tuple[str, int], Median] = {
        ("n_star", int(n)): of.over_seeds for n, of in result.n_star.items() if n != "joint"
    }
    found["n_star_together", result.lengths[-1]] = result.n_star["joint"].over_seeds
    for last, together in result.by_length.items():
        found["n_star_together", int(last)] = together.n_star.over_seeds
        found["kappa", int(last)] = together.kappa.over_seeds
    if result.kappa:
        found["kappa", result.kappa.up_to] = result.kappa.over_seeds
    for (name, length), median in sorted(found.items()):
        for end in ("estimate", "low", "high"):
            if (value := getattr(median, end)) is not None:
                yield f"{name}/{end}", length, value
    if result.reach and result.reach.median is not None:
        yield "reach", result.lengths[-1], result.reach.median
