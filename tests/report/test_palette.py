"""One colour a model: told apart from the page, and the same on plots as on pages."""

import pytest
from conftest import changed

from kbench.registry import models
from kbench.report.figures.palette import KINDS, MARKERS, colour, kind
from kbench.report.figures.plots import kappa_figure
from kbench.study.searches import CellRun


def luminance(hexadecimal):
    channels = [int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("model", [*models.names(), "mine.py:Mine"])
def test_a_colour_can_be_seen_on_light_and_dark_and_is_one_models(model):
    for page in ("#ffffff", "#fcfcfa", "#14171b"):
        assert contrast(colour(model), page) >= 3
    others = [other for other in models.names() if other != model]
    assert colour(model) not in {colour(other) for other in others}


def test_every_model_has_one_kind():
    assert sorted(model for of in KINDS.values() for model in of) == sorted(models.names())
    assert kind("mine.py:Mine") == "other"


def test_a_plot_has_the_models_colour_and_the_supervisions_shape(cell, monkeypatch):
    monkeypatch.setattr(CellRun, "searched", True)
    runs = [CellRun(changed(cell, model=m)) for m in ("lstm", "transformer")]
    from kbench.statistics.likelihood import Interval

    monkeypatch.setattr(CellRun, "kappa", Interval(low=2.0, high=4.0, estimate=3.0))
    lines = [line for line in kappa_figure(runs).axes[0].lines if line.get_marker() == "^"]
    assert [line.get_color() for line in lines] == [colour("lstm"), colour("transformer")]
    assert MARKERS[cell.supervision] == "^"
