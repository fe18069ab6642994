"""How often comparison gives alarm by chance, and what it refuses to read."""

import itertools
import math
import random

import pytest
from made_results import INCONCLUSIVE, REGRESSION, SAME, behaving_otherwise, read_cell, result

from kbench.errors import KbenchError
from kbench.regression.compare import ALPHA, Reading, compare, interval, judge

# How often by chance


def point(x, blur=0.0):
    return Reading(x, x, x, blur)


def test_the_interval_is_students_and_never_below_the_rounding():
    low, high = interval([point(x) for x in (0.0, 0.1, 0.2)], 0.95)
    assert (low, high) == pytest.approx((0.1 - 4.303 * 0.0577, 0.1 + 4.303 * 0.0577), abs=1e-3)
    # Three seeds that agree by chance, each known to within 0.1 · √3.
    low, high = interval([point(1.0, 0.1)] * 3, 0.95)
    assert (low, high) == pytest.approx((0.73, 1.27), abs=0.02)
    assert low < 1 - 0.1 * math.sqrt(3)


def test_more_comparisons_make_an_alarm_harder():
    ratios = [point(math.log(2.2) + x) for x in (-0.1, 0.0, 0.1, 0.05, -0.05)]
    assert judge("κ", ratios, 1).verdict == REGRESSION
    assert judge("κ", ratios, 1000).verdict == INCONCLUSIVE


def share(verdict, ratio, spread, seeds, count, draws, quantities=1):
    """Of comparisons of `quantities` drawn at random, those in which any is so judged."""
    rng, found = random.Random(1), 0
    for _ in range(draws):
        found += any(
            judge(
                "κ", [point(rng.gauss(math.log(ratio), spread), 0.09) for _ in range(seeds)], count
            ).verdict
            == verdict
            for _ in range(quantities)
        )
    return found / draws


@pytest.mark.parametrize(("seeds", "spread"), [*itertools.product((2, 5), (0.1, 0.5))])
def test_false_alarms_are_rarer_than_promised(seeds, spread):
    assert share(REGRESSION, 1.0, spread, seeds, 17, 40, quantities=17) <= 0.01
    # At the very edge of the tolerance, where they are likeliest.
    assert share(REGRESSION, 1.499, spread, seeds, 17, 80, quantities=17) <= ALPHA + 0.03


def test_five_seeds_have_the_power_to_tell():
    assert share(SAME, 1.0, 0.1, 5, 17, 300) >= 0.95
    assert share(REGRESSION, 3.0, 0.1, 5, 17, 300) >= 0.95
    assert share(SAME, 1.5, 0.1, 5, 17, 300) <= 0.05


# Bad input


def places(value, path=()):
    """The path of everything inside nested lists and dictionaries."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items if isinstance(value, dict | list) else ():
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


JUNK = (DELETED := object(), None, True, -1, 0, 1e999, 10**400, "", "x", [], {}, [[]], {"x": None})


def test_what_is_no_result_is_refused_and_never_breaks_down():
    base, refused = read_cell(result()), 0
    for path, junk in itertools.product(places(result()), JUNK):
        head = behaving_otherwise(result())
        of = head
        for key in path[:-1]:
            of = of[key]
        if junk is DELETED:
            del of[path[-1]]
        else:
            of[path[-1]] = junk
        try:
            compare([base], [read_cell(head)])
        except KbenchError as error:
            assert str(error).startswith("not a result of kbench: "), path
            assert "\n" not in str(error)
            refused += 1
    assert refused > 300
    for nothing in ({}, [], None, "x"):
        with pytest.raises(KbenchError, match="not a result of kbench"):
            read_cell(nothing)
