"""Is an entry what it says? Its parts, its trials, and some of them run again."""

DEFAULT = 12
"""Trials of an entry that are run again where nobody says how many."""
