"""Do trials of the boards end the same way when they are trained again?

The models that are tested beyond the training lengths are trained a second time. This holds the
outcome against that of the search's own run: `python studies/trained_again.py`, in the repository.
"""

from collections import Counter
from pathlib import Path

from kbench.leaderboard.board import load

again, other, alike = (Counter[tuple[str, str]]() for _ in range(3))
for row in load(Path("leaderboards")):
    devices = {environment["device"] for environment in row.entry.environments}
    on = "GPU, in whole or in part" if devices != {"cpu"} else "CPU"
    first = {(tuple(t.lengths), t.seed, t.n_samples, t.learning_rate): t for t in row.entry.trials
             if not t.tested}  # fmt: skip
    for test in row.entry.trials:
        own = first.get((tuple(test.lengths), test.seed, test.n_samples, test.learning_rate))
        if not test.tested or own is None:
            continue
        again[on, own.outcome] += 1
        alike[on, own.outcome] += (test.steps, test.best_loss) == (own.steps, own.best_loss)
        if test.outcome != own.outcome:
            other[on, own.outcome] += 1
            print(
                f"{row.place}, seed {test.seed}, N = {test.n_samples}: {own.outcome}, best loss "
                f"{own.best_loss:.4f}; again {test.outcome}, {test.best_loss:.4f}"
            )
for (on, outcome), n in sorted(again.items()):
    print(f"measured on a {on}, {outcome}: of {n} {other[on, outcome]} ended otherwise, ", end="")
    print(f"{alike[on, outcome]} alike to the last digit")
