"""The series of a screen's tickers, and the pairs of them that are looked at, in portions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen.cointegration import Matrix, Numbers

PORTION = 250_000
"""Pairs that are held in memory at a time."""


@dataclass(frozen=True, eq=False)
class Universe:
    """The series of n tickers; those of a group are neighbours if pairs lie within groups.

    Attributes:
        prices: Complete prices of n tickers.
        scale: `log` or `levels`.
        series: Log prices or prices, shape (length, n).
        first: The pairs that are looked at are (i, j) with first[j] <= i < j, shape (n,).
    """

    prices: Prices
    scale: Literal["log", "levels"]
    series: Matrix
    first: Numbers

    @classmethod
    def of(
        cls,
        prices: Prices,
        scale: Literal["log", "levels"],
        groups: Mapping[str, str] | None = None,
    ) -> Universe:
        """Line up complete prices; with groups, only pairs within one are looked at.

        Raises:
            BadData: A ticker has no group.
        """
        first = np.zeros(len(prices.tickers), dtype=np.int64)
        if groups is not None:
            names = group_names(prices.tickers, groups)
            order = np.argsort(names, kind="stable")
            prices = prices.select([prices.tickers[n] for n in order])
            first = np.searchsorted(names[order], names[order]).astype(np.int64)
        series = np.log(prices.close) if scale == "log" else prices.close
        return cls(prices, scale, series, first)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to other processes: closes, and nothing that they give."""
        closes = replace(
            self.prices, open=None, high=None, low=None, volume=None, dividends=None, factor=None
        )
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"prices": closes}

    @property
    def count(self) -> int:
        """The number of tickers."""
        return len(self.prices.tickers)

    @property
    def pairs(self) -> int:
        """The number of pairs that are looked at."""
        return int((np.arange(self.count) - self.first).sum())

    def portions(self) -> Iterator[tuple[int, int]]:
        """Cut the columns into ranges of about `PORTION` pairs."""
        sizes = np.arange(self.count) - self.first
        portion = np.cumsum(sizes) // PORTION
        edges = [0, *(np.flatnonzero(np.diff(portion)) + 1).tolist(), self.count]
        yield from pairwise(edges)

    @cached_property
    def steps(self) -> Matrix:
        """The series' changes, scaled to a sum of squares of 1, shape (length - 1, n)."""
        changes = np.diff(self.series, axis=0)
        return np.asarray(changes / np.sqrt((changes * changes).sum(axis=0)))

    @cached_property
    def returns(self) -> Matrix:
        """Centred log returns, scaled to a sum of squares of 1, shape (length - 1, n)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            returns = np.diff(np.log(self.prices.close), axis=0)
            returns -= returns.mean(axis=0)
            return np.asarray(returns / np.sqrt((returns * returns).sum(axis=0)))

    def correlation(self, y: Numbers, x: Numbers) -> Matrix:
        """Return the correlation of some pairs' log returns."""
        return np.asarray(np.einsum("tp,tp->p", self.returns[:, y], self.returns[:, x]))

    @cached_property
    def normalised(self) -> Matrix:
        """Prices over their first price; NaN for tickers whose prices are not all positive."""
        close = self.prices.close
        positive = (close > 0.0).all(axis=0)
        found = np.divide(close, close[0], out=np.full(close.shape, np.nan), where=positive)
        return np.asarray(found)

    def distance(self, y: Numbers, x: Numbers) -> Matrix:
        """Sum the squared deviations of some pairs' normalised prices."""
        gaps = self.normalised[:, y] - self.normalised[:, x]
        return np.asarray((gaps * gaps).sum(axis=0))

    def by_name(self, i: Numbers, j: Numbers) -> tuple[Numbers, Numbers]:
        """Take pairs' tickers in alphabetical order, so that the columns' order is nothing."""
        swap = self.places[j] < self.places[i]
        return np.where(swap, j, i), np.where(swap, i, j)

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """Each ticker's place in alphabetical order."""
        return np.argsort(np.argsort(np.array(self.prices.tickers)))


def products(columns: Matrix, begin: int, end: int, i: Numbers, j: Numbers) -> Matrix:
    """Return the inner products of some pairs whose second columns lie in [begin, end)."""
    table = columns[:, :end].T @ columns[:, begin:end]
    return np.asarray(table[i, j - begin])


def group_names(tickers: tuple[str, ...], groups: Mapping[str, str]) -> NDArray[np.str_]:
    """Return each ticker's group, shape (n,).

    Raises:
        BadData: A ticker has no group.
    """
    for ticker in tickers:
        if ticker not in groups:
            raise BadData(f"no group for ticker '{ticker}'", hint="add it to the groups file")
    return np.array([groups[ticker] for ticker in tickers])
