"""What the Python API does: request → study → results. The command line calls it too."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kbench.report.view import View, duration
from kbench.study.cell import Cell
from kbench.study.driver import Driver
from kbench.study.executors.choice import Start
from kbench.study.plan import plan as plan_of
from kbench.study.plan import total
from kbench.study.store import Store, StoreFullError

if TYPE_CHECKING:
    from kbench.study.searches import CellRun


def measure(
    cells: Sequence[Cell],
    store: Path,
    start: Start,
    device: str,
    *,
    say: Callable[[str], None],
    progress_to: Console | None = None,
    rows_to: Console | None = None,
) -> tuple[Driver, StoreFullError | None]:
    """Bring the cells to their end, or to Ctrl-C or a full disk, which is then the second value.

    Without consoles nothing is said of what is under way.
    """
    with Store(store) as trials, interruptible(say) as stopping, start(stopping) as executor:
        driver = Driver(cells, trials, executor, stopping)
        try:
            if progress_to is None:
                for _ in driver.run():
                    pass
                return driver, None
            say(_cost([p.run for p in driver.progress], executor.capacity, device))
            with View(driver, progress_to, rows_to or progress_to) as view:
                for progress in driver.run():
                    view.update(progress)
        except StoreFullError as error:
            return driver, error
        return driver, None


def _cost(runs: "Sequence[CellRun]", slots: int, device: str) -> str:
    """What the run will cost, said beforehand."""
    p = total([plan_of(cell_run, device) for cell_run in runs])
    if p.searches_done == p.searches:
        return f"all {p.searches} searches are in the store: nothing to run"
    return (
        f"{p.searches - p.searches_done} searches to do: {p.trials[0]} to {p.trials[1]} trials, "
        f"about {duration(p.seconds / slots)} on {slots} {'slot' if slots == 1 else 'slots'}"
    )


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C (or a polite kill) into a flag; a second Ctrl-C ends at once.

    Signals reach the main thread only: in another thread there is nothing to catch.
    """
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        say("stopping (once more to end at once)")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: stopped
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
