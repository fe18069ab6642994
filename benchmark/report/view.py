"""The live view of a run: trials done and left, what runs, and what is known of κ already."""

import contextlib
import threading
import time
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from kbench.report.format import figures, interval_text, lengths_words, model_name, task_name
from kbench.report.grid import Grid, counted, plain
from kbench.report.tables import headline
from kbench.study.cell import Lengths
from kbench.study.driver import Driver, Profile
from kbench.study.driver import Progress as CellProgress
from kbench.study.executors import Reached
from kbench.study.plan import Forecast
from kbench.trial import Trial

ELSEWHERE = "another kbench measures this in the same store; waiting for it (Ctrl-C stops)"
LINE_S, TICK_S = 10.0, 1.0
"""Between two lines where there is no terminal, and between two looks at what runs."""
BAR = 16
"""Characters of the bar."""
MOST = 4
"""Running trials that a line names."""


class View:
    """A few lines that keep up with the run on a terminal, a line per ten seconds elsewhere.

    A line per finished row stays. A thread of its own looks at the trials under way once a second,
    so that what trains in this process is seen too.
    """

    def __init__(
        self, driver: Driver, forecast: Forecast, progress_to: Console, rows_to: Console
    ) -> None:
        self._driver, self._forecast, self._console = driver, forecast, progress_to
        # Two consoles on one terminal would write into each other's lines.
        self._rows = progress_to if rows_to.is_terminal else rows_to
        self._announced: set[int] = set()
        self._waited: set[int] = set()
        self._told: dict[int, Lengths] = {}
        """Of the κ of one seed, the lengths that were said of a cell."""
        self._known = {id(p): _known(p) for p in driver.progress}
        """What the thread may say of each cell: it reads texts, never a cell under way."""
        self._started = time.perf_counter()
        self._changed: dict[int, CellProgress] = {}
        self._look_at = 0.0
        self._forecast_anew()
        self._is_live = progress_to.is_terminal and not progress_to.is_dumb_terminal
        self._live = Live(
            console=progress_to, auto_refresh=False, transient=True,
            get_renderable=self._lines, vertical_overflow="visible",
        )  # fmt: skip
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "View":
        if self._is_live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        if self._is_live:
            self._live.stop()

    def update(self, p: CellProgress) -> None:
        """Something new is known of this cell."""
        if p.elsewhere and id(p) not in self._waited:
            self._waited.add(id(p))
            self._say(self._console, f"{_name(p)}: {ELSEWHERE}")
        self._say_first_kappa(p)
        if p.run.complete and id(p) not in self._announced:
            self._announced.add(id(p))
            trials = f"{counted(p.trials_run, 'trial')} run, {p.trials_reused:,} reused"
            found = headline(p.run)
            self._say(self._rows, f"{_name(p)}: {found} ({trials}, {duration(p.wall_s)})")
        self._changed[id(p)] = p
        if time.perf_counter() > self._look_at:
            self._forecast_anew()

    def _forecast_anew(self) -> None:
        """Not after every trial: they may end by the hundred, and one may train in this process."""
        start = time.perf_counter()
        self._left = self._forecast.left()
        self._known.update({key: _known(p) for key, p in self._changed.items()})
        self._changed.clear()
        took = time.perf_counter() - start
        self._look_at = start + max(TICK_S, 50 * took)

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
        # A log has one line for one thing, whatever its length.
        console.print(line, highlight=False, soft_wrap=console.stderr and not console.is_terminal)

    def _look(self) -> None:
        """In the thread: on a terminal draw again, elsewhere say a line now and then."""
        said_at = time.perf_counter()
        with contextlib.suppress(
            OSError
        ):  # of a terminal that has gone; the main thread sees to it
            while not self._over.wait(TICK_S):
                if self._is_live:
                    self._live.refresh()
                elif time.perf_counter() - said_at >= LINE_S:
                    said_at = time.perf_counter()
                    self._say(self._console, self._line())

    def _line(self) -> str:
        """All of it on one line."""
        under_way = self._driver.under_way()
        parts = [self._count()]
        for p in _owners(under_way[:MOST]):
            parts.append(f"{_name(p)}: {self._known[id(p)]}")
            parts += [_trial_text(t, at) for owner, t, at in under_way[:MOST] if owner is p]
        more = f" and {counted(len(under_way) - MOST, 'trial')} more"
        return "; ".join(parts) + (more if len(under_way) > MOST else "")

    def _lines(self) -> RenderableType:
        """A bar, and below it every cell under way with its trials; as many as the screen holds."""
        under_way, left = self._driver.under_way(), self._left
        run = sum(p.trials_run for p in self._driver.progress)
        total = run + left.trials
        done = round(BAR * run / max(total, 1))
        parts = [self._text("━" * done + "─" * (BAR - done) + f" {self._count()}")]
        room = max(self._console.height - 6, 4)
        for p in _owners(under_way):
            parts.append(self._text(f"{_name(p)}: {self._known[id(p)]}"))
            parts += [
                self._text(f"  {_trial_text(trial, at)}")
                for owner, trial, at in under_way
                if owner is p
            ]
        if len(parts) > room:
            parts[room - 1 :] = [Text(f"and {counted(len(parts) - room + 1, 'line')} more")]
        return Group(*parts)

    def _text(self, line: str) -> Text:
        return Text(plain(line, self._console.encoding), overflow="fold")

    def _count(self) -> str:
        """`37 of about 120 trials, about 4 min left`."""
        run = sum(p.trials_run for p in self._driver.progress)
        left, workers = self._left, self._driver.workers
        begun = sum(
            self._forecast.cost(p, trial.lengths, at.steps)
            for p, trial, at in self._driver.under_way()
            if at
        )
        seconds, more = left.clock(workers, time.perf_counter() - self._started, begun)
        also = f" ({duration(more)} if more seeds are needed)" if more is not None else ""
        total = f"about {run + round(left.trials):,}"
        return f"{run:,} of {total} trials, about {duration(seconds)} left{also}"


def _owners(
    under_way: list[tuple[CellProgress, Trial, Reached | None]],
) -> Iterable[CellProgress]:
    """The cells of the trials under way, each once."""
    return {id(p): p for p, _, _ in under_way}.values()


def _known(p: CellProgress) -> str:
    """`12 of 40 searches, κ of lengths 2 to 4 is 2.1 – 3.4 by one seed`."""
    run = p.run
    done = f"{run.n_done} of {counted(run.n_searches, 'search', 'searches')}"
    if run.cell.distribution is not None:
        return done
    if run.searched:
        return f"{done}, κ {interval_text(run.kappa)}"
    if found := run.kappa_so_far():
        lengths, kappa = found
        return (
            f"{done}, κ of lengths {lengths_words(lengths)} is {interval_text(kappa)} by one seed"
        )
    return f"{done}, κ not known yet"


def _trial_text(trial: Trial, at: Reached | None) -> str:
    """`n = 2 to 5, seed 1, N = 37: step 480 of 1,500, loss 0.41`."""
    budget = trial.training.steps
    if at is None:
        return f"{_trial_name(trial)}: begins"
    loss = "" if at.loss is None else f", loss {figures(at.loss)}"
    return f"{_trial_name(trial)}: step {at.steps:,} of {budget:,}{loss}"


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
