"""kbench: how many samples a sequence model needs, and whether it shares them across lengths."""

__version__ = "0.1.0"
