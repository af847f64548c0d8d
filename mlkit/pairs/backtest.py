"""Replay prices through the strategy step, and account for every unit of money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, MlkitError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.metrics import Performance, performance
from mlkit.pairs.prices import Prices
from mlkit.pairs.settings import Settings
from mlkit.pairs.strategy import Strategy, decider
from mlkit.pairs.windows import Window

REASONS = (
    "reverted",
    "stopped",
    "timed_out",
    "window_end",
    "delisted",
    "margin_call",
    "data_end",
)
"""Why a trade was closed, by the engine's number."""

COSTS = ("commission", "slippage", "half_spread", "borrow")


@dataclass(frozen=True, eq=False)
class Backtest:
    """A finished backtest.

    Attributes:
        prices: What was replayed.
        settings: What it was told.
        windows: The windows with their fitted pairs.
        bars_per_year: What a year is.
        first: The first bar that was traded.
        account: The account at each close, a structured array of shape (T,): cash,
            positions, equity, gross, interest and a ledger of running totals.
        trades: The closed trades, a structured array.
        choices: Every order that the strategy asked for, and whether it was accepted.
        numbers: For each pair number of `trades` its window and its place in the window.
    """

    prices: Prices
    settings: Settings
    windows: Sequence[Window]
    bars_per_year: float
    first: int
    account: NDArray[np.void]
    trades: NDArray[np.void]
    choices: NDArray[np.void]
    numbers: Sequence[tuple[int, int]]

    @property
    def equity(self) -> NDArray[np.float64]:
        """Equity at each close, from the one before the first traded bar."""
        return self.account["equity"][max(self.first - 1, 0) :]

    @property
    def performance(self) -> Performance:
        """The measures of the equity curve."""
        return performance(self.equity, self.bars_per_year, self.settings.cash_rate)

    def results(self) -> NDArray[np.float64]:
        """Give each trade's gross result: price moves at unslipped prices, before any cost."""
        moved = {
            leg: self.trades["exit_price"][leg] - self.trades["entry_price"][leg] for leg in "yx"
        }
        legs = [self.trades["shares"][leg] * moved[leg] for leg in "yx"]
        return np.asarray(legs[0] + legs[1])

    def net_results(self) -> NDArray[np.float64]:
        """Give each trade's result after its costs, fees and dividends."""
        ledger = self.trades["ledger"]
        costs = sum((ledger[name] for name in COSTS), np.zeros(len(self.trades)))
        return np.asarray(self.results() - costs + ledger["dividends"])

    def pair_names(self, number: int) -> tuple[str, str]:
        """Give the tickers of a pair number."""
        window, place = self.numbers[number]
        pair = self.windows[window].pairs[place]
        return pair.y, pair.x


def run(
    prices: Prices,
    windows: Sequence[Window],
    settings: Settings,
    strategy: Strategy | None = None,
) -> Backtest:
    """Trade planned windows over their prices.

    Args:
        prices: Bars; opens are used for fills where there are any, dividends are booked.
        windows: From `windows.given` or `windows.rolling`, by their start.
        settings: Rule, money and costs.
        strategy: Decides in place of the built-in rule.

    Raises:
        BadData: The account was lost to the point that its equity is not positive, or a
            strategy gave an order that its position forbids.
    """
    bars_per_year = settings.bars_per_year or infer_bars_per_year(prices, settings.formation)
    engine = native.Engine(
        len(prices.tickers),
        settings.native(bars_per_year),
        None if strategy is None else decider(strategy),
    )
    numbers = _replay(engine, prices, windows)
    account = engine.rows()
    lost = np.flatnonzero(account["equity"] <= 0.0)
    if len(lost):
        raise BadData(
            f"{prices.source}: the account is lost at {prices.zoned[lost[0]]}",
            hint="lower --gross, or set a margin requirement or a cap on leverage",
        )
    first = min(window.start for window in windows)
    return Backtest(
        prices, settings, windows, bars_per_year, first,
        account, engine.trades(), engine.choices(), numbers,
    )  # fmt: skip


def _replay(
    engine: native.Engine, prices: Prices, windows: Sequence[Window]
) -> list[tuple[int, int]]:
    """Feed the bars, adding each window's pairs when it starts; give the pairs' places."""
    columns = {name: i for i, name in enumerate(prices.tickers)}
    numbers, done = [], 0
    for index, window in enumerate(windows):
        _take(engine, prices, done, window.start)
        done = window.start
        for place, pair in enumerate(window.pairs):
            y, x = columns[pair.y], columns[pair.x]
            history = prices.close[window.formation : window.start, [y, x]]
            warm = history if pair.signal.warms_up else None
            engine.add(y=y, x=x, stop=window.stop, signal=pair.signal, history=warm)
            numbers.append((index, place))
    _take(engine, prices, done, len(prices))
    engine.finish()
    return numbers


def _take(engine: native.Engine, prices: Prices, start: int, stop: int) -> None:
    if stop <= start:
        return
    opens, dividends = prices.open, prices.dividends
    try:
        engine.take(
            prices.close[start:stop],
            None if opens is None else opens[start:stop],
            None if dividends is None else dividends[start:stop],
        )
    except ValueError as error:
        raise BadData(f"{prices.source}: {error}") from error


def infer_bars_per_year(prices: Prices, formation: int) -> float:
    """Read the bars a year off the first bars, without looking beyond the formation period.

    Daily bars give 252, weekly 52, monthly 12; of intraday bars the usual number a day is
    counted and multiplied by 252.

    Raises:
        BadData: Fewer than three bars.
    """
    moments = prices.timestamps[: max(formation, 20)]
    if len(moments) < 3:
        raise BadData(f"{prices.source}: {len(moments)} bars tell no frequency",
                      hint="give --bars-per-year")  # fmt: skip
    day = np.timedelta64(1, "D")
    step = float(np.median(np.diff(moments) / day))
    if step < 0.8:
        _, counts = np.unique(moments.astype("datetime64[D]"), return_counts=True)
        return 252.0 * float(np.median(counts))
    for longest, bars in ((4.0, 252.0), (10.0, 52.0), (45.0, 12.0), (120.0, 4.0)):
        if step < longest:
            return bars
    raise MlkitError(f"{prices.source}: bars of {step:.0f} days", hint="give --bars-per-year")
