"""The live view of a run: searches under way, trials done, time left."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from kbench.report.format import interval_text, lengths_words, model_name, task_name
from kbench.report.grid import Grid
from kbench.report.tables import headline
from kbench.study.cell import Lengths
from kbench.study.driver import Driver, Profile
from kbench.study.driver import Progress as CellProgress
from kbench.trial import Trial

ELSEWHERE = "another kbench measures this in the same store; waiting for it (Ctrl-C stops)"


class View:
    """A bar per cell on a terminal, a line per ten seconds elsewhere; a line per finished row."""

    def __init__(self, driver: Driver, progress_to: Console, rows_to: Console) -> None:
        self._driver, self._console = driver, progress_to
        # Two consoles on one terminal would write into each other's lines.
        self._rows = progress_to if rows_to.is_terminal else rows_to
        self._started = self._last_line = time.perf_counter()
        self._done_before = 0
        self._announced: set[int] = set()
        self._waited: set[int] = set()
        self._told: dict[int, Lengths] = {}
        """Of the κ of one seed, the lengths that were said of a cell."""
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f} searches{task.fields[more]}", markup=False
            ),
            console=progress_to,
            transient=True,
        )
        self._ids: dict[int, TaskID] = {}

    def __enter__(self) -> "View":
        for p in self._driver.progress:
            self._ids[id(p)] = self._bars.add_task(_name(p), total=p.run.n_searches, more="")
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def update(self, p: CellProgress) -> None:
        """Something new is known of this cell."""
        trials = f"{p.trials_run} trials run, {p.trials_reused} reused"
        left = self._time_left()
        for other in self._driver.progress:
            now = "; ".join(map(_trial_name, self._driver.under_way(other)))
            more = f", {other.trials_run} trials, {left} left; now {now}" if now else ""
            self._bars.update(self._ids[id(other)], completed=other.run.n_done, more=more)
        if p.elsewhere and id(p) not in self._waited:
            self._waited.add(id(p))
            self._say(self._console, f"{_name(p)}: {ELSEWHERE}")
        self._say_first_kappa(p)
        if p.run.complete and id(p) not in self._announced:
            self._announced.add(id(p))
            found = headline(p.run)
            self._say(self._rows, f"{_name(p)}: {found} ({trials}, {duration(p.wall_s)})")
        elif not self._console.is_terminal and time.perf_counter() - self._last_line > 10:
            self._last_line = time.perf_counter()
            done = f"{p.run.n_done} of {p.run.n_searches} searches"
            self._say(self._console, f"{_name(p)}: {done}, {trials}, {left} left in all")

    def _say_first_kappa(self, p: CellProgress) -> None:
        """One seed is enough for a first impression, and a few lengths are there soon."""
        found = None if p.run.searched else p.run.kappa_so_far()
        if found and len(found[0]) > len(self._told.get(id(p), ())):
            lengths, kappa = found
            self._told[id(p)] = lengths
            text = f"by one seed of {len(p.run.seeds)} κ of lengths {lengths_words(lengths)} is"
            self._say(
                self._console,
                f"{_name(p)}: {text} {interval_text(kappa)} (after {duration(p.wall_s)})",
            )

    @staticmethod
    def _say(console: Console, line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    def _time_left(self) -> str:
        """From the share of searches that this command has brought to their end."""
        progress = self._driver.progress
        done = sum(p.run.n_done for p in progress)
        if not any(p.trials_run for p in progress):
            self._done_before = done
        ended_here = done - self._done_before
        if not ended_here:
            return "unknown time"
        each = (time.perf_counter() - self._started) / ended_here
        return duration(each * (sum(p.run.n_searches for p in progress) - done))


def profile_table(p: Profile) -> Grid:
    """Where the time of the workers went; and, beside it, that of the store in the driver."""
    total = p.workers * p.elapsed
    table = Grid(
        f"Where the time went: {p.workers} × {p.elapsed:.1f} s of workers",
        names=["of worker time"], figures=["seconds", "share"], right=["seconds", "share"],
    )  # fmt: skip
    rows = {
        "training": p.trials["training"],
        "validation": p.trials["validation"],
        "data": p.trials["data"],
        "building models, tests": p.trials["other"],
        "idle (start, hand-over, no work)": p.idle,
        "of all that, speculative and not used": p.ahead,
        "besides, store, in the driver": p.store,
    }
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.1f}", f"{seconds / total:.1%}")
    return table


def _name(p: CellProgress) -> str:
    cell = p.run.cell
    over = cell.distribution and f"{cell.distribution} to {cell.lengths[-1]}"
    names = model_name(cell), task_name(cell), cell.supervision, over
    return " ".join(filter(None, names))


def _trial_name(trial: Trial) -> str:
    lengths = f"n = {lengths_words(trial.lengths)}" + (", test" if trial.tested else "")
    return f"{lengths}, seed {trial.seed}, N = {trial.n_samples}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h` or `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
