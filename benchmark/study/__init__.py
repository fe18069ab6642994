"""From names to cells, from cells to trials and back: plan, driver, store and executors."""

from kbench.study.cell import Cell
from kbench.study.searches import CellRun
from kbench.study.store import Store

__all__ = ["Cell", "CellRun", "Store"]
