"""κ of two models, the lengths that each had trouble with, and the cost of knowing more.

Run it with `python typed_script.py`; it passes `mypy --strict`.
"""

from collections.abc import Sequence

import kbench
from kbench import KbenchError, Result, Results


def hard_lengths(result: Result) -> Sequence[str]:
    """Lengths at which every training sample there is was not enough for some seed."""
    return [
        length
        for length, n_star in result.n_star.items()
        if any(seed.censored == "right" for seed in n_star.per_seed)
    ]


def measure(models: list[str]) -> Results:
    """Of all models on modular addition; a wrong name is one line."""
    try:
        return kbench.run(model=models, task="modadd", supervision="aligned", lengths=(3, 4))
    except KbenchError as error:
        raise SystemExit(f"cannot measure: {error}") from None


if __name__ == "__main__":
    for result in measure(["lstm", "gru"]):
        assert result.kappa is not None
        steps: int = sum(trial.steps for trial in result.trials)
        print(result.model, result.verdict, result.kappa.over_seeds.estimate, steps)
        print("  hard lengths:", ", ".join(hard_lengths(result)) or "none")
    more = kbench.plan(model="lstm", task="modadd", supervision="aligned", seeds=9)
    print(f"nine seeds: about {more.seconds:.0f} s on one core")
