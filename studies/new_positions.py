"""Would N* be another if runs were judged by the positions that are new?

Under `aligned` part of the validation positions stand, prefix and label, in the training set
(docs/protocols.md). Here runs are judged twice: by all positions, as kbench does, and by those only
whose prefix is not in the training set. Modular addition, m = 5, lengths 2 to 5 together, with the
first recipe of `quick-2`, up to 4,000 steps; the same seeds and sizes for both.

    python studies/new_positions.py     # a quarter of an hour on one core; prints as it goes
"""

import argparse
import contextlib
import math
import statistics
from dataclasses import replace

import numpy as np
import recipes
import torch
from budgets import SIZES
from recipes import Run

from kbench.data.leaks import is_seen
from kbench.data.supervision import IGNORE
from kbench.training.loop import train
from kbench.training.member import Member

MODELS = ("lstm", "gru", "dense-ssm", "transformer")
RECIPE = "warm-decay-0.1-0.003"
EPS, STEPS = recipes.TRAINING.eps, recipes.TRAINING.steps
ENDLESS = replace(recipes.TRAINING, eps=1e-12)


class BothPassed(Exception):
    """Nothing more is to be seen."""


def passes(run: Run) -> dict[str, float]:
    """The step at which a run passes, by all positions and by the new ones; infinite for never."""
    torch.set_num_threads(1)
    passed = dict.fromkeys(("all", "new"), math.inf)
    new: list[torch.Tensor] = []

    def look(member: Member) -> None:
        if not new:
            seen_NT = is_seen(member.train, member.validation)
            new.append(torch.from_numpy(np.where(seen_NT, IGNORE, member.validation.targets)))
        with torch.no_grad():
            loss = member._loss(member.validation_tokens, new[0]).item()
        for of, value in (("all", member.last_validation_loss), ("new", loss)):
            if value < EPS:
                passed[of] = min(passed[of], member.steps)
        if max(passed.values()) < math.inf:
            raise BothPassed

    with contextlib.suppress(BothPassed):
        train([recipes.trial_of(run, ENDLESS)], look)
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(1, parser.parse_args().seeds + 1)
    print("| model | seed | N\\* by all | N\\* by the new | steps by all | by the new |")
    print("|---|---|---|---|---|---|")
    later = []
    for model in MODELS:
        for seed in seeds:
            n_star = dict.fromkeys(("all", "new"), math.inf)
            steps = []
            for size in SIZES:
                found = passes(Run("modadd", model, "aligned", size, RECIPE, seed))
                for of in n_star:
                    if found[of] < math.inf:
                        n_star[of] = size
                if found["all"] == math.inf:
                    break
                steps.append(found)
            later += [s["new"] / s["all"] for s in steps]
            at = min(steps, key=lambda s: s["all"], default={"all": math.inf, "new": math.inf})
            print(f"| {model} | {seed} | {n_star['all']:g} | {n_star['new']:g} "
                  f"| {at['all']:g} | {at['new']:g} |", flush=True)  # fmt: skip
    print(
        f"\n{len(later)} runs pass by all positions; by the new ones "
        f"{sum(x < math.inf for x in later)}, in the median after {statistics.median(later):.2f} "
        "times the steps"
    )


if __name__ == "__main__":
    main()
