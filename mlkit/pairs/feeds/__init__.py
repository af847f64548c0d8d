"""Feeds: where prices come from as they happen, as records of one ticker at one time."""

from mlkit.pairs.feeds.records import PriceRecord

__all__ = ["PriceRecord"]
