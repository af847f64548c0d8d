"""Lint: what would stop or surprise a run, found before it starts."""
