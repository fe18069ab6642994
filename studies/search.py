"""What the search saves: its steps against plain bisection's and the published procedure's.

    python studies/search.py run quick-1 curves/        (resumes; two workers)
    python studies/search.py report quick-1 curves/
    python studies/search.py variants quick-1 curves/

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

from futility import curve, stopped

from kbench import protocol as protocols
from kbench.statistics.brackets import Bracket, best_of_grid, paper_path, size_grid
from kbench.statistics.search import Probe, Search
from kbench.study.cell import Cell
from kbench.study.searches import CellRun, SeedSearch
from kbench.trial import TrialResult

PAPER = protocols.load("paper").search
PAPER_RUNS = 15
"""Three learning rates and five seeds."""
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
    return between(sizes, low, high)


def between(sizes, low, high):
    return Bracket(
        low=sizes[low] if low >= 0 else None, high=sizes[high] if high < len(sizes) else None
    )


def searches_by_bisection(cell):
    for lengths in (*cell.alone, cell.joint):
        for seed in cell.seeds:
            largest = SeedSearch(cell, lengths, None).largest
            sizes = size_grid(cell.protocol.search.resolution, largest)
            yield lengths, seed, Search(cell.protocol.recipes, partial(bisection, sizes))


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


def walk(cell, curves, change=None):
    """The protocol's own search, one trial after the other, or a change of it; the cell's end."""
    run, training = CellRun(cell), cell.protocol.training
    while True:
        if change:
            change(run)
        if not (wanted := run.wanted()):
            return run
        result = result_of(curves(wanted[0]), training, training.futility)
        search = run.searches[wanted[0].lengths, wanted[0].seed]
        if hasattr(search, "losses"):
            n = wanted[0].n_samples
            search.losses[n] = min(result.best_loss, search.losses.get(n, math.inf))
        run.tell(wanted[0], result)


def bisect(cell, curves):
    """(lengths, seed) → bracket; steps where a run stops at its success, and of full budgets."""
    brackets, steps, full = {}, 0, 0
    for lengths, seed, search in searches_by_bisection(cell):
        while asked := search.ask():
            for recipe in cell.protocol.recipes:
                probe = Probe(asked[0].n_samples, recipe)
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
    grid_runs = len(cell.protocol.recipes) * len(cell.seeds)
    paper, uneven, by_search, by_best = 0, 0, [], []
    for lengths in (*cell.alone, cell.joint):
        sizes = size_grid(cell.protocol.search.resolution, SeedSearch(cell, lengths, None).largest)
        theirs = [plain[lengths, seed] for seed in cell.seeds]
        ours = [own.searches[lengths, seed].search.bracket for seed in cell.seeds]
        paper += paper_sizes(cell, lengths, theirs) * grid_runs * cell.protocol.training.steps
        apart = [steps_apart(a, b, sizes) for a, b in zip(ours, theirs, strict=True)]
        by_search += apart
        uneven += sum(
            steps > 1 and not is_monotone(cell, curves, lengths, seed)
            for steps, seed in zip(apart, cell.seeds, strict=True)
        )
        by_best.append(steps_apart(best_of_grid(ours), best_of_grid(theirs), sizes))
    ours = sum(ending.steps for ending in own.results.values())
    failing = sum(e.steps for e in own.results.values() if e.outcome == "failed")
    brackets = [search.search.bracket for search in own.searches.values()]
    floor = sum(
        (b.low is not None) * len(cell.protocol.recipes) + (b.high is not None) for b in brackets
    )
    return {
        "runs": len(own.results), "floor": floor, "searches": len(brackets),
        "ours": ours, "failing": failing, "stopping": stopping, "full": full, "paper": paper,
        "uneven": uneven, "by_search": by_search, "by_best": by_best,
    }  # fmt: skip


def is_monotone(cell, curves, lengths, seed):
    """Does no trained size fail above one that passes?"""
    passes = collections.defaultdict(bool)
    for row in curves.rows.values():
        if (tuple(row["spec"]["lengths"]), row["spec"]["seed"]) == (lengths, seed):
            result = result_of(row, cell.protocol.training, None)
            passes[row["spec"]["n_samples"]] |= result.outcome == "passed"
    verdicts = [passed for _, passed in sorted(passes.items())]
    return verdicts == sorted(verdicts)


def report(protocol, folder):
    print("steps of: the search; plain bisection with full budgets, and with runs that stop at")
    print("success; the published procedure with the runs per size of these cells")
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
    own_grid = PAPER_RUNS / (len(protocol.recipes) * len(protocol.seeds.values()))
    print(
        f"the published procedure with its own {PAPER_RUNS} runs per size: "
        f"1/{own_grid * total['paper'] / total['ours']:.1f}"
    )
    print(f"of the search's steps in runs that fail: {total['failing'] / total['ours']:.0%}")
    print(
        f"runs per search: {total['runs'] / total['searches']:.2f}; one failing set and one pass "
        f"would be {total['floor'] / total['searches']:.2f}"
    )
    for name, apart in (("seed's N*", by_search), ("best-of-grid N*", by_best)):
        within = sum(steps <= 1 for steps in apart)
        print(
            f"{name}: {sum(steps == 0 for steps in apart)} of {len(apart)} equal to plain "
            f"bisection's, {within} ({within / len(apart):.1%}) within one resolution step"
        )

    print(f"of the searches further apart, {total['uneven']} saw a size fail above one that passes")


def _line(name, f):
    ratios = " ".join(f"1/{f[key] / f['ours']:.1f}" for key in ("full", "stopping", "paper"))
    steps = f"{f['ours']:8,} {f['full']:10,} {f['stopping']:9,} {f['paper']:10,}"
    return f"{name:22} {steps}  {ratios}"


def raced(run):
    """Learning rates in the order of what passed in the search that steers this one."""
    for lengths, seed in run.searches:
        search = run.searches[lengths, seed].search
        before = (lengths, run.cell.seeds[0])
        if before == (lengths, seed) and lengths in run.cell.alone[1:]:
            before = (run.cell.alone[run.cell.alone.index(lengths) - 1], seed)
        steering = run.searches[before].search
        if search._outcomes or search is steering or not (size := steering.smallest_passing()):
            continue
        passed = steering._outcomes[size]
        search.recipes = sorted(search.recipes, key=lambda recipe: passed.get(recipe) != "passed")


def by_secant(run):
    """Above a failing size, the size at which its loss would reach eps, along the secant of log
    loss against log N through the two largest to fail, or at a slope of −6."""
    rule = run.cell.protocol.search
    for (lengths, seed), of in run.searches.items():
        if not of.search._outcomes and not hasattr(of, "losses"):
            of.losses = {
                variant.n_samples: ending.best_loss
                for (over, variant), ending in run.results.items()
                if (over, variant.seed) == (lengths, seed)
            }
            sizes = size_grid(rule.resolution, of.largest)
            start = of.search._waits_for
            of.search._path_over = (
                lambda broken, a=sizes, b=start, c=of.losses, e=(run.cell.protocol.training.eps): (
                    secant_path(a, b, c, e)
                )
            )
            of.search._begin()


def secant_path(sizes, start, losses, eps):
    low, high = -1, len(sizes)
    if not sizes:
        return Bracket(low=None, high=None)
    probe, tried, stride = sizes.index(start), [], 1
    while high - low > 1:
        tried.append(probe)
        if (yield sizes[probe]):
            high = probe
        else:
            low = probe
        if low == -1:
            probe, stride = max(high - stride, 0), 2 * stride
            continue
        failing = sorted(sizes[i] for i in tried if i <= low)
        slope = 6.0
        if len(failing) > 1 and losses[failing[-2]] > losses[failing[-1]]:
            fall = math.log(losses[failing[-2]] / losses[failing[-1]])
            slope = min(max(fall / math.log(failing[-1] / failing[-2]), 2.0), 20.0)
        wanted = failing[-1] * (losses[failing[-1]] / eps) ** (1 / slope)
        probe = next((i for i, size in enumerate(sizes) if size >= wanted), len(sizes) - 1)
        probe = min(max(probe, low + 1), high - 1, low + 6)
    audit = min(high + 2, len(sizes) - 1)
    if high < audit and not any(i > high for i in tried):
        yield sizes[audit]
    return between(sizes, low, high)


def variants(protocol, folder):
    """Steps of the search, with racing of learning rates, and with a secant. May train."""
    for name, change in (("as it is", None), ("racing", raced), ("secant", by_secant)):
        steps = []
        for cell in cells(protocol):
            run = walk(cell, Curves(file_of(cell, folder)), change)
            steps.append(sum(ending.steps for ending in run.results.values()))
        print(f"{name:10} {sum(steps):9,}  {steps}")


if __name__ == "__main__":
    action, name, place = sys.argv[1:]
    {"run": run, "report": report, "variants": variants}[action](protocols.load(name), Path(place))
