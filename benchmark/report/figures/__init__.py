"""Figures: κ, learning curves and success, in one palette."""
