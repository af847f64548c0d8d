"""Replay prices through the strategy step, and account for every unit of money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest.calendar import infer_bars_per_year
from mlkit.pairs.backtest.metrics import Performance, performance
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.settings import Settings
from mlkit.pairs.strategy.strategy import Strategy, strategy_callback
from mlkit.pairs.windows import Window

REASONS = (
    "reverted",
    "stopped",
    "timed_out",
    "window_end",
    "delisted",
    "margin_call",
    "data_end",
    "flattened",
)
"""Why a trade was closed, by the engine's number."""


class Intervention(NamedTuple):
    """What somebody other than the strategy did to the orders, before the fills of a bar.

    Attributes:
        bar: The bar.
        action: `block` or `allow` entries, `flatten` positions, `cancel` entries that wait.
        pair: The pair's number; -1 for all.
    """

    bar: int
    action: str
    pair: int = -1


COSTS = ("commission", "slippage", "half_spread", "borrow")


@dataclass(frozen=True, eq=False)
class Backtest:
    """A finished backtest.

    Attributes:
        prices: What was replayed.
        settings: Its settings.
        windows: The windows with their fitted pairs.
        bars_per_year: Bars per year.
        first: The first bar that was traded.
        account: The account at each close, a structured array of shape (T,): cash,
            positions, equity, gross, interest and a ledger of running totals.
        trades: The closed trades, a structured array.
        choices: Every order that the strategy asked for, and whether it was accepted.
        numbers: For each pair number of `trades` its window and its place in the window.
        strategy: What decided; None: the built-in rule.
        open_trades: Positions that are open after the last bar, as records of trades; none if the
            data have ended.
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
    strategy: Strategy | None = None
    open_trades: NDArray[np.void] | None = None

    @property
    def equity(self) -> NDArray[np.float64]:
        """Equity at each close, from the one before the first traded bar."""
        return self.account["equity"][max(self.first - 1, 0) :]

    @property
    def performance(self) -> Performance:
        """The measures of the equity curve."""
        return performance(self.equity, self.bars_per_year, self.settings.cash_rate)

    def results(self) -> NDArray[np.float64]:
        """Return each trade's gross result: price moves at unslipped prices, before any cost."""
        moved = {
            leg: self.trades["exit_price"][leg] - self.trades["entry_price"][leg] for leg in "yx"
        }
        legs = [self.trades["shares"][leg] * moved[leg] for leg in "yx"]
        return np.asarray(legs[0] + legs[1])

    def net_results(self) -> NDArray[np.float64]:
        """Return each trade's result after its costs, fees and dividends."""
        ledger = self.trades["ledger"]
        costs = sum((ledger[name] for name in COSTS), np.zeros(len(self.trades)))
        return np.asarray(self.results() - costs + ledger["dividends"])

    def pair_names(self, number: int) -> tuple[str, str]:
        """Return the tickers of a pair number."""
        window, place = self.numbers[number]
        pair = self.windows[window].pairs[place]
        return pair.y, pair.x


def run(
    prices: Prices,
    windows: Sequence[Window],
    settings: Settings,
    strategy: Strategy | None = None,
    *,
    delisted_after: int = 1,
    bids: NDArray[np.float64] | None = None,
    asks: NDArray[np.float64] | None = None,
    interventions: Sequence[Intervention] = (),
    complete: bool = True,
) -> Backtest:
    """Trade planned windows over their prices.

    Args:
        prices: Bars; opens are used for fills where there are any, dividends are booked.
        windows: From `windows.given` or `windows.rolling`, by their start.
        settings: Rule, money and costs.
        strategy: Decides in place of the built-in rule.
        delisted_after: Missing closes in a row that make a ticker delisted; 0: none do.
        bids: Prices at which orders sell, shape (T, N); NaN falls back on the open.
        asks: Prices at which they buy.
        interventions: What was done to the orders from outside, as a live run records it.
        complete: The data have ended, so that what is open closes at the last closes.

    Raises:
        BadData: The account was lost to the point that its equity is not positive, or a
            strategy failed or gave an order that its position forbids.
        UsageError: See `require_countable`.
    """
    require_countable(prices, settings)
    bars_per_year = settings.bars_per_year or infer_bars_per_year(prices, settings.formation)
    names = [f"{pair.y}/{pair.x}" for window in windows for pair in window.pairs]
    engine = native.Engine(
        len(prices.tickers),
        settings.native(bars_per_year).with_delisted_after(delisted_after),
        None if strategy is None else strategy_callback(strategy, names, prices.zoned),
    )
    for bar, action, pair in interventions:
        engine.intervene(bar, native.Action[action.upper()], pair)
    replay(engine, prices, plan(prices, windows), bids, asks)
    if complete:
        engine.finish()
    account = engine.rows()
    require_equity(prices, account["equity"])
    numbers = [(i, place) for i, each in enumerate(windows) for place in range(len(each.pairs))]
    first = min((window.start for window in windows), default=0)
    return Backtest(
        prices, settings, windows, bars_per_year, first,
        account, engine.trades(), engine.choices(), numbers, strategy, engine.positions(),
    )  # fmt: skip


def require_countable(prices: Prices, settings: Settings) -> None:
    """Refuse settings that count shares where splits have changed what a share is.

    The replay counts shares as they are after all splits of the file.

    Raises:
        UsageError: Whole shares, or a commission per share, on prices with splits.
    """
    if prices.factor is None or not (settings.sizing.whole_shares or settings.costs.per_share):
        return
    which = "whole shares" if settings.sizing.whole_shares else "a commission per share"
    raise UsageError(
        f"{prices.source}: {which}, and splits that change the number of shares",
        hint="use --commission-bps, or a window without splits: --start, --stop",
    )


def require_equity(prices: Prices, equity: NDArray[np.float64]) -> None:
    """Refuse an account that was lost: its later returns mean nothing.

    Raises:
        BadData: The equity is not positive at a bar.
    """
    lost = np.flatnonzero(equity <= 0.0)
    if len(lost):
        raise BadData(
            f"{prices.source}: the account is lost at {prices.zoned[lost[0]]}",
            hint="lower --gross, or set a margin requirement or a cap on leverage",
        )


def plan(prices: Prices, windows: Sequence[Window]) -> list[native.Planned]:
    """Return the pairs of all windows in the engine's form, in the order of their windows."""
    columns = {name: i for i, name in enumerate(prices.tickers)}
    planned = []
    for window in windows:
        rule = None if window.rule is None else native.Rule(**vars(window.rule))
        planned += [
            native.Planned(
                y=columns[pair.y], x=columns[pair.x], start=window.start, stop=window.stop,
                warm_up_bars=min(pair.warm_up_bars, window.start - window.formation),
                signal=pair.signal, rule=rule,
            )
            for pair in window.pairs
        ]  # fmt: skip
    return planned


def replay(
    engine: native.Engine,
    prices: Prices,
    planned: list[native.Planned],
    bids: NDArray[np.float64] | None = None,
    asks: NDArray[np.float64] | None = None,
) -> None:
    """Feed all bars to an engine.

    Raises:
        BadData: A strategy failed or gave an order that its position forbids.
    """
    try:
        engine.take(prices.close, prices.open, prices.dividends, planned, bids, asks)
    except BadData as error:
        raise BadData(f"{prices.source}: {error.message}", hint=error.hint) from error
    except ValueError as error:
        raise BadData(f"{prices.source}: {error}") from error
