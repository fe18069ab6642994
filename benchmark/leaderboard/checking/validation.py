"""Is an entry what its trials say, and are its trials what they say they are?

Nothing from an entry is executed: models and tasks are those of this installation.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kbench.data.leaks import seen_prefixes
from kbench.data.splits import Source, chance
from kbench.errors import KbenchError, one_line
from kbench.leaderboard.checking.identity import Seen, initial_problems
from kbench.leaderboard.checking.plausibility import date_problems, environment_problems
from kbench.leaderboard.entry import Entry, Row, protocols_known, read, trial_of
from kbench.leaderboard.place import is_own, location
from kbench.leaderboard.submission import RESULTS, behind, not_clean, seeds_wanted
from kbench.provenance import source_sha256
from kbench.registry import Registry, models, tasks
from kbench.report.readings import result
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.driver import Progress
from kbench.training.member import validation_interval
from kbench.training.modules import backends
from kbench.trial import Trial, canonical_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is wrong with one file."""

    path: Path
    entry: Entry | None
    """None where it could not be read."""
    problems: tuple[str, ...]


def validate(paths: Iterable[Path], root: Path) -> Iterator[Verdict]:
    """Every file, checked against its own trials and the files before it.

    `root` is the folder of the leaderboards, to which the places of entries are relative.
    """
    seen = Seen()
    # A copy is more likely to be somebody's own than a registered model.
    for path in sorted(paths, key=lambda path: path.name.startswith("own.")):
        entry: Entry | None = None
        problems: list[str] = []
        try:
            entry = read(path)
            problems += _place_problems(location(entry.cell()), path, root)
            problems += _problems(entry)
            if not problems and (first := seen.like(entry, path)):
                problems.append(f"has the trials of {first} under another name")
        except KbenchError as error:
            problems.append(str(error))
        except Exception as error:  # one bad file must not end the others' check
            problems.append(f"cannot be looked at: {one_line(error)}")
        yield Verdict(path=path, entry=entry, problems=tuple(problems))


def _place_problems(place: PurePosixPath, path: Path, root: Path) -> Iterator[str]:
    """One place for one set of settings: what lies elsewhere is misplaced, or a duplicate."""
    absolute, base = path.absolute(), root.absolute()
    if absolute == base / place:
        return
    if (base / place).exists():
        yield f"is a duplicate of {place}: it has the same settings"
    else:
        there = absolute.relative_to(base) if absolute.is_relative_to(base) else absolute
        yield f"lies at {there}, its settings belong at {place}"


def _problems(entry: Entry) -> Iterator[str]:
    cell = entry.cell()
    # What rests on a part that is wrong is not looked at.
    if wrong := [*_setting_problems(entry, cell)]:
        yield from wrong
        return
    if wrong := [*_few(_row_problems(entry, cell))]:
        yield from wrong
        return
    run = entry.run()
    if not run.complete:
        yield (
            f"a trial is missing: {run.n_searches - run.n_done} of {run.n_searches} searches and "
            f"tests do not reach their end; the next one wants {describe(run.wanted()[0])}"
        )
        return
    wanted = {trial.key() for trial in behind(run)}
    extra = [row for row in entry.trials if trial_of(row, cell).key() not in wanted]
    if extra:
        yield from _few(f"no search asks for the trial at {describe(row)}" for row in extra)
        return
    computed = result(Progress(run=run))
    stated = entry.results.model_dump() if entry.results else computed
    for name in RESULTS:
        yield from _few(_differences(name, stated[name], computed[name]))
    for test in computed["extrapolation"]:
        if test["reproduced"] is False and len(entry.environments) == 1:
            yield f"the test of seed {test['seed']} ended unlike the search's own run"
    yield from _few(_data_problems(entry.trials, cell))
    if not is_own(cell) and models[cell.model].version == cell.model_version:
        yield from _few(initial_problems(entry, cell))


def _few(problems: Iterable[str], most: int = 3) -> Iterator[str]:
    """The first few, and whether there are more."""
    found = iter(problems)
    yield from itertools.islice(found, most)
    if next(found, None):
        yield "… and more of this kind"


def _setting_problems(entry: Entry, cell: Cell) -> Iterator[str]:
    settings = entry.settings
    yield from _version_problems(entry, "task", tasks, settings.task, settings.task_version)
    if is_own(cell):
        yield from _own_model_problems(entry)
        known: Sequence[str] = ("torch",)
    else:
        known = backends(models[settings.model])
        yield from _version_problems(entry, "model", models, settings.model, settings.model_version)
        preset = models[settings.model].preset(cell.protocol.presets)
        if canonical_json(settings.size) != canonical_json(preset):  # 1, 1.0 and true are three
            yield f"model {settings.model}: its size is {settings.size}, the preset is {preset}"
        if entry.source is not None:
            yield f"has a source, though {settings.model} is not a file of one's own"
    if settings.backend not in known:
        yield f"backend {settings.backend!r} is none of the model's ({', '.join(known)})"
    wanted = seeds_wanted(cell)
    if cell.seeds != wanted:
        yield f"seeds are {list(cell.seeds)}, {cell.protocol.id} has {list(wanted)}"
    if list(cell.lengths) != sorted(set(cell.lengths)):
        yield f"lengths are {list(cell.lengths)}, expected each once, the shortest first"
    if cell.distribution is None and 2 * cell.lengths[-1] not in cell.extrapolate:
        yield f"was not tested at twice the longest length, {2 * cell.lengths[-1]}"
    yield from date_problems(entry)
    yield from _few(environment_problems(entry))
    for environment in entry.environments:
        if problem := not_clean(environment):
            yield problem


def _version_problems(
    entry: Entry, kind: str, registry: Registry, name: str, version: int | str
) -> Iterator[str]:
    registered = registry[name]
    if registered.version == version:
        digest = source_sha256(registry, name, version)
    elif isinstance(version, int) and version in registered.earlier:
        digest = registered.earlier[version]
    else:
        yield f"{kind} {name}: measured in version {version}, here it is {registered.version}"
        return
    for other in sorted({str(e.get(f"{kind}_source")) for e in entry.environments} - {digest}):
        yield (
            f"{kind} {name}: measured with source {other[:19]}…, version {version} is "
            f"{digest[:19]}…"
        )


def _own_model_problems(entry: Entry) -> Iterator[str]:
    """A model's own file is in the entry, and is the one whose digest is in every trial's key."""
    settings = entry.settings
    if entry.source is None:
        yield f"model {settings.model}: its source is missing"
        return
    digest = f"sha256:{hashlib.sha256(entry.source.encode()).hexdigest()}"
    if settings.model_version != digest:
        yield (
            f"model {settings.model}: the digest of its source is {digest[:19]}…, not "
            f"{str(settings.model_version)[:19]}…"
        )


def _row_problems(entry: Entry, cell: Cell) -> Iterator[str]:
    """Trials that cannot have ended as they say."""
    training, seen = cell.protocol.training, Counter[str]()
    for row in entry.trials:
        if row.environment >= len(entry.environments):
            yield f"the trial at {describe(row)} names environment {row.environment}"
            continue
        trial = trial_of(row, cell)
        key = trial.key()
        seen[key] += 1
        if seen[key] == 2:
            yield f"the trial at {describe(trial)} is there twice"
        if row.result({}).digest(key) != row.digest:
            yield _why_digest(row, trial, cell)
            continue
        passed = row.best_loss is not None and row.best_loss < training.eps
        if (row.outcome == "passed") != passed or passed != (row.reason == "success"):
            yield (
                f"the trial at {describe(trial)} {row.outcome} by {row.reason} with a loss of "
                f"{row.best_loss}, ε is {training.eps:g}"
            )
        fits = 0 <= row.best_step <= row.steps <= training.steps and row.steps > 0
        # A run looks at its validation loss at certain steps, and ends at one of them.
        interval = _interval(cell, trial)
        fits = fits and all(
            n % interval == 0 or n == training.steps for n in (row.steps, row.best_step)
        )
        if row.reason == "success":
            fits = fits and row.best_step == row.steps
        elif row.reason == "budget":
            fits = fits and row.steps == training.steps
        elif row.reason == "futility":
            fits = fits and training.futility is not None
            fits = fits and row.steps > (training.futility.shortest if training.futility else 0)
        if not fits or (row.best_loss is not None and row.best_loss <= 0):
            yield (
                f"the trial at {describe(trial)} cannot have ended by {row.reason} after "
                f"{row.steps} steps, with the best loss, {row.best_loss}, at {row.best_step}"
            )
        if row.failure is not None and row.failure not in _reasons(row, training.eps):
            yield (
                f"the trial at {describe(trial)} cannot be {row.failure}, having ended by "
                f"{row.reason} with a training loss of {row.training_loss}"
            )
        if row.accuracy.keys() != {str(n) for n in row.tested}:
            yield f"the trial at {describe(trial)} has accuracies at {[*row.accuracy]}"
            continue
        for n in row.tested:
            if row.accuracy[str(n)].chance != _chance(cell, n):
                yield f"the trial at {describe(trial)} has a wrong level of chance at length {n}"


def _interval(cell: Cell, trial: Trial) -> int:
    """Steps between the validations of a trial."""
    n_validation = cell.shares(trial.lengths).n_validation
    return validation_interval(n_validation, min(trial.recipe.batch_size, trial.n_samples))


def _reasons(row: Row, eps: float) -> Sequence[str]:
    """Why a run may have failed that ended like this."""
    if row.reason in ("success", "diverged"):
        return ["diverged"] if row.reason == "diverged" else []
    if row.training_loss is None or row.training_loss < 0:
        return []
    if row.training_loss < eps:
        return ["memorised"]
    # Ended by futility it may have been on its way.
    return ["unfit", "memorised"] if row.reason == "futility" else ["unfit"]


def _chance(cell: Cell, n: int) -> float:
    return _chance_of(cell.task, canonical_json(cell.task_params), n)


@functools.cache
def _chance_of(task: str, params: str, n: int) -> float:
    return chance(tasks[task].cls(**json.loads(params)), n)


def _why_digest(row: Row, trial: Trial, cell: Cell) -> str:
    for other in protocols_known().values():
        as_other = trial_of(row, dataclasses.replace(cell, protocol=other))
        if row.result({}).digest(as_other.key()) == row.digest:
            return f"the trial at {describe(trial)} ran under {other.id}, not {cell.protocol.id}"
    return (
        f"the trial at {describe(trial)} was edited, or ran under other settings: its digest "
        f"is {row.digest[:12]}…, its content gives {row.result({}).digest(trial.key())[:12]}…"
    )


def _differences(where: str, stated: Any, computed: Any) -> Iterator[str]:
    """Every leaf in which the stated results are not those of the trials."""
    if isinstance(stated, Mapping) and isinstance(computed, Mapping):
        for key in sorted(stated.keys() | computed.keys()):
            yield from _differences(f"{where}.{key}", stated.get(key), computed.get(key))
    elif isinstance(stated, list) and isinstance(computed, list) and len(stated) == len(computed):
        for i, (mine, theirs) in enumerate(zip(stated, computed, strict=True)):
            yield from _differences(f"{where}.{i}", mine, theirs)
    elif stated != computed:
        yield f"{where} is {_short(stated)}, its trials give {_short(computed)}"


def _short(value: Any) -> str:
    return str(value)[:80]


def _data_problems(rows: Sequence[Row], cell: Cell) -> Iterator[str]:
    """Trials whose data sets are not those of their seed, made again."""
    training = cell.protocol.training
    for row in rows:
        lengths = tuple(row.lengths)
        train, validation, histogram, seen = _data(
            cell.task, canonical_json(cell.task_params), cell.supervision, lengths,
            cell.over(lengths), training.max_validation, training.max_validation_fraction,
            row.n_samples, row.seed,
        )  # fmt: skip
        made = {"train": train, "validation": validation}
        for split, sha256 in made.items():
            if row.data_sha256.get(split) != sha256:  # type: ignore[call-overload]
                yield (
                    f"the trial at {describe(row)} has a {split} set of "
                    f"{row.data_sha256.get(split, '?')[:12]}…, its seed gives {sha256[:12]}…"  # type: ignore[call-overload]
                )
        if row.histogram != dict(histogram):
            yield f"the trial at {describe(row)} has another histogram of lengths than its seed"
        if row.seen_prefixes not in (None, seen):
            yield (
                f"the trial at {describe(row)} has seen_prefixes of {row.seen_prefixes}, its data "
                f"{seen}"
            )


@functools.lru_cache(maxsize=100_000)
def _data(
    task: str, params: str, supervision: str, lengths: tuple[int, ...],
    distribution: str, max_validation: int, fraction: float, n_samples: int, seed: int,
) -> tuple[str, str, tuple[tuple[str, int], ...], float]:  # fmt: skip
    """Digests of both splits, the histogram of training, what of validation training holds.

    Models share their data.
    """
    source = Source(
        task=tasks[task].cls(**json.loads(params)), supervision=supervision, lengths=lengths,
        distribution=distribution, max_validation=max_validation,
        max_validation_fraction=fraction,
    )  # fmt: skip
    train, validation = source.splits(n_samples, seed)
    histogram = tuple((str(n), count) for n, count in train.histogram.items())
    seen = round(seen_prefixes(train, validation), 4)
    return train.sha256(), validation.sha256(), histogram, seen


def nonconformity(cell: Cell) -> str | None:
    """What of the cell's registered model is not as `kbench check` wants it."""
    from kbench.data.splits import source_of
    from kbench.study.executors.local import one_thread
    from kbench.training.conformance import Subject, check

    source = source_of(cell.trial(cell.joint, cell.seeds[0], Probe(1, cell.protocol.recipes[0])))
    subject = Subject(
        entry=models[cell.model],
        size=cell.size,
        vocab_size=source.vocab_size(),
        max_len=min(source.width(), 128),  # more takes long, and shows nothing new
    )
    with one_thread():
        failed = [c for c in check(subject) if c.passed is False]
    return f"model {cell.model}: {failed[0].name}: {failed[0].detail}" if failed else None


def describe(trial: Row | Trial) -> str:
    """A trial among those of its entry, in words."""
    test = ", tested" if trial.tested else ""
    rate = trial.learning_rate if isinstance(trial, Row) else trial.recipe.learning_rate
    return (
        f"lengths {'+'.join(map(str, trial.lengths))}, seed {trial.seed}, N = {trial.n_samples}, "
        f"learning rate {rate:g}{test}"
    )
