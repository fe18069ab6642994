"""Published experiments, run again: their set-ups, their runs, and published beside measured."""

from kbench.reproduce.experiment import Experiment, Figure, load, names

__all__ = ["Experiment", "Figure", "load", "names"]
