"""Two published figures in seconds, and that they turn red where the model is broken."""

import pytest
import torch
from torch.nn import functional

from kbench.models import deltanet
from kbench.models.deltanet_pos import Halved
from kbench.reproduce import load
from kbench.reproduce.results import Run, read
from kbench.study.executors.local import run_cohort


def reproduced(name, seeds=None):
    of = load(name)
    runs = {t.key(): Run.of(t, run_cohort([t])[0]) for t in of.trials(seeds)}
    (reading,) = read(of, runs, seeds)
    return reading.within


@pytest.mark.parametrize("name", ["quick-parity", "quick-recall"])
def test_a_published_figure_comes_out(name):
    assert reproduced(name)


def test_parity_turns_red_without_negative_eigenvalues(monkeypatch):
    build = deltanet.Mixer.__init__

    def positive(self, width, heads, steps, conv=4):
        build(self, width, heads, steps, conv)
        self.beta = Halved(width, steps * heads, bias=False)

    monkeypatch.setattr(deltanet.Mixer, "__init__", positive)
    assert reproduced("quick-parity", seeds=1) is False


def test_recall_turns_red_without_the_short_convolution(monkeypatch):
    def present_alone(x_TBE, taps, bias, past=None):
        return functional.silu(x_TBE), torch.zeros_like(x_TBE[:0])

    monkeypatch.setattr(deltanet, "short_convolution", present_alone)
    assert reproduced("quick-recall", seeds=1) is False
