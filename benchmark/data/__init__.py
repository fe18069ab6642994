"""From a task and a seed to tensors: unique samples, disjoint splits, supervision, and digests."""

from kbench.data.splits import Source, Split, universe
from kbench.data.supervision import SUPERVISIONS

__all__ = ["SUPERVISIONS", "Source", "Split", "universe"]
