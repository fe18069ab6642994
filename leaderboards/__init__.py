"""κ leaderboards: one JSON entry per model, task, supervision and protocol."""
