"""Decisions: DMN 1.1 to 1.6, read, checked, and evaluated without a clock of its own."""
