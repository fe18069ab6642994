"""Numbers in, numbers out: brackets of N*, their search, κ and slopes. No torch, no files."""

from kbench.statistics.brackets import Bracket, best_of_grid
from kbench.statistics.likelihood import Interval, median_interval
from kbench.statistics.search import Probe, Search

__all__ = ["Bracket", "Interval", "Probe", "Search", "best_of_grid", "median_interval"]
