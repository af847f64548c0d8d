"""The engine of a backtest, fed one bar at a time."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.fit.formation import Formation
from mlkit.pairs.settings import Rule, Settings
from mlkit.pairs.strategy.strategy import Strategy, strategy_callback

MAGIC = b"mlkit live engine 1\n"


class _Names:
    """The names of an engine's pairs by number, for messages."""

    def __init__(self, engine: LiveEngine) -> None:
        self._engine = engine

    def __getitem__(self, number: int) -> str:
        return "/".join(self._engine.pairs[number])


class _Bars:
    """What a live engine knows of a bar's time: its number."""

    def __getitem__(self, bar: int) -> str:
        return f"bar {bar}"


Prices = Mapping[str, float] | NDArray[np.float64]
"""A value for each ticker: an array in the order of the tickers, or those known by name."""


class Step(NamedTuple):
    """What one bar led to; structured arrays as those of a backtest.

    Attributes:
        account: The account at the close, one record.
        trades: The trades that were closed.
        choices: The orders that were asked for, and whether they were accepted.
    """

    account: np.void
    trades: NDArray[np.void]
    choices: NDArray[np.void]


class Books(NamedTuple):
    """What happened since the books were read last; structured arrays as those of a backtest.

    Attributes:
        trades: The trades that were closed.
        choices: The orders that were asked for, and whether they were accepted.
    """

    trades: NDArray[np.void]
    choices: NDArray[np.void]


class Take(Protocol):
    """How `LiveEngine.take` is called."""

    def __call__(
        self,
        closes: NDArray[np.float64],
        opens: NDArray[np.float64] | None = None,
        dividends: NDArray[np.float64] | None = None,
        bids: NDArray[np.float64] | None = None,
        asks: NDArray[np.float64] | None = None,
    ) -> int:
        """Take a bar; return how many trades and orders wait for `books`."""
        ...


class LiveEngine:
    """Trades pairs bar by bar, with the bits of a backtest over the same bars.

    A close that is missing (NaN, or no entry) is a missing bar of its ticker: its pairs decide
    nothing, their orders wait, and the last close values them. A ticker is delisted by `delist`, or
    by so many missing closes in a row as `delisted_after` defines. Memory does not grow with time:
    each step returns what happened, and forgets it.

    Args:
        tickers: Their names, in the order of the arrays of `step`.
        settings: Rule, money and costs of all pairs.
        bars_per_year: For interest and borrow fees; 0 takes that of the settings.
        delisted_after: Missing closes in a row that make a ticker delisted; 0 never does.
        strategy: Decides in place of the built-in rule; its states are its own, and `save` does
            not hold them.

    Raises:
        UsageError: A ticker appears twice, or the bars per year are missing.
    """

    take: Take
    """Take a bar as `step` does, of arrays only, without a Python object for what follows.

    Arrays are contiguous, of float64, with a value for each ticker. Returns how many trades and
    orders wait for `books`, which are kept until then; `account` is up to date at once. Raises
    BadData as `step` does.
    """

    account: NDArray[np.void]
    """The account at the last close, shape (1,): the engine's own memory, which each bar updates in
    place and nobody else may write. Copy what is to stay."""

    def __init__(
        self,
        tickers: Sequence[str],
        settings: Settings,
        *,
        bars_per_year: float = 0.0,
        delisted_after: int = 0,
        strategy: Strategy | None = None,
    ) -> None:
        year = bars_per_year or settings.bars_per_year
        if not year > 0.0:
            raise UsageError("a live engine needs its bars per year", hint="bars_per_year=252")
        if delisted_after < 0:
            raise UsageError("delisted_after must not be negative")
        options = settings.native(year).with_delisted_after(delisted_after)
        decide = None if strategy is None else strategy_callback(strategy, _Names(self), _Bars())
        self._set(tickers, native.Engine(len(tickers), options, decide), {})

    def _set(
        self, tickers: Sequence[str], engine: native.Engine, names: dict[int, tuple[str, str]]
    ) -> None:
        self.tickers = tuple(tickers)
        self._columns = {ticker: n for n, ticker in enumerate(self.tickers)}
        if len(self._columns) < len(self.tickers):
            raise UsageError("a ticker appears twice")
        self._engine, self._names = engine, names
        self.take, self.account = engine.take_bar, engine.account

    def add(
        self,
        pair: Formation,
        history: NDArray[np.float64] | None = None,
        *,
        rule: Rule | None = None,
        stop: int | None = None,
    ) -> int:
        """Add a pair that trades from the next bar on.

        Args:
            pair: The fitted pair, from `formation.fit` or `formation.build_formation`.
            history: Closes of y and x before the next bar, oldest first, shape (bars, 2), that
                warm its signal up: `pair.warm_up_bars` of them give it its first z-score at once.
            rule: Thresholds of its own.
            stop: The bar after its last one, counted from the first step; None: no end.

        Returns:
            The number by which it appears in trades and orders.

        Raises:
            UsageError: An unknown ticker, twice the same one, or a rule that contradicts itself.
        """
        y, x = self._column(pair.y), self._column(pair.x)
        options: dict[str, Any] = {} if stop is None else {"stop": stop}
        if rule is not None:
            options["rule"] = native.Rule(**vars(rule))
        try:
            number = self._engine.add(y=y, x=x, signal=pair.signal, history=history, **options)
        except ValueError as error:
            raise UsageError(f"{pair.y}/{pair.x}: {error}") from error
        self._names[number] = pair.y, pair.x
        return number

    def remove(self, number: int) -> None:
        """End a pair's window with the next bar; a position closes at that bar's close.

        Raises:
            UsageError: There is no such pair.
        """
        try:
            self._engine.remove(number)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def delist(self, ticker: str) -> None:
        """Close a ticker's positions at their last prices in the next bar; its pairs end.

        Raises:
            UsageError: The ticker is unknown.
        """
        self._engine.delist(self._column(ticker))

    def intervene(self, action: str, pair: int = -1) -> None:
        """Plan an action for the next bar, before its orders fill.

        Args:
            action: `block` entries, which are refused until `allow`; `flatten`: close positions
                and cancel entries that wait; `cancel` those entries only.
            pair: Its number; -1 for all pairs.

        Raises:
            UsageError: There is no such action.
        """
        if action.upper() not in native.Action.__members__:
            raise UsageError(f"no action '{action}'", hint="block, allow, flatten or cancel")
        self._engine.intervene(self.bars, native.Action[action.upper()], pair)

    def step(
        self,
        close: Prices,
        open: Prices | None = None,  # noqa: A002
        dividends: Prices | None = None,
        *,
        bids: Prices | None = None,
        asks: Prices | None = None,
    ) -> Step:
        """Take a bar.

        Args:
            close: Closes; NaN or no entry is a missing one.
            open: Opens, at which orders fill; where they are missing, or all, closes do.
            dividends: Cash per share that is paid before this bar.
            bids: Quotes at which orders sell; where they are missing, they fill as described above.
            asks: Quotes at which orders buy.

        Raises:
            BadData: A price is not finite, or not positive where logarithms are taken.
            UsageError: A ticker is unknown, or an array has another length.
        """
        row = self._row(close, np.nan)
        opens, bid, ask = (
            None if each is None else self._row(each, np.nan) for each in (open, bids, asks)
        )
        paid = None if dividends is None else self._row(dividends, 0.0)
        self.take(row, opens, paid, bid, ask)
        return self._drain()

    def finish(self) -> Step:
        """Close what is open at the last closes, as the end of a backtest does.

        Returns:
            The last account again, now without positions, and the trades that this closed.
        """
        self._engine.finish()
        return self._drain()

    def books(self) -> Books:
        """Return the trades and orders since the last call, and forget them."""
        return Books(*self._drain()[1:])

    def _drain(self) -> Step:
        account, trades, choices = self._engine.drain()
        if self._engine.pairs < len(self._names):
            live = set(self._engine.views()["pair"].tolist())
            self._names = {number: pair for number, pair in self._names.items() if number in live}
        return Step(account[0], trades, choices)

    @property
    def bars(self) -> int:
        """The number of bars taken."""
        return self._engine.bars

    @property
    def pairs(self) -> Mapping[int, tuple[str, str]]:
        """The tickers of the pairs that trade, by number."""
        return dict(self._names)

    @property
    def count(self) -> int:
        """The number of pairs that trade."""
        return len(self._names)

    def positions(self) -> NDArray[np.void]:
        """Return the open trades, with their shares and costs so far."""
        return self._engine.positions()

    def pending_orders(self) -> NDArray[np.void]:
        """Return the orders that wait for the next bar; `entry` is 1 for entries."""
        return self._engine.pending()

    def features(self) -> NDArray[np.void]:
        """Return side, lock, bars held, hedge ratio, spread and z-score of each pair."""
        return self._engine.views()

    def save(self) -> bytes:
        """Return the whole state as versioned bytes; equal states have equal bytes."""
        names = sorted((number, *pair) for number, pair in self._names.items())
        head = json.dumps({"tickers": self.tickers, "pairs": names}).encode()
        return MAGIC + struct.pack("<Q", len(head)) + head + self._engine.save()

    @classmethod
    def load(cls, state: bytes) -> LiveEngine:
        """Restore what `save` returned.

        Raises:
            BadData: The bytes are damaged, or from another version.
        """
        start = len(MAGIC) + 8
        try:
            if not state.startswith(MAGIC):
                raise ValueError("these are not the bytes of a live engine of this version")
            (length,) = struct.unpack("<Q", state[len(MAGIC) : start])
            head = json.loads(state[start : start + length])
            engine = native.Engine.load(state[start + length :])
            names = {int(number): (str(y), str(x)) for number, y, x in head["pairs"]}
            if len(head["tickers"]) != engine.tickers:
                raise ValueError("the saved state is damaged")
        except (ValueError, struct.error, KeyError, TypeError, OverflowError) as error:
            raise BadData(f"a saved engine cannot be read: {error}") from error
        found = cls.__new__(cls)
        found._set([str(ticker) for ticker in head["tickers"]], engine, names)
        return found

    def _column(self, ticker: str) -> int:
        if ticker not in self._columns:
            raise UsageError(f"no ticker '{ticker}' in this engine")
        return self._columns[ticker]

    def _row(self, prices: Prices, missing: float) -> NDArray[np.float64]:
        """Return prices as a row, shape (tickers,)."""
        if isinstance(prices, Mapping):
            row = np.full(len(self.tickers), missing)
            for ticker, price in prices.items():
                row[self._column(ticker)] = price
            return row
        found = np.ascontiguousarray(prices, dtype=np.float64)
        if found.shape != (len(self.tickers),):
            raise UsageError(f"a bar of shape {found.shape} for {len(self.tickers)} tickers")
        return found
