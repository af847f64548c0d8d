"""Prices: the files that hold them, brought to one time axis."""

from mlkit.pairs.prices.prices import Prices, read

__all__ = ["Prices", "read"]
