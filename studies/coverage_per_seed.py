"""How often the per-seed interval covers a known κ, in simulation.

Every replicate draws N* of every length and seed (log-normal around a known centre), measures it
as kbench does (the bracket search over the protocol's grid), and asks whether the 95 % interval
contains the true κ: the geometric mean of κ_s, known here from a million draws without brackets.

    python studies/coverage_per_seed.py
"""

import argparse
import math

import numpy as np

from kbench.statistics.brackets import Bracket, bracket_path, size_grid
from kbench.statistics.sharing import sharing_per_seed

LENGTHS = 6
GRID_TOP = 100_000


def measure(grid: tuple[int, ...], threshold: float, guess: float) -> Bracket:
    """The bracket of a monotone success curve with this threshold."""
    path = bracket_path(grid, guess)
    try:
        size = next(path)
        while True:
            size = path.send(size >= threshold)
    except StopIteration as end:
        return end.value


def coverage(
    kappa: float, spread: float, seeds: int, resolution: float, replicates: int, start: int = 20
) -> tuple[float, float]:
    """(share of intervals that contain the true κ, mean width of the interval as a ratio)."""
    rng = np.random.default_rng([start, seeds, replicates])
    centres = start * 1.5 ** np.arange(LENGTHS)
    joint_centre = centres.sum() / kappa

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        return (
            centres * np.exp(spread * rng.standard_normal((count, LENGTHS))),
            joint_centre * np.exp(spread * rng.standard_normal(count)),
        )

    alone, joint = draw(1_000_000)
    truth = float(np.mean(np.log(alone.sum(axis=1) / joint)))
    grid = size_grid(resolution, GRID_TOP)
    covered, widths = 0, []
    for _ in range(replicates):
        alone, joint = draw(seeds)
        lengths = [
            [measure(grid, alone[s, n], centres[n]) for s in range(seeds)] for n in range(LENGTHS)
        ]
        result = sharing_per_seed(lengths, [measure(grid, x, joint_centre) for x in joint])
        assert result.low is not None
        assert result.high is not None
        covered += math.log(result.low) <= truth <= math.log(result.high)
        widths.append(result.high / result.low)
    return covered / replicates, float(np.exp(np.mean(np.log(widths))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=2000)
    replicates = parser.parse_args().replicates
    print("true κ  spread (sd of log2 N*)  resolution  seeds  coverage  interval high / low")
    for seeds in (5, 3):
        for kappa in (0.3, 1.0, 2.0, 8.0):
            for spread in (0.25, 0.5, 1.0):
                for resolution in (1.35, 1.2):
                    share, width = coverage(
                        kappa, spread * math.log(2), seeds, resolution, replicates
                    )
                    print(
                        f"{kappa:6}  {spread:22}  {resolution:10}  {seeds:5}  "
                        f"{share:7.1%}  {width:19.2f}"
                    )


if __name__ == "__main__":
    main()
