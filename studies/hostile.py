"""Calls that nobody in their right mind would make, over all commands: none may end in a traceback.

Exit codes are 0 to 4, and 130. Options of each command are given values that are wrong in kind,
range, length or encoding, or files that are not what they should be. Some minutes:

    python studies/hostile.py --calls 400 --seed 1
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import typer

from kbench.cli import app

AT_WORK = "at work"
ALLOWED = {"0", "1", "2", "3", "4", "130", AT_WORK}
PATIENCE_S = 20
"""A call that is still at work by then was understood, and is no fault."""
TEXTS = (
    "", " ", "lstm", "modadd", "quick", "Lstm", "lstm ", "-1", "0", "1", "1e9", "1e400", "nan",
    "inf", "-0", "9" * 400, "2-", "-2", "3-2", "1-99999999", "2x", "4,6,x", "m=", "=3", "m=3=4",
    "m=nan", "m=1e400", "m=" + "9" * 300, "κ", "ä/ö", "\x1b[31mred", "a\nb", "\u202e", "😀",
    "'; rm -rf x", "$(touch x)", "/dev/null", "/dev/full", "file:x?mode=ro", "http://x",
    "none.py:X", "none.py", ".py:", ":", "a.py:b.py:C", "text.json", "deep.json", "deep.yaml",
    "empty.yaml", "binary", "folder", "bad.py:Bad", "exit.py:X", "loud.py:Loud", "store", "1/0",
    "0/1", "3/2", "1/3", "cuda", "meta", "True", "null", "*" * 3000,
)  # fmt: skip
FILES = {
    "text.json": "{}",
    "deep.json": "[" * 5000,
    "deep.yaml": "[" * 5000,
    "empty.yaml": "",
    "bad.py": "raise RuntimeError('no')",
    "exit.py": "import sys; sys.exit(3)",
    "loud.py": "class E(Exception):\n    def __str__(self): raise E\n\nclass Loud:\n"
    "    def __init__(self, *a, **k): raise E\n",
}


def commands() -> dict[str, click.Command]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def call(rng: random.Random) -> list[str]:
    """A command with some of its options and arguments, each with some value."""
    name, command = rng.choice(sorted(commands().items()))
    words = [name]
    for parameter in rng.sample(command.params, rng.randint(0, min(4, len(command.params)))):
        if isinstance(parameter, click.Argument):
            words.append(rng.choice(TEXTS))
        elif "--help" not in parameter.opts:
            words.append(parameter.opts[0])
            if not getattr(parameter, "is_flag", False):
                words.append(rng.choice(TEXTS))
    if rng.random() < 0.1:
        words.insert(rng.randint(0, len(words)), rng.choice(TEXTS))
    return [word.replace("\0", "") for word in words]


def ended(folder: str, words: list[str]) -> tuple[str, str]:
    """Exit code, and all that was said."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from kbench.cli import main; main()", *words],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return AT_WORK, ""
    return str(process.returncode), said.decode(errors="replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    rng, codes, faults = random.Random(args.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (Path(folder) / name).write_text(text)
        (Path(folder) / "binary").write_bytes(bytes(range(256)))
        (Path(folder) / "folder").mkdir()
        (Path(folder) / "store").mkdir()
        (Path(folder) / "store" / "trials.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
        calls = [call(rng) for _ in range(args.calls)]
        with ThreadPoolExecutor(args.workers) as pool:
            outcomes = pool.map(partial(ended, folder), calls)
            for words, (code, said) in zip(calls, outcomes, strict=True):
                codes[code] += 1
                if code not in ALLOWED or "Traceback" in said:
                    faults += 1
                    print(f"{words}: {code}\n{said[-1500:]}", flush=True)
    print(f"{args.calls} calls: {dict(sorted(codes.items()))}, {faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
