"""Is HEAD what BASE was? Comparing results by digest, by statistics, and by time."""
