"""Running figures of all pairs of a set of tickers, bar by bar."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_monitor as native

MAGIC = b"mlkit pair monitor 1\n"

Figure = Literal["correlation", "distance", "zscore", "crossings"]
FIGURES: tuple[Figure, ...] = get_args(Figure)


class Candidate(NamedTuple):
    """A pair with its figures; NaN where it has none.

    Attributes:
        y: The ticker that comes first among those of the monitor.
        x: The other one.
        correlation: Of the log returns.
        distance: Mean squared difference of the prices over their first ones.
        zscore: Of the spread at the last bar; NaN if one of the two has no price there.
        crossings: How often the spread crossed its mean.
    """

    y: str
    x: str
    correlation: float
    distance: float
    zscore: float
    crossings: float


class PairMonitor:
    """Follows all n (n - 1) / 2 pairs of n tickers, one bar at a time.

    A price that is missing (NaN, or no entry) is a missing bar of its ticker, and of its pairs: a
    pair counts the bars in which both have a price, and the returns of the bars in which both
    have one in the bar before, too. A bar's weight halves with each `half_life` bars of its pair
    that follow, or the last `window` bars count alike, those that the pair misses among them. So
    the figures are those of pandas' `ewm(halflife=..., ignore_na=True)`, or `rolling(window,
    min_periods=min_bars)`, to 1e-9: `corr`, `mean` of the squared gaps of prices over first
    prices, and the spread log y - beta log x less `mean` over `std` without correction for bias.
    A crossing is a bar after which the spread lies on the other side of its running mean than
    before; it has that bar's weight.

    The bits depend neither on the machine nor on `threads`; memory does not grow with time: 104
    bytes per pair, and one bit per pair for each bar of a window. Another thread may read while
    one takes bars.

    Args:
        tickers: Their names, in the order of the arrays of `step`.
        half_life: In bars; infinite weighs all bars alike. Without meaning if there is a window.
        window: Bars that count, `min_bars` or more; None: all do, with weights that decay.
        beta: Hedge ratio of the log spread: one for all pairs, or an array of shape (n, n) that
            holds those of y and x at [y, x], y < x.
        min_bars: Bars (for correlation, returns) before a pair has figures.
        threads: Threads to use.

    Raises:
        UsageError: A ticker appears twice, or a setting is out of range.
    """

    def __init__(
        self,
        tickers: Sequence[str],
        *,
        half_life: float = 60.0,
        window: int | None = None,
        beta: float | NDArray[np.float64] = 1.0,
        min_bars: int = 20,
        threads: int = 1,
    ) -> None:
        if window is not None:
            half_life = np.inf
            if window < 1:
                raise UsageError("window must be positive", hint="window=252, in bars")
        decay = 2.0 ** (-1.0 / half_life) if half_life > 0.0 else 0.0
        if not decay > 0.0:
            raise UsageError("half_life is not positive", hint="half_life=60, in bars")
        try:
            hedge = np.asarray(beta, dtype=np.float64)
            monitor = native.Monitor(
                len(tickers), hedge, decay=decay, min_bars=min_bars, window=window or 0
            )
        except (ValueError, TypeError) as error:
            raise UsageError(f"a pair monitor cannot be made: {error}") from error
        except MemoryError as error:
            raise UsageError(
                f"all pairs of {len(tickers)} tickers do not fit into memory",
                hint="a pair takes 104 bytes, and one bit for each bar of a window",
            ) from error
        self._set(tickers, monitor, threads)

    def _set(self, tickers: Sequence[str], monitor: native.Monitor, threads: int) -> None:
        if threads < 1:
            raise UsageError("threads must be at least 1")
        self.tickers, self.threads, self._monitor = tuple(tickers), threads, monitor
        self._columns = {ticker: n for n, ticker in enumerate(self.tickers)}
        if len(self._columns) < len(self.tickers):
            raise UsageError("a ticker appears twice")

    def step(self, close: Mapping[str, float] | NDArray[np.float64]) -> None:
        """Take a bar: a price for each ticker, as an array, or those known by name.

        Raises:
            BadData: A price is not positive and finite, or more than 1e150 times the first one of
                its ticker. The bar is not taken.
            UsageError: A ticker is unknown, or the array has another length.
        """
        row = self._row(close)
        try:
            self._monitor.step(row, self.threads)
        except ValueError as error:
            raise BadData(f"bar {self.bars}: {error}") from error

    def top(
        self,
        by: Figure,
        count: int,
        within: Mapping[Figure, tuple[float, float]] | None = None,
    ) -> list[Candidate]:
        """Return the best pairs by a figure, best first; those without it are left out.

        Best is the highest correlation, the least distance, the greatest absolute z-score, and
        the most crossings. Ties go in the order of the tickers.

        Args:
            by: The figure.
            count: How many pairs at most.
            within: Lowest and highest value of some figures, both included.

        Raises:
            UsageError: A figure is unknown, `count` is negative, or bounds are the wrong way round.
        """
        if count < 0:
            raise UsageError("count must not be negative")
        bounds = [
            (_number(each), (float(low), float(high)))
            for each, (low, high) in (within or {}).items()
        ]
        try:
            found = self._monitor.top(_number(by), count, bounds, self.threads)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return self._name_pairs(found)

    def figure(self, name: Figure) -> NDArray[np.float64]:
        """Return a figure of all pairs, shape (pairs,), in the order of `numpy.triu_indices(n, 1)`.

        Raises:
            UsageError: The figure is unknown.
        """
        return self._monitor.all(_number(name), self.threads)

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> list[Candidate]:
        """Return the figures of some pairs, whose y comes before x among the tickers.

        Raises:
            UsageError: A ticker is unknown, or a pair is the wrong way round.
        """
        numbers = [(self._column(y), self._column(x)) for y, x in pairs]
        for y, x in numbers:
            if y >= x:
                y_name, x_name = self.tickers[y], self.tickers[x]
                raise UsageError(
                    f"no pair {y_name}/{x_name} in this monitor",
                    hint=f"{x_name} comes first: its pair is {x_name}/{y_name}" if y > x else None,
                )
        return self._name_pairs(self._monitor.pairs(numbers))

    @property
    def bars(self) -> int:
        """The number of bars taken."""
        return self._monitor.bars

    @property
    def window(self) -> int | None:
        """Bars that count; None if all do."""
        return self._monitor.window or None

    @property
    def half_life(self) -> float:
        """Bars after which a bar has half its weight."""
        decay = self._monitor.decay
        return float(-1.0 / np.log2(decay)) if decay < 1.0 else float("inf")

    def save(self) -> bytes:
        """Return the whole state as versioned bytes; equal states have equal bytes."""
        head = json.dumps(self.tickers).encode()
        return MAGIC + struct.pack("<QI", len(head), zlib.crc32(head)) + head + self._monitor.save()

    @classmethod
    def load(cls, state: bytes, *, threads: int = 1) -> PairMonitor:
        """Restore what `save` returned.

        Raises:
            BadData: The bytes are damaged, or from another version.
        """
        try:
            tickers, monitor = _restore(state)
        except (ValueError, TypeError, RecursionError, struct.error) as error:
            raise BadData(f"a saved pair monitor cannot be read: {error}") from error
        found = cls.__new__(cls)
        found._set(tickers, monitor, threads)
        return found

    def _column(self, ticker: str) -> int:
        if ticker not in self._columns:
            raise UsageError(f"no ticker '{ticker}' in this monitor")
        return self._columns[ticker]

    def _row(self, close: Mapping[str, float] | NDArray[np.float64]) -> NDArray[np.float64]:
        if isinstance(close, Mapping):
            known = {self._column(ticker): price for ticker, price in close.items()}
            close = np.array([known.get(n) for n in range(len(self.tickers))], dtype=object)
        try:
            found = np.asarray(close, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadData(f"bar {self.bars}: {error}") from error
        if found.shape != (len(self.tickers),):
            raise UsageError(f"a bar of shape {found.shape} for {len(self.tickers)} tickers")
        return found

    def _name_pairs(self, found: list[tuple[tuple[int, int], list[float]]]) -> list[Candidate]:
        names = self.tickers
        return [Candidate(names[y], names[x], *values) for (y, x), values in found]


def _number(figure: str) -> int:
    if figure not in FIGURES:
        raise UsageError(f"no figure '{figure}'", hint="one of " + ", ".join(FIGURES))
    return FIGURES.index(figure)


def _restore(state: bytes) -> tuple[list[str], native.Monitor]:
    """Read tickers and native state; ValueError or struct.error if they are damaged."""
    start = len(MAGIC) + struct.calcsize("<QI")
    if not state.startswith(MAGIC):
        raise ValueError("these are not the bytes of a pair monitor of this version")
    length, checksum = struct.unpack("<QI", state[len(MAGIC) : start])
    head = state[start : start + length]
    if len(head) != length or zlib.crc32(head) != checksum:
        raise ValueError("the saved state is damaged")
    tickers = [str(ticker) for ticker in json.loads(head)]
    monitor = native.Monitor.load(state[start + length :])
    if len(set(tickers)) != monitor.tickers or len(tickers) != monitor.tickers:
        raise ValueError("the saved state is damaged")
    return tickers, monitor
