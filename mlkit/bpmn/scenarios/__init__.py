"""Scenarios: a diagram is played with a simulated clock and prepared answers."""
