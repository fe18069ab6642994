"""After a run: what was found, in a sentence, what went wrong, and what to type next."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kbench.cli.console import say

if TYPE_CHECKING:
    from kbench.study.driver import Driver
    from kbench.study.searches import CellRun

NAMED = 3
"""Cells of one verdict that are named; of more, only how many there are."""


def epilogue(driver: "Driver", full: Exception | None, *, quiet: bool = False) -> int:
    """Say what went wrong, how to resume, or what to type next; the exit code."""
    from kbench.report.document import broken_trials

    broken = broken_trials(driver.progress)
    for line in broken:
        say(f"trial left out, {line}")
    again = shlex.join(["kbench", *sys.argv[1:]])
    if full:
        say(f"{full}. What is stored is safe. Resume with:", again)
        return 1
    runs = [p.run for p in driver.progress]
    if not all(run.complete for run in runs):
        say("stopped; every finished trial is stored. Resume with:", again)
        return 130
    if not quiet and sys.argv[1:2] == ["run"]:
        say(*what_next(runs, sys.argv[1:]))
    return 1 if broken else 0


def found(runs: "Sequence[CellRun]") -> str:
    """What complete cells came to, in a sentence; of several how many came to what."""
    from kbench.report.grid import counted, listed

    if len(runs) == 1:
        return _found(runs[0])
    groups: dict[str, list[str]] = {}
    several = len({run.cell.task for run in runs}) > 1
    for run in runs:
        cell = run.cell
        name = [cell.model, *([cell.task] if several else []), cell.supervision]
        verdict: str = "measured" if cell.distribution else run.verdict
        groups.setdefault(verdict, []).append(" ".join(name))
    parts = []
    if len(groups) == 1:
        (came_to,) = groups
        return f"All {len(runs)} cells {VERDICTS[came_to][1]}."
    for came_to, (one, more) in VERDICTS.items():
        if names := groups.get(came_to):
            which = f" ({listed(names)})" if len(names) <= NAMED else ""
            parts.append(f"{len(names)} {one if len(names) == 1 else more}{which}")
    return f"Of {counted(len(runs), 'cell')} {listed(parts)}."


VERDICTS = {
    "sharing": ("shares across lengths", "share across lengths"),
    "interference": ("has lengths that get in each other's way",) * 2,
    "isolated": ("learns each length on its own", "learn each length on its own"),
    "not-learned": ("did not learn all lengths together",) * 2,
    "not-identified": ("is not decided by these seeds", "are not decided by these seeds"),
    "measured": ("has an N*", "have an N*"),
}
"""Of one cell, and of several."""


def _found(run: "CellRun") -> str:
    from kbench.report.format import figures, interval_text, lengths_words, model_name, task_name
    from kbench.report.grid import counted

    cell = run.cell
    of = f"{model_name(cell)} on {task_name(cell)} under {cell.supervision}"
    if cell.distribution:
        n_star = interval_text(run.n_star(cell.joint))
        return f"{of}: N* under the distribution {cell.distribution} is {n_star}."
    kappa, lengths = run.kappa, f"lengths {lengths_words(run.up_to)}"
    text = f"κ = {interval_text(kappa)}"
    match run.verdict:
        case "sharing":
            times = figures(kappa.estimate or kappa.low or 1)
            least = "" if kappa.estimate else "at least "
            return (
                f"{of} shares what it learns across lengths: {lengths} together take "
                f"{least}{times} times fewer samples than each alone ({text})."
            )
        case "interference":
            return (
                f"{of}: the lengths get in each other's way, {lengths} together take more samples "
                f"than each alone ({text})."
            )
        case "isolated":
            return f"{of} learns every length on its own: {lengths} together save nothing ({text})."
        case "not-learned":
            budget = f"{cell.protocol.training.steps:,} steps a run"
            return f"{of} did not learn {lengths} together within {budget}, so κ is not known."
    seeds = counted(len(run.seeds), "seed does", "seeds do")
    return (
        f"{of}: {seeds} not decide whether it shares across lengths "
        f"({'κ is not identified' if kappa.is_open else text})."
    )


def what_next(runs: "Sequence[CellRun]", words: Sequence[str]) -> tuple[str, str]:
    """The next useful command after `kbench` with these words, and what it is good for."""
    cells = [run.cell for run in runs]
    verdicts = {run.verdict for run in runs if not run.cell.distribution}
    own = any(isinstance(cell.model_version, str) for cell in cells)
    if "not-identified" in verdicts:
        seeds = 2 * max(len(run.seeds) for run in runs)
        return "More seeds may decide:", _again(words, "--seeds", str(seeds))
    if verdicts - {"not-learned"} and not own and not any(cell.extrapolate for cell in cells):
        return "Does it hold at longer lengths?", _again(words, "--extrapolate", "2x")
    picture = "curves.svg" if verdicts == {"not-learned"} else "kappa.svg"
    store = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--store"]
    show = ["kbench", "show", *(["--store", *store[-1:]] if store else []), "--plot"]
    if not verdicts:
        return "All that is stored:", shlex.join(show[:-1])
    return "As a picture:", shlex.join([*show, picture])


def _again(words: Sequence[str], option: str, value: str) -> str:
    """The same command with another value of an option."""
    kept = [w for i, w in enumerate(words) if option not in (w, *words[max(i - 1, 0) : i])]
    return shlex.join(["kbench", *kept, option, value])
