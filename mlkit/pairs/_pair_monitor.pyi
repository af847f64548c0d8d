"""The running figures of all pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Row = list[tuple[tuple[int, int], list[float]]]

class Monitor:
    """Correlation (0), distance (1), z-score (2) and crossings (3) of all pairs."""

    def __init__(
        self,
        tickers: int,
        beta: NDArray[np.float64] | float,
        *,
        decay: float,
        min_bars: int,
        window: int = 0,
    ) -> None: ...
    def step(self, closes: NDArray[np.float64], threads: int = 1) -> None:
        """Take a bar; ValueError if a close is no price, and nothing has changed."""

    def all(self, figure: int, threads: int = 1) -> NDArray[np.float64]:
        """Return a figure of the pairs (0, 1), (0, 2), ..., (1, 2), ..., shape (pairs,)."""

    def pairs(self, pairs: Sequence[tuple[int, int]]) -> _Row:
        """Return the figures of some pairs y < x."""

    def top(
        self,
        by: int,
        count: int,
        bounds: Sequence[tuple[int, tuple[float, float]]],
        threads: int = 1,
    ) -> _Row:
        """Return the best pairs by a figure, of those whose figures are within all bounds."""

    def save(self) -> bytes:
        """Return the state as versioned bytes."""

    @staticmethod
    def load(state: bytes) -> Monitor:
        """Restore what `save` returned; ValueError if it is damaged."""

    @property
    def tickers(self) -> int:
        """The number of tickers."""

    @property
    def decay(self) -> float:
        """Of the weights, per bar."""

    @property
    def window(self) -> int:
        """Bars that count; 0 if weights decay."""

    @property
    def min_bars(self) -> int:
        """Bars before there are figures."""

    @property
    def bars(self) -> int:
        """The number of bars taken."""
