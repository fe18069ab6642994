"""What to measure, in the names that a person writes: the one way from names to cells.

The command line and the Python API both start here, so an option has its default, its help text and
its check in one place. Importing this loads neither torch nor numpy.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kbench.errors import KbenchError, unknown

if TYPE_CHECKING:
    from kbench.registry import Entry
    from kbench.study.cell import Cell

PROTOCOL, DEVICE, BACKEND, STORE = "quick", "cpu", "auto", ".kbench"

HELP = {
    "model": "Model, or path/to/file.py:Class; repeatable.",
    "task": "Task, or path/to/file.py:Class; repeatable.",
    "supervision": "outcome, cot or aligned; repeatable. Default: all.",
    "protocol": "quick, cpu, paper, or a YAML file of your own.",
    "lengths": "First and last length, as in 2-7, or several, as in 4,6,10. Default: the task's.",
    "set": "A task parameter, as in m=5; repeatable.",
    "seeds": "Number of seeds. Default: the protocol's, which may add some while κ is open.",
    "distribution": "fixed, uniform or short-to-long: N* over all lengths together under this "
    "distribution, in training and validation alike, without κ; repeatable.",
    "hold-out-pairs": "The share of pairs of updates, each after its state, that training never "
    "sees and every validation sample holds, as in 0.1.",
    "extrapolate": "Test what the joint search trained at other lengths, as in 2x,4x,500.",
    "match": "`params`: rescale widths to the reference's parameter count within 5 %.",
    "reference": "Model to match. Default: the first --model.",
    "device": "cpu or cuda.",
    "backend": "torch, numba (CPU), mamba-ssm (CUDA), or auto: a kernel where the model has one.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A question to kbench, not yet checked: `cells()` checks it and says what is to be measured.

    >>> request = Request.of(model="lstm", task="modadd", supervision="aligned", lengths=(2, 4))
    >>> [cell.lengths for cell in request.cells()]
    [(2, 3, 4)]
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    supervisions: tuple[str, ...] = ()
    """All where none is named."""
    protocol: str = PROTOCOL
    lengths: tuple[int, ...] | str | None = None
    task_params: Mapping[str, Any] = field(default_factory=dict)
    """Of the tasks, by name; texts are read as the command line reads them."""
    seeds: int | None = None
    distributions: tuple[str, ...] = ()
    hold_out_pairs: float | None = None
    extrapolate: Sequence[int | str] | int | str | None = None
    match: str | None = None
    reference: str | None = None
    device: str = DEVICE
    backend: str = BACKEND

    @classmethod
    def of(
        cls,
        *,
        model: str | Sequence[str],
        task: str | Sequence[str],
        supervision: str | Sequence[str] | None = None,
        protocol: str = PROTOCOL,
        lengths: tuple[int, ...] | str | None = None,
        task_params: Mapping[str, Any] | None = None,
        seeds: int | None = None,
        distribution: str | Sequence[str] | None = None,
        hold_out_pairs: float | None = None,
        extrapolate: Sequence[int | str] | int | str | None = None,
        match: str | None = None,
        reference: str | None = None,
        device: str = DEVICE,
        backend: str = BACKEND,
    ) -> "Request":
        """From one name or several; raises KbenchError for what is of another kind."""
        if not isinstance(task_params or {}, Mapping):
            raise KbenchError(f"task_params is a mapping, as in {{'m': 5}}, got {task_params!r}")
        if not isinstance(lengths, tuple | list | str | None):
            raise KbenchError(
                f"lengths is a first and a last length, as in (2, 7), got {lengths!r}"
            )
        if not isinstance(extrapolate, int | str | list | tuple | None):
            raise KbenchError(f"extrapolate is lengths, as in ['2x', 500], got {extrapolate!r}")
        return cls(
            models=_names("model", model),
            tasks=_names("task", task),
            supervisions=_names("supervision", supervision),
            protocol=_text("protocol", protocol),
            lengths=tuple(lengths) if isinstance(lengths, list) else lengths,
            task_params=dict(task_params or {}),
            seeds=whole("seeds", seeds),
            distributions=_names("distribution", distribution),
            hold_out_pairs=share_of_pairs(hold_out_pairs),
            extrapolate=extrapolate,
            match=match and _text("match", match),
            reference=reference and _text("reference", reference),
            device=_text("device", device),
            backend=_text("backend", backend),
        )

    def cells(self, *, here: bool = True, causal: bool = True) -> "list[Cell]":
        """Every model on every task under every supervision; raises KbenchError for bad input.

        With `here` false they have been measured, and this machine need not have the backend; with
        `causal` false whoever asks says himself where a model of one's own looks ahead.
        """
        from kbench import protocol as protocols
        from kbench.data.contract import made
        from kbench.data.splits import DISTRIBUTIONS
        from kbench.data.supervision import SUPERVISIONS
        from kbench.registry import models, tasks
        from kbench.study.parameters import (
            beyond,
            but_defaults,
            lengths_of,
            settings_of,
            task_preset,
        )

        # What costs nothing to check comes first, the models, which import torch, last.
        protocol = protocols.load(self.protocol)
        for kind, names, known in (
            ("supervision", self.supervisions, SUPERVISIONS),
            ("distribution", self.distributions, DISTRIBUTIONS),
        ):
            for name in names:
                if name not in known:
                    raise unknown(kind, name, known)
        if self.seeds is not None and self.seeds < 1:
            raise KbenchError(f"--seeds is a number of seeds, at least 1, got {self.seeds}")
        if self.match not in (None, "params"):
            raise unknown("--match", self.match, ["params"])
        if self.reference and not self.match:
            raise KbenchError("--reference is the model for --match params, which is not given")
        span = lengths_of(self.lengths) if self.lengths else None
        task_entries = [tasks[name] for name in once(self.tasks)]
        changes = settings_of(self.task_params, task_entries)
        params, spans, tested = {}, {}, {}
        for task in task_entries:
            preset, own_span = task_preset(task, protocol, span)
            spans[task.name] = own_span
            tested[task.name] = beyond(self.extrapolate, own_span[-1]) if self.extrapolate else ()
            params[task.name] = but_defaults(task, preset | changes[task.name])
            made(task, params[task.name], spans[task.name] + tested[task.name])
        model_entries = [models[name] for name in once(self.models)]
        backends = _backends(model_entries, self.backend, self.device, here)

        from kbench.study.cell import Cell
        from kbench.study.executors.local import one_thread
        from kbench.study.subjects import subject_of
        from kbench.training.conformance import ensure_usable, not_lengthened

        cells = [
            Cell.of(
                model=model.name,
                backend=backends[model.name],
                task=task.name,
                task_params=params[task.name],
                supervision=supervision,
                protocol=protocol,
                lengths=spans[task.name],
                seeds=protocol.seeds.values(
                    self.seeds or (protocol.seeds.count if distribution else None)
                ),
                distribution=distribution,
                hold_out_pairs=self.hold_out_pairs,
                extrapolate=tested[task.name],
            )
            for task in task_entries
            for model in model_entries
            for supervision in once(self.supervisions or SUPERVISIONS)
            for distribution in once(self.distributions or [None])
        ]
        with one_thread():
            if self.match:
                like = models[self.reference or self.models[0]]
                cells = [_matched(cell, like) for cell in cells]
            for cell in cells:
                subject = subject_of(cell, models[cell.model], cell.size)
                ensure_usable(subject, causal=causal)
                if cell.extrapolate and (reason := not_lengthened(subject)):
                    raise KbenchError(f"--extrapolate: model {cell.model}: {reason}")
        return cells


def look_over_device(device: str, here: bool = True) -> None:
    """Raise KbenchError unless there is such a device, and with `here`, torch can train on it."""
    import torch

    if device not in ("cpu", "cuda"):
        raise unknown("device", device, ["cpu", "cuda"])
    if device == "cuda" and here and not torch.cuda.is_available():
        raise KbenchError("--device cuda: torch sees no CUDA device here")


def _backends(entries: "Sequence[Entry]", wanted: str, device: str, here: bool) -> dict[str, str]:
    """The backend of each model; one that does not have the backend wanted keeps plain torch."""
    from kbench.ops.backends import BACKENDS, missing
    from kbench.training.modules import backends

    look_over_device(device, here or wanted == "auto")
    if wanted == "auto":
        able = {e.name: [b for b in backends(e) if not missing(b, device)] for e in entries}
        return {name: found[-1] for name, found in able.items()}
    if wanted not in BACKENDS:
        raise unknown("backend", wanted, ["auto", *BACKENDS])
    if here and (reason := missing(wanted, device)):
        raise KbenchError(f"--backend {wanted}: {reason}")
    chosen = {e.name: wanted if wanted in backends(e) else "torch" for e in entries}
    if wanted not in chosen.values():
        raise KbenchError(f"--backend {wanted}: none of {', '.join(chosen)} has it")
    return chosen


def backend_options(model: str, backend: str) -> list[str]:
    """What asks `kbench run` for this backend; nothing where the model has no other."""
    from kbench.registry import models
    from kbench.training.modules import backends

    if model not in models.names() or len(backends(models[model])) == 1:
        return []
    device = ["--device", "cuda"] if backend == "mamba-ssm" else []
    return ["--backend", backend, *device]


def _matched(cell: "Cell", reference: "Entry") -> "Cell":
    """The cell with its model as wide as makes it as large as the reference."""
    from kbench.registry import models
    from kbench.study.subjects import subject_of
    from kbench.training.conformance import ensure_usable
    from kbench.training.modules import match_parameters, parameter_count

    like = subject_of(cell, reference, reference.preset(cell.protocol.presets))
    ensure_usable(like)
    if cell.model == reference.name:
        return cell
    target = parameter_count(like.model())
    size = match_parameters(models[cell.model], cell.size, target, like.vocab_size, like.max_len)
    return dataclasses.replace(cell, size=size)


def once(names: Any) -> list[Any]:
    """Each name once, in the order given."""
    return list(dict.fromkeys(names))


def _names(what: str, given: Any) -> tuple[str, ...]:
    """One name or several."""
    if given is None and what in ("supervision", "distribution"):
        return ()
    several = [given] if isinstance(given, str | type) else given
    if not isinstance(several, list | tuple):
        raise KbenchError(f"{what} is a name or a list of names, got {given!r}")
    if not several:
        raise KbenchError(f"{what}: no name is given (`kbench list {what}s` shows them)")
    return tuple(_text(what, name) for name in several)


def _text(what: str, given: Any) -> str:
    if isinstance(given, type):
        raise KbenchError(
            f"{what} {given.__name__}: a class is named by its file, so that workers can load it: "
            f"save it, and write 'path/to/file.py:{given.__name__}'"
        )
    if not isinstance(given, str):
        raise KbenchError(f"{what} must be a text, got {given!r}")
    return given


def share_of_pairs(given: Any) -> float | None:
    """A share or None; raises KbenchError for anything else."""
    if given is None or (type(given) is float and 0 < given < 1):
        return given
    raise KbenchError(f"--hold-out-pairs is a share between 0 and 1, as in 0.1, got {given!r}")


def whole(what: str, given: Any) -> int | None:
    """A whole number or None; raises KbenchError for anything else."""
    if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
        raise KbenchError(f"{what} must be a whole number, got {given!r}")
    return given
