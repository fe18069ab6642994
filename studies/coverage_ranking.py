"""How often a ranking tells two models apart that are alike; 4 % promised.

log κ is normal and exactly known of each seed; in a cell with a standard deviation of 0 it is the
same for all, as where every search for all lengths together was censored.

    python studies/coverage_ranking.py
"""

import random
from collections.abc import Sequence

from kbench.leaderboard.ranking import Shared, rank
from kbench.protocol import CONFIDENCE


def told_apart(seeds: int, deviations: Sequence[float], pairs: int = 1000) -> float:
    """Share of pairs with different ranks, by the standard deviation of log κ in each cell."""
    rng = random.Random(7)

    def model() -> dict[str, list[Shared]]:
        luck = {str(c): [rng.gauss(0, d) for _ in range(seeds)] for c, d in enumerate(deviations)}
        return {cell: [Shared(low=x, high=x) for x in of] for cell, of in luck.items()}

    boards = ({"a": model(), "b": model()} for _ in range(pairs))
    ranked = (rank(board, "b", CONFIDENCE) for board in boards)
    return sum(first.rank != second.rank for first, second in ranked) / pairs


if __name__ == "__main__":
    for name, seeds, deviations in (
        ("nine cells alike", 3, [0.3] * 9),
        ("three cells alike", 3, [0.3] * 3),
        ("three cells alike", 5, [0.3] * 3),
        ("one cell of nine varies", 3, [0.3] + [0] * 8),
        ("three cells of nine vary", 3, [0.3] * 3 + [0] * 6),
        ("one cell of three varies", 3, [0.3, 0, 0]),
        ("one cell of three varies", 5, [0.3, 0, 0]),
        ("nine cells, each unlike", 3, [0.1 * i for i in range(1, 10)]),
    ):
        print(f"{seeds} seeds, {name}: {told_apart(seeds, deviations):.1%}")
