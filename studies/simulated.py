"""Whole cells with a known κ, measured as kbench does: what the studies of the estimator draw.

Every seed has an N* for each length and one for all lengths together; a search on the protocol's
grid finds a bracket for each, through runs whose success near N* is a matter of chance; the
brackets bound κ of the seed. All seeds of all draws at once, as arrays.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np

from kbench.statistics.brackets import size_grid

LENGTHS = 5
SHORTEST, GROWTH = 20, 1.5
"""N* of the shortest length, and how it grows from one length to the next."""
START = 1.5
"""Searches start so far above the middle of N*, as one steered by another seed does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What may decide how well an interval does."""

    seeds: int = 5
    kappa: float = 1.0
    distribution: str = "normal"
    """Of log N* over seeds: `normal`, `heavy` (t, 3 degrees), or `skewed` and `skewed left`."""
    spread: float = 0.5
    """Standard deviation of log N* over seeds."""
    ratio: float = 1.35
    """Of the search's grid."""
    right: float = 0.0
    """Share of joint N* above the largest size."""
    left: float = 0.0
    """Share of joint N* below the smallest size."""
    together: float = 0.0
    """Correlation of the log N* of one seed."""
    noise: float = 0.1
    """Width, in ln N, of the logistic curve on which success rises."""
    near: bool = False
    """Do the universes of single lengths end near their N*?"""

    def name(self) -> str:
        """What differs from the defaults, but for the seeds."""
        values = dataclasses.asdict(self)
        defaults = dataclasses.asdict(Setting())
        unlike = {k: v for k, v in values.items() if v != defaults[k] and k != "seeds"}
        return ", ".join(f"{k} {v}" for k, v in unlike.items()) or "defaults"


def deviates(rng: np.random.Generator, distribution: str, shape: tuple[int, ...]) -> np.ndarray:
    """Of mean about 0 and standard deviation 1."""
    if distribution == "normal":
        return rng.standard_normal(shape)
    if distribution == "heavy":
        return rng.standard_t(3, shape) / math.sqrt(3)
    skewed = (rng.gamma(4, size=shape) - 4) / 2  # of skewness 1
    return skewed if distribution == "skewed" else -skewed


def needed(rng: np.random.Generator, of: Setting, shape: tuple[int, ...]) -> tuple:
    """N* of each length [*shape, LENGTHS], and log N* of all together but for its centre."""
    share = math.sqrt(of.together)
    common = deviates(rng, of.distribution, (*shape, 1))
    own = deviates(rng, of.distribution, (*shape, LENGTHS + 1))
    logs = of.spread * (share * common + math.sqrt(1 - of.together) * own)
    return np.ceil(np.exp(centres() + logs[..., :LENGTHS])), logs[..., LENGTHS]


def centres() -> np.ndarray:
    """Of log N* of each length."""
    return np.log(SHORTEST * GROWTH ** np.arange(LENGTHS))


def universes(of: Setting) -> np.ndarray:
    """Samples of each length there are."""
    return np.ceil(np.exp(centres()) * (1.3 if of.near else 50))


@functools.cache
def _truth(of: Setting) -> tuple[float, np.ndarray]:
    """The centre of joint log N* at which the median κ_s is 1, and quantiles around it."""
    alone, joint = needed(np.random.default_rng(0), of, (400_000,))
    total = np.log(np.minimum(alone, universes(of)).sum(-1))
    return float(np.median(total - joint)), np.quantile(joint, np.linspace(0, 1, 1001))


def drawn(of: Setting, draws: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on log κ_s [draws, seeds], infinite where there are none."""
    rng = np.random.default_rng([seed, of.seeds])
    plain = dataclasses.replace(of, seeds=0, kappa=1.0, ratio=0.0, noise=0.0, right=0.0, left=0.0)
    centre, quantiles = _truth(plain)
    centre -= math.log(of.kappa)
    alone, joint = needed(rng, of, (draws, of.seeds))
    least = most = np.zeros(joint.shape)
    for i, (middle, size) in enumerate(zip(centres(), universes(of), strict=True)):
        grid = np.array(size_grid(of.ratio, int(0.8 * size)))
        low, high = search(rng, np.log(alone[..., i]), grid, middle + math.log(START), of.noise)
        least = least + low + 1
        most = most + np.where(np.isfinite(high), high, size)  # whoever has seen all knows all
    top = math.exp(centre + quantiles[round(1000 * (1 - of.right))]) if of.right else 1e4
    bottom = math.exp(centre + quantiles[round(1000 * of.left)]) if of.left else 0
    sizes = size_grid(of.ratio, max(2, round(top)))
    grid = np.array([size for size in sizes if size >= bottom] or sizes[-1:])
    log_joint = np.log(np.ceil(np.exp(centre + joint)))
    low, high = search(rng, log_joint, grid, centre + math.log(START), of.noise)
    with np.errstate(divide="ignore"):
        upper = np.where((low == 0) & (of.left > 0), np.inf, np.log(most / (low + 1)))
        return np.log(least / high), upper


def search(
    rng: np.random.Generator, thresholds: np.ndarray, grid: np.ndarray, start: float, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """What `bracket_path` finds: largest size to fail (0: none), smallest to pass (infinite: none).

    Of sizes with these thresholds in ln N; whether a run of one size passes is drawn once.
    """
    logs = np.log(grid)
    rise = (logs - thresholds[..., None]) / noise if noise else None
    passes = (
        logs >= thresholds[..., None] - 1e-9
        if rise is None
        else rng.random(rise.shape) < 1 / (1 + np.exp(-np.clip(rise, -50, 50)))
    )
    return follow(passes, grid, start)


def follow(passes: np.ndarray, grid: np.ndarray, start: float) -> tuple[np.ndarray, np.ndarray]:
    """As search(), for verdicts [..., sizes] that are known."""
    shape, count = passes.shape[:-1], len(grid)
    low, high = np.full(shape, -1), np.full(shape, count)
    first = min(int(np.searchsorted(np.log(grid), start + 1e-9)), count - 1)
    probe, stride = np.full(shape, first), np.ones(shape, int)
    while (active := high - low > 1).any():
        passing = np.take_along_axis(passes, probe[..., None], -1)[..., 0]
        high = np.where(active & passing, probe, high)
        low = np.where(active & ~passing, probe, low)
        down, up = low == -1, (high == count) & (low != -1)
        gap = high - low
        between = np.where(gap > 2, low + np.ceil(gap * 2 / 3).astype(int), low + 1)
        after = np.where(
            down,
            np.maximum(high - stride, 0),
            np.where(up, np.minimum(low + stride, count - 1), between),
        )
        stride = np.where(down | up, 2 * stride, stride)
        probe = np.where(active, np.clip(after, 0, count - 1), probe)
    sizes = np.append(grid.astype(float), np.inf)
    return np.where(low >= 0, sizes[low], 0.0), sizes[high]
