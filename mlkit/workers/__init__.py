"""Isolated worker processes that run scripts and callables in Python and R."""
