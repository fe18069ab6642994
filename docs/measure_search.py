"""What the search saves: its steps against plain bisection's and the published procedure's.

    python docs/measure_search.py run quick curves/        (resumes; two workers)
    python docs/measure_search.py report quick curves/

`run` trains what plain bisection asks for on every cell below, and what the search of the protocol
asks for, each run to its full budget or its first success, and records the curves of training and
validation loss. `report` walks the searches over those curves and counts.
"""

import collections
import contextlib
import dataclasses
import json
import math
import multiprocessing
import sys
from functools import partial
from pathlib import Path

from measure_futility import curve, stopped

from kbench import protocol as protocols
from kbench.search import Bracket, Probe, Search, paper_path, size_grid
from kbench.sharing import best_of_grid
from kbench.study import Cell, CellRun, SeedSearch
from kbench.trial import TrialResult

PAPER = protocols.load("paper").search
MODELS, SUPERVISIONS = ("mamba", "transformer", "lstm"), ("cot", "outcome", "aligned")


def full_budget(protocol):
    return dataclasses.replace(
        protocol, training=dataclasses.replace(protocol.training, futility=None)
    )


def cells(protocol):
    from kbench.registry import tasks

    preset = dict(tasks["modadd"].preset(protocol.presets))
    first, last = preset.pop("lengths")
    for model in MODELS:
        for supervision in SUPERVISIONS:
            yield Cell.of(
                model=model,
                task="modadd",
                task_params=preset,
                supervision=supervision,
                protocol=protocol,
                lengths=tuple(range(first, last + 1)),
                seeds=protocol.seeds.values(),
            )


def bisection(sizes, broken=()):
    """Two neighbours among `sizes`, the smaller failing, the larger passing, by halving."""
    low, high = -1, len(sizes)
    while high - low > 1:
        middle = (low + high) // 2
        if (yield sizes[middle]):
            high = middle
        else:
            low = middle
    return Bracket(
        low=sizes[low] if low >= 0 else None, high=sizes[high] if high < len(sizes) else None
    )


def searches_by_bisection(cell):
    for lengths in (*cell.alone, cell.joint):
        for seed in cell.seeds:
            largest = SeedSearch(cell, lengths, None).largest
            sizes = size_grid(cell.protocol.search.resolution, largest)
            yield lengths, seed, Search(cell.protocol.learning_rates, partial(bisection, sizes))


def result_of(row, training, futility):
    """What the run would have come to, with or without the futility stop."""
    rule = (futility.patience, futility.slack, True) if futility else (float("inf"), 1.0, False)
    passed, steps = stopped(row["curve"], training, *rule)
    return TrialResult(
        outcome="passed" if passed else "failed",
        reason="", steps=steps, best_loss=min(loss for _, loss, _ in row["curve"]), best_step=0,
        histogram={}, data_sha256={}, wall_s=0.0, environment={},
    )  # fmt: skip


class Curves:
    """Full-budget curves of one cell, kept in a file, trained where one is missing."""

    def __init__(self, path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = {row["key"]: row for row in map(json.loads, lines)}

    def __call__(self, trial):
        training = dataclasses.replace(trial.training, futility=None)
        trial = dataclasses.replace(trial, training=training)
        if trial.key() not in self.rows:
            row = curve(trial)
            with self.path.open("a") as out:
                print(json.dumps(row), file=out)
            self.rows[trial.key()] = row
        return self.rows[trial.key()]


def walk(cell, curves):
    """The protocol's own search, one trial after the other; the cell's end."""
    run = CellRun(cell)
    while wanted := run.wanted():
        row = curves(wanted[0])
        run.tell(wanted[0], result_of(row, cell.protocol.training, cell.protocol.training.futility))
    return run


def bisect(cell, curves):
    """(lengths, seed) → bracket; steps where a run stops at its success, and of full budgets."""
    brackets, steps, full = {}, 0, 0
    for lengths, seed, search in searches_by_bisection(cell):
        while asked := search.ask():
            for rate in cell.protocol.learning_rates:
                probe = Probe(asked[0].n_samples, rate)
                row = curves(cell.trial(lengths, seed, probe))
                result = result_of(row, cell.protocol.training, None)
                search.tell(probe, result.outcome)
                steps += result.steps
                full += cell.protocol.training.steps
        brackets[lengths, seed] = search.bracket
    return brackets, steps, full


def file_of(cell, folder):
    return folder / f"{cell.model}-{cell.supervision}.jsonl"


def measure(folder, cell):
    curves = Curves(file_of(cell, folder))
    bisect(cell, curves)
    walk(dataclasses.replace(cell, protocol=full_budget(cell.protocol)), curves)
    walk(cell, curves)
    return f"{cell.model} {cell.supervision}: {len(curves.rows)} runs"


def run(protocol, folder):
    folder.mkdir(exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for line in pool.imap_unordered(partial(measure, folder), list(cells(protocol))):
            print(line, file=sys.stderr)


def paper_sizes(cell, lengths, brackets):
    """How many sizes the published procedure looks at; the fewer where a verdict is not known."""
    largest = SeedSearch(cell, lengths, None).largest
    passes = min((b.high for b in brackets if b.high), default=math.inf)
    fails = min(b.low or 0 for b in brackets)
    counts = []
    for unknown in (True, False):
        path, count = paper_path(largest, PAPER.multiplier, PAPER.max_sizes), 0
        with contextlib.suppress(StopIteration):
            size = next(path)
            while True:
                count += 1
                size = path.send(size >= passes or (size > fails and unknown))
        counts.append(count)
    return min(counts)


def steps_apart(ours, theirs, sizes):
    """By how many sizes of the grid two brackets differ; the largest size but one means that none
    passes."""

    def at(bracket):
        return len(sizes) if bracket.high is None else sizes.index(bracket.high)

    return abs(at(ours) - at(theirs))


def figures(cell, curves):
    """Steps of each procedure, and how far apart their N* are, by search and by best of grid."""
    plain, stopping, full = bisect(cell, curves)
    own = walk(cell, curves)
    grid_runs = len(cell.protocol.learning_rates) * len(cell.seeds)
    paper, by_search, by_best = 0, [], []
    for lengths in (*cell.alone, cell.joint):
        sizes = size_grid(cell.protocol.search.resolution, SeedSearch(cell, lengths, None).largest)
        theirs = [plain[lengths, seed] for seed in cell.seeds]
        ours = [own.searches[lengths, seed].search.bracket for seed in cell.seeds]
        paper += paper_sizes(cell, lengths, theirs) * grid_runs * cell.protocol.training.steps
        by_search += [steps_apart(a, b, sizes) for a, b in zip(ours, theirs, strict=True)]
        by_best.append(steps_apart(best_of_grid(ours), best_of_grid(theirs), sizes))
    ours = sum(ending.steps for ending in own.results.values())
    failing = sum(e.steps for e in own.results.values() if e.outcome == "failed")
    return {
        "ours": ours, "failing": failing, "stopping": stopping, "full": full, "paper": paper,
        "by_search": by_search, "by_best": by_best,
    }  # fmt: skip


def report(protocol, folder):
    print("steps of: the search; plain bisection with full budgets, and with runs that stop at")
    print("success; the published procedure at the same budget, on the same cells")
    print(f"{'cell':22} {'search':>8} {'bisection':>10} {'stopping':>9} {'published':>10}  ratios")
    total = collections.Counter()
    by_search, by_best = [], []
    for cell in cells(protocol):
        found = figures(cell, Curves(file_of(cell, folder)))
        by_search += found.pop("by_search")
        by_best += found.pop("by_best")
        total.update(found)
        print(_line(f"{cell.model} {cell.supervision}", found))
    print(_line("all", total))
    print(f"of the search's steps in runs that fail: {total['failing'] / total['ours']:.0%}")
    for name, apart in (("seed's N*", by_search), ("best-of-grid N*", by_best)):
        within = sum(steps <= 1 for steps in apart)
        print(
            f"{name}: {sum(steps == 0 for steps in apart)} of {len(apart)} equal to plain "
            f"bisection's, {within} ({within / len(apart):.1%}) within one resolution step"
        )


def _line(name, f):
    ratios = " ".join(f"1/{f[key] / f['ours']:.1f}" for key in ("full", "stopping", "paper"))
    steps = f"{f['ours']:8,} {f['full']:10,} {f['stopping']:9,} {f['paper']:10,}"
    return f"{name:22} {steps}  {ratios}"


if __name__ == "__main__":
    action, name, place = sys.argv[1:]
    {"run": run, "report": report}[action](protocols.load(name), Path(place))
