"""Is an entry what it says? Its parts, its trials, and some of them run again."""
