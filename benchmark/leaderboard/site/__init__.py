"""The leaderboards as static pages."""
