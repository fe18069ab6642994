"""Is HEAD what BASE was? Comparing results by digest, by statistics, and by time."""

TOLERANCE = 1.5
"""A ratio between 1 / 1.5 and 1.5 counts as no change."""
