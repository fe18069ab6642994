"""The likelihood behind `median_interval`, for many sets of seeds at once: arrays in, arrays out.

Seeds are taken as draws from one normal distribution, of which each is known between two bounds or
from one side. Everything here is on the scale on which they are normal (logs, for N* and kappa);
minus and plus infinity stand for bounds that there are not.
"""

import math

import numpy as np
from scipy.special import bdtr, ndtr, stdtrit

SPREADS = np.linspace(math.log(0.003), math.log(30), 24)
"""Logs of the standard deviations looked at first, relative to the range of the bounds."""
NEAR = np.linspace(-1.0, 1.0, 9)
"""Those looked at next, in steps of the first grid around its best."""
SMALLEST = 1e-300
ONE_SEED = 0.7
"""An interval reaches at least so far to either side, in half-widths of a seed's own bounds.

Seeds that all fall into the same brackets share their rounding, and more of them do not undo it;
0.7 is what two brackets of equal width leave of the sum of their widths. Intervals without it:
`studies/interval_coverage.py --floor 0`.
"""


def intervals(
    low: np.ndarray, high: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower end, estimate and upper end of the median, for each row of bounds [sets, seeds].

    Infinite ends are none; an estimate is not a number where a side is unbounded for every seed.
    """
    sets = len(low)
    ends = np.full(sets, -np.inf), np.full(sets, np.nan), np.full(sets, np.inf)
    above, below = np.isfinite(low).any(1), np.isfinite(high).any(1)
    if (both := above & below).any():
        for end, value in zip(ends, _by_likelihood(low[both], high[both], confidence), strict=True):
            end[both] = value
    for i in np.flatnonzero(below & ~above):
        ends[2][i] = _beyond(high[i], confidence)
    for i in np.flatnonzero(above & ~below):
        ends[0][i] = -_beyond(-low[i], confidence)
    return ends


def _beyond(bounds: np.ndarray, confidence: float) -> float:
    """What the median stays below, where all that is known is that each seed does: a sign test.

    Of n seeds all lie above their median with probability 2^-n, whatever their distribution.
    """
    finite = np.sort(bounds[np.isfinite(bounds)])[::-1]
    allowed = np.arange(len(finite))
    fits = bdtr(allowed, len(finite), 0.5) <= 1 - confidence + 1e-12
    return float(finite[np.flatnonzero(fits)[-1]]) if fits.any() else math.inf


def _by_likelihood(
    low: np.ndarray, high: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where some seed is bounded below and some seed above."""
    seeds = (np.isfinite(low) | np.isfinite(high)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = stdtrit(seeds - 1, 0.5 + confidence / 2)
        cut = seeds / 2 * np.log1p(t**2 / (seeds - 1))
    bounds = np.concatenate([low, high], 1)
    finite = np.isfinite(bounds)
    least = np.where(finite, bounds, np.inf).min(1)
    most = np.where(finite, bounds, -np.inf).max(1)
    scale = np.maximum(most - least, 1e-9)
    spreads = np.log(scale)[:, None] + SPREADS
    estimate, best = _maximum(low, high, spreads, least - scale, most + scale)
    steps = scale[:, None] * np.array([-1.0, 1.0])
    ends = _crossings(low, high, spreads, estimate, steps, best - cut)
    ends = np.where(seeds[:, None] < 2, steps * np.inf, ends)  # a single seed has no spread
    two = np.isfinite(low) & np.isfinite(high)
    widths = np.where(two, np.where(two, high, 0.0) - np.where(two, low, 0.0), 0.0)
    least_reach = ONE_SEED * widths.sum(1) / np.maximum(two.sum(1), 1) / 2
    return (
        np.minimum(ends[:, 0], estimate - least_reach),
        estimate,
        np.maximum(ends[:, 1], estimate + least_reach),
    )


def _maximum(
    low: np.ndarray, high: np.ndarray, spreads: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the profile is largest, in the middle where it is flat; and its value there."""
    parts, at = np.linspace(0, 1, 9), len(left)
    best = np.full(at, -np.inf)
    for _ in range(8):
        medians = left[:, None] + (right - left)[:, None] * parts
        values = _profile(low, high, medians, spreads)
        best = np.maximum(best, values.max(1))
        top = values >= best[:, None] - 1e-7
        top |= values == values.max(1)[:, None]
        first, last = top.argmax(1), len(parts) - 1 - top[:, ::-1].argmax(1)
        rows = np.arange(at)
        left, right = (
            medians[rows, np.maximum(first - 1, 0)],
            medians[rows, np.minimum(last + 1, len(parts) - 1)],
        )
    middle = (left + right) / 2
    return middle, np.maximum(best, _profile(low, high, middle[:, None], spreads)[:, 0])


def _crossings(
    low: np.ndarray, high: np.ndarray, spreads: np.ndarray, start: np.ndarray, steps: np.ndarray,
    level: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Where the profile falls below the level, from the start in steps of either sign [sets, 2]."""

    def holds(medians: np.ndarray) -> np.ndarray:
        flat = _profile(low, high, medians.reshape(len(medians), -1), spreads)
        return (flat >= level[:, None]).reshape(medians.shape)

    inner = np.repeat(start[:, None], 2, axis=1)
    outer, step = inner + steps, steps
    for _ in range(9):
        inside = holds(outer)
        if not inside.any():
            break
        step = np.where(inside, 2.5 * step, step)
        inner, outer = (
            np.where(inside, outer, inner),
            np.where(inside, start[:, None] + step, outer),
        )
    endless = holds(outer)
    quarters = np.array([0.25, 0.5, 0.75])
    for _ in range(7):
        width = outer - inner
        inside = holds(inner[..., None] + width[..., None] * quarters)
        passed = np.logical_and.accumulate(inside, axis=-1).sum(-1)
        inner, outer = inner + width * passed / 4, inner + width * (passed + 1) / 4
    return np.where(endless, np.sign(steps) * np.inf, outer)


def _profile(
    low: np.ndarray, high: np.ndarray, medians: np.ndarray, spreads: np.ndarray
) -> np.ndarray:
    """The log-likelihood of each median [sets, medians], at the spread that makes it largest."""
    coarse = _likelihood(low, high, medians, spreads[:, None, :])
    best = coarse.argmax(-1)
    step = spreads[:, 1] - spreads[:, 0]
    around = spreads[np.arange(len(spreads))[:, None], best]
    near = around[..., None] + NEAR * step[:, None, None]
    fine = _likelihood(low, high, medians, near)
    top = np.clip(fine.argmax(-1), 1, len(NEAR) - 2)[..., None]
    a, b, c = (np.take_along_axis(fine, top + k, -1)[..., 0] for k in (-1, 0, 1))
    bend = a - 2 * b + c
    with np.errstate(divide="ignore", invalid="ignore"):
        summit = b - (a - c) ** 2 / (8 * bend)
    summit = np.where((bend < 0) & (b >= a) & (b >= c), summit, -np.inf)
    found = np.maximum(np.maximum(coarse.max(-1), fine.max(-1)), summit)
    return np.minimum(found, 0.0)


def _likelihood(
    low: np.ndarray, high: np.ndarray, medians: np.ndarray, spreads: np.ndarray
) -> np.ndarray:
    """Log of the probability of all bounds [sets, medians, spreads]."""
    spread, median = np.exp(spreads)[..., None], medians[:, :, None, None]
    a, b = (low[:, None, None, :] - median) / spread, (high[:, None, None, :] - median) / spread
    # In the lower tail a difference of probabilities keeps its digits, in the upper one it does
    # not.
    with np.errstate(invalid="ignore"):
        upper = a + b > 0
    probability = ndtr(np.where(upper, -a, b)) - ndtr(np.where(upper, -b, a))
    return np.log(np.maximum(probability, SMALLEST)).sum(-1)
