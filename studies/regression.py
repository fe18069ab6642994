"""How often `kbench compare` gives a false alarm, and which faults it catches.

    python studies/regression.py run canaries/        (resumes; two canaries at a time)
    python studies/regression.py report canaries/
    python studies/regression.py power

`run` makes canaries in processes of their own, each from a copy of the source with one change, or
none. `report` compares them by the command line, two by two, and counts exit codes. `power` draws
seeds at random instead, and says what change a number of them detects.
"""

import collections
import concurrent.futures
import itertools
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from kbench.regression.compare import Reading, Verdict, judge

ROOT = Path(__file__).parent.parent
REPEATS = 20
BLOCKS = 7
"""Of seeds: 21 pairs."""
FAULTY_BLOCKS = 3
"""Those on which each fault is tried."""

# What is changed: file, text, and what stands there instead.
LOSS = ("benchmark/training/loss.py", "    return F.cross_entropy(\n")
ADAM = ("benchmark/training/optimizer.py", "lr=recipe.learning_rate * warm")
FAULTS = {
    "attention sees one token ahead": [
        ("models/transformer.py", ".triu(1 + S - T)", ".triu(2 + S - T)")
    ],
    "attention sees only three tokens back": [
        (
            "models/transformer.py",
            ".triu(1 + S - T)\n",
            ".triu(1 + S - T)\n"
            "        future_TS = future_TS | torch.ones_like(future_TS).tril(S - T - 4)\n",
        )
    ],
    "targets one position late": [
        (*LOSS, "    targets_BT = F.pad(targets_BT, (1, 0), value=IGNORE)[:, :-1]\n" + LOSS[1])
    ],
    "targets one position early": [
        (*LOSS, "    targets_BT = F.pad(targets_BT, (0, 1), value=IGNORE)[:, 1:]\n" + LOSS[1])
    ],
    "learning rate × 3": [(*ADAM, "lr=3 * recipe.learning_rate * warm")],
    "learning rate ÷ 3": [(*ADAM, "lr=recipe.learning_rate / 3 * warm")],
    "training set takes the validation samples": [
        ("benchmark/data/splits.py", "d[held_out[n] :] for", "d[: drawn[n]] for")
    ],
    "validation samples join the batches": [
        (
            "benchmark/training/member.py",
            "        self.n_targets = ",
            "        self.tokens = torch.cat([self.tokens, self.validation_tokens])\n"
            "        self.targets = torch.cat([self.targets, self.validation_targets])\n"
            "        self.n_targets = ",
        )
    ],
}


def otherwise_drawn(salt):
    """Same data, other weights to start from and another order of batches."""
    return [
        (
            "benchmark/training/member.py",
            'generator(trial.seed, "batches")',
            f'generator(trial.seed, "batches", {salt})',
        ),
        (
            "benchmark/training/member.py",
            "\n            backend=trial.backend, seed=trial.seed,",
            f"\n            backend=trial.backend, seed=trial.seed + {1000 * salt},",
        ),
    ]


def canaries():
    """Name → changes of the source, the block of seeds among them; the most telling first."""
    wanted = {}
    for b in range(FAULTY_BLOCKS):
        wanted[f"block {b}"] = block(b)
        wanted |= {f"{fault}, block {b}": [*of, *block(b)] for fault, of in FAULTS.items()}
        if b == 0:
            wanted |= {f"repeat {i}": [] for i in range(1, REPEATS + 1)}
            wanted |= {f"drawn {i}": otherwise_drawn(i) for i in range(1, REPEATS + 1)}
    return wanted | {f"block {b}": block(b) for b in range(BLOCKS)}


def block(b):
    """Other seeds for each b."""
    first = 1 + 100 * b
    return [("benchmark/protocols/canary-1.yaml", "first: 1,", f"first: {first},")] if b else []


def make(name, changes, folder):
    """One canary, unless it is there."""
    output = folder / f"{name}.json"
    if output.exists():
        return
    source = folder / "source" / name
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "benchmark", source / "kbench")
    for package in ("models", "tasks", "leaderboards"):
        shutil.copytree(ROOT / package, source / "kbench" / package)
    for path, old, new in changes:
        file = source / "kbench" / path.removeprefix("benchmark/")
        text = file.read_text()
        assert text.count(old) == 1, (path, old)
        file.write_text(text.replace(old, new))
    command = (
        "import sys, kbench; from kbench.cli import main\n"
        f"assert kbench.__file__.startswith({str(source)!r}), kbench.__file__\n"
        "sys.argv[0] = 'kbench'; main()"
    )
    partial = output.with_suffix(".partial")
    # Whether trials come out bit for bit the same shows with two seeds as well as with ten.
    fewer = ["--seeds", "2"] if name.startswith("repeat") else []
    done = subprocess.run(
        [sys.executable, "-c", command, "canary", "--workers", "1", "--output", partial, *fewer],
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    shutil.rmtree(source)
    if done.returncode not in (
        0,
        1,
    ):  # 1 where a model fails a check, which is one way to be caught
        sys.exit(f"{name}: {done.stderr}")
    partial.rename(output)
    print(name, done.returncode, flush=True)


def run(folder):
    folder.mkdir(exist_ok=True)
    folder = folder.absolute()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for made in [pool.submit(make, name, of, folder) for name, of in canaries().items()]:
            made.result()


def relabelled(path):
    """A canary as if its seeds were 1, 2, …, and without what gives away that they are not."""
    document = json.loads(path.read_text())
    for result in document["results"]:
        number = {seed: i for i, seed in enumerate(result["seeds"], start=1)}
        result["seeds"] = list(number.values())
        for found in result["n_star"].values():
            for row in found["per_seed"]:
                row["seed"] = number[row["seed"]]
        for row in result["trials"]["each"]:
            row["seed"] = number[row["seed"]]
            row["key"], row["data_sha256"] = "", {}
    new = path.with_suffix(".relabelled")
    new.write_text(json.dumps(document))
    return new


def unchecked(path):
    """A canary without what the checks of its models found: what is left for statistics."""
    document = json.loads(path.read_text())
    for result in document["results"]:
        result["checks_failed"] = []
    new = path.with_suffix(".unchecked")
    new.write_text(json.dumps(document))
    return new


def compared(base, head):
    """Exit code of `kbench compare`, and in a few words why."""
    command = [sys.executable, "-c", "from kbench.cli import main; main()", "compare", "--json"]
    done = subprocess.run([*command, base, head], capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode
    why = []
    for cell in found["cells"]:
        alarms = [row for row in cell["rows"] if row["verdict"] == "regression"]
        said = [f"{row['quantity']} {row['finding']}" for row in alarms]
        if cell["verdict"] in ("regression", "broken"):
            said = said or [note.partition(": ")[2] or note for note in cell["notes"]]
        said = ["other data" if "had other data" in line else line for line in said]
        why += [f"{cell['name'].partition(',')[0]}: {line}" for line in said]
    return done.returncode, why


def report(folder):
    blocks = range(FAULTY_BLOCKS)
    repeats = range(1, REPEATS + 1)

    def show(name, pairs, prepare=lambda path: path):
        """Exit codes over the pairs that are there, and how often each alarm was given."""
        codes, why = collections.Counter(), collections.Counter()
        for names in pairs:
            paths = [folder / f"{name}.json" for name in names]
            if all(path.exists() for path in paths):
                code, reasons = compared(*map(prepare, paths))
                codes[f"{code} {Verdict(code).name.lower()}"] += 1
                why.update(reasons)
        print(f"{name}: " + ", ".join(f"{n} × {code}" for code, n in codes.items()))
        for reason, n in why.most_common():
            print(f"        {n} × {reason}")

    show("unchanged, repeated", [("block 0", f"repeat {i}") for i in repeats])
    show("unchanged, other weights and batches", [("block 0", f"drawn {i}") for i in repeats])
    show(
        "unchanged, other seeds",
        itertools.combinations([f"block {b}" for b in range(BLOCKS)], 2),
        relabelled,
    )
    for fault in FAULTS:
        pairs = [(f"block {b}", f"{fault}, block {b}") for b in blocks]
        show(fault, pairs)
        show("    its checks ignored", pairs, unchecked)


def power(draws=2000, quantities=8):
    """Of comparisons, those that say `same` and those that give alarm, by true ratio."""
    rng, ratios = random.Random(1), (1.0, 1.5, 2.0, 3.0)
    for spread in (0.1, 0.35):
        print(f"| spread {spread}, seeds | " + " | ".join(f"× {ratio}" for ratio in ratios) + " |")
        for seeds in (3, 5, 10, 20):
            shares = []
            for ratio in ratios:
                verdicts = collections.Counter()
                for _ in range(draws):
                    logs = [rng.gauss(math.log(ratio), spread) for _ in range(seeds)]
                    # The blur of two brackets of ratio 1.25.
                    drawn = [Reading(x, x, x, 0.09) for x in logs]
                    verdicts[judge("κ", drawn, quantities).verdict] += 1
                same, alarm = (verdicts[v] / draws for v in (Verdict.SAME, Verdict.REGRESSION))
                shares.append(f"{same:.0%}, {alarm:.0%}")
            print(f"| {seeds} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    if sys.argv[1] == "power":
        power()
    else:
        {"run": run, "report": report}[sys.argv[1]](Path(sys.argv[2]))
