"""How often a ranking tells two models apart that are alike; 5 % promised.

python tests/coverage_ranking.py
"""

import random

from kbench.leaderboard.ranking import Shared, rank


def told_apart(seeds: int, cells: int, pairs: int = 1000) -> float:
    """Share of pairs with different ranks; log κ is normal, and exactly known of each seed."""
    rng = random.Random(7)

    def model() -> dict[str, list[Shared]]:
        luck = {str(c): [rng.gauss(0, 0.3) for _ in range(seeds)] for c in range(cells)}
        return {cell: [Shared(low=x, high=x) for x in of] for cell, of in luck.items()}

    boards = ({"a": model(), "b": model()} for _ in range(pairs))
    ranked = (rank(board, "b", resamples=400) for board in boards)
    return sum(first.rank != second.rank for first, second in ranked) / pairs


if __name__ == "__main__":
    for seeds, cells in ((3, 9), (3, 3), (5, 3)):
        print(f"{seeds} seeds, {cells} cells: {told_apart(seeds, cells):.1%}")
