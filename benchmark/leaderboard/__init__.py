"""Leaderboards: entries with every trial behind them, their validation, ranking and pages."""
