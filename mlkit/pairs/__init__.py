"""Pairs of securities: screening, fitting and backtesting."""
