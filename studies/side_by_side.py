"""Whole runs of two commits, in turns on one machine: how many times as fast is the second?

Both commits are laid out the same way, as a folder on the path, and take this environment's
libraries; every run starts from an empty store. The stores of both are read by this checkout, so
that verdicts are by the same rules. On an idle machine, from a clone that has the base:

    python studies/side_by_side.py efe0b3e HEAD               # a quarter of an hour
    python studies/side_by_side.py efe0b3e HEAD --rounds 3

The first run of a commit compiles its kernels, where it has some: that is part of its time.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path

COMMANDS = {
    "lstm aligned": "--model lstm --task modadd --supervision aligned",
    "transformer cot": "--model transformer --task modadd --supervision cot",
    "mamba": "--model mamba --task modadd",
}
ROOT = Path(__file__).parents[1]


def laid_out(commit: str, folder: Path) -> Path:
    """The commit's package in a folder that can be put on the path."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder / "source", filter="data")
    (folder / "source" / "benchmark").rename(folder / "kbench")
    for part in ("models", "tasks", "leaderboards"):
        (folder / "source" / part).rename(folder / "kbench" / part)
    return folder


def kbench(folder: Path, *words: str) -> str:
    """What a command prints."""
    code = "import sys; from kbench.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"kbench {shlex.join(words)}: {done.stderr.strip()}")
    return done.stdout


def conclusions(reader: Path, store: Path) -> dict[str, str]:
    """Verdict and N* of every cell in a store, in one line by its supervision."""
    cells = json.loads(kbench(reader, "show", "--json", "--store", str(store)))["results"]
    return {
        cell["supervision"]: f"{cell['kappa']['verdict']}, N* "
        + " ".join(_bracket(cell["n_star"][n]) for n in cell["n_star"])
        for cell in cells
    }


def _bracket(of: dict) -> str:
    best = of.get("best_of_grid", of)
    return f"{best['low']}–{best['high']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=COMMANDS, action="append")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sides = {c: laid_out(c, Path(scratch) / c) for c in (args.base, args.head)}
        reader = sides[args.head]
        for name in args.only or COMMANDS:
            seconds: dict[str, list[float]] = {commit: [] for commit in sides}
            for round_ in range(args.rounds):
                for commit, folder in sides.items():
                    store = Path(scratch) / f"{commit} {name} {round_}"
                    start = time.perf_counter()
                    words = shlex.split(COMMANDS[name])
                    # The first version knows no full names.
                    if (folder / "kbench" / "protocols" / "quick-2.yaml").exists():
                        words += ["--protocol", "quick-1"]
                    kbench(folder, "run", *words, "--store", str(store))
                    seconds[commit].append(time.perf_counter() - start)
                    print(f"{name}, {commit}: {seconds[commit][-1]:.1f} s", flush=True)
                    if round_ == 0:
                        for supervision, line in conclusions(reader, store).items():
                            print(f"    {supervision}: {line}", flush=True)
            base, head = (min(s) for s in seconds.values())
            print(f"{name}: {base:.1f} s, {head:.1f} s, ratio {base / head:.2f}\n", flush=True)


if __name__ == "__main__":
    main()
