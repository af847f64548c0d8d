"""The strategy step, the event engine and the sweep of pair trading."""

from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_Doubles = NDArray[np.float64]

class Rule:
    """Thresholds of the built-in rule, in deviations of the spread."""

    def __init__(
        self,
        *,
        entry: float = ...,
        exit: float = ...,  # noqa: A002
        stop: float = ...,
        max_bars: int = ...,
    ) -> None: ...

class Costs:
    """Costs of each leg of a fill, and the yearly fee on shorts."""

    def __init__(
        self,
        *,
        per_share: float = ...,
        per_trade: float = ...,
        commission_bps: float = ...,
        slippage_bps: float = ...,
        half_spread_bps: float = ...,
        borrow_rate: float = ...,
    ) -> None: ...

class Sizing:
    """Capital, and the money in both legs of a pair."""

    def __init__(
        self,
        *,
        capital: float = ...,
        gross: float = ...,
        log: bool = ...,
        whole_shares: bool = ...,
    ) -> None: ...

class Limits:
    """Caps on pairs, on a ticker's pairs and on leverage."""

    def __init__(
        self,
        *,
        pairs: int = ...,
        pairs_per_ticker: int = ...,
        leverage: float = ...,
        initial_margin: float = ...,
        maintenance_margin: float = ...,
    ) -> None: ...

class Settings:
    """All that an engine has to know besides its pairs."""

    def __init__(
        self,
        *,
        rule: Rule = ...,
        costs: Costs = ...,
        sizing: Sizing = ...,
        limits: Limits = ...,
        cash_rate: float = ...,
        bars_per_year: float = ...,
        same_bar: bool = ...,
        carry: bool = ...,
        delisted_after: int = ...,
    ) -> None: ...
    def with_delisted_after(self, bars: int) -> Settings:
        """Return the same settings with another number of missing closes."""

class Signal:
    """How a pair's spread and its z-score are computed."""

    def __init__(
        self,
        *,
        hedge: str = ...,
        log: bool = ...,
        alpha: float = ...,
        beta: float = ...,
        hedge_window: int = ...,
        lookback: int = ...,
        mean: float = ...,
        deviation: float = ...,
        covariance: Sequence[float] = ...,
        drift: Sequence[float] = ...,
        noise: float = ...,
    ) -> None: ...
    def with_lookback(self, lookback: int) -> Signal:
        """Return the same signal over another number of bars."""

    @property
    def lookback(self) -> int: ...
    @property
    def warms_up(self) -> bool: ...

class Order(IntEnum):
    """What a strategy asks for at a close."""

    NONE = 0
    ENTER_LONG = 1
    ENTER_SHORT = 2
    EXIT = 3
    STOP = 4
    TIME_STOP = 5

class Action(IntEnum):
    """What is done to orders from outside."""

    BLOCK = 0
    ALLOW = 1
    FLATTEN = 2
    CANCEL = 3

class Features:
    """What the engine computed for a pair at a close."""

    @property
    def beta(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def z(self) -> float: ...

class State:
    """A pair's position as its strategy sees it."""

    def __init__(self, side: int = 0, locked: int = 0, held: int = 0) -> None: ...
    @property
    def side(self) -> int: ...
    @property
    def locked(self) -> int: ...
    @property
    def held(self) -> int: ...

class Planned:
    """A pair that joins a replay at a bar, warmed up before it."""

    def __init__(
        self,
        *,
        y: int,
        x: int,
        start: int,
        stop: int = ...,
        warm_up_bars: int = ...,
        signal: Signal,
        rule: Rule | None = None,
    ) -> None: ...

class Engine:
    """The event engine: bars in, fills and an account out."""

    def __init__(
        self,
        tickers: int,
        settings: Settings,
        strategy_callback: Callable[[int, int, Features, State], Order] | None = None,
    ) -> None: ...
    def add(
        self,
        *,
        y: int,
        x: int,
        stop: int = ...,
        signal: Signal,
        rule: Rule | None = None,
        history: _Doubles | None = None,
    ) -> int:
        """Add a pair that trades from now on; return its number."""

    def take(
        self,
        closes: _Doubles,
        opens: _Doubles | None = None,
        dividends: _Doubles | None = None,
        plan: Sequence[Planned] = ...,
        bids: _Doubles | None = None,
        asks: _Doubles | None = None,
    ) -> None:
        """Take bars, a row each; planned pairs join at their bar of these."""

    def take_bar(
        self,
        closes: _Doubles,
        opens: _Doubles | None = None,
        dividends: _Doubles | None = None,
        bids: _Doubles | None = None,
        asks: _Doubles | None = None,
    ) -> int:
        """Take one bar, a value for each ticker, without copies; return what waits for drain."""

    @property
    def account(self) -> NDArray[np.void]:
        """The account at the last close, one record: the engine's memory, not a copy."""

    def finish(self) -> None:
        """Close what is open at the last closes."""

    def rows(self) -> NDArray[np.void]:
        """The account at each close."""

    def trades(self) -> NDArray[np.void]:
        """The closed trades, in the order of closing."""

    def choices(self) -> NDArray[np.void]:
        """The orders that the strategy asked for, and whether they were accepted."""

    def remove(self, pair: int) -> None:
        """End a pair's window with the next bar."""

    def delist(self, column: int) -> None:
        """Close a ticker's positions at their last prices in the next bar; it trades no more."""

    def intervene(self, bar: int, action: Action, pair: int = -1) -> None:
        """Plan an action before the fills of a bar; no pair stands for all."""

    def positions(self) -> NDArray[np.void]:
        """The open trades, by pair."""

    def pending(self) -> NDArray[np.void]:
        """The orders that wait for their fills, by pair."""

    def views(self) -> NDArray[np.void]:
        """Side, lock, bars held and features of each pair."""

    def drain(self) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
        """Return the account now, one record, and all trades and choices, and forget them."""

    def save(self) -> bytes:
        """Return the state as versioned bytes, without what `drain` forgets."""

    @staticmethod
    def load(
        bytes: bytes,  # noqa: A002
        strategy_callback: Callable[[int, int, Features, State], Order] | None = None,
    ) -> Engine:
        """Restore an engine from `save`; raises ValueError for damaged bytes."""

    @property
    def bars(self) -> int:
        """Bars taken so far."""

    @property
    def pairs(self) -> int:
        """The number of pairs that trade."""

    @property
    def tickers(self) -> int: ...

def step(state: State, z: float, rule: Rule) -> tuple[State, Order]:
    """Apply the built-in rule to one bar: the new state, an order."""

def features(y: _Doubles, x: _Doubles, signal: Signal) -> tuple[_Doubles, _Doubles, _Doubles]:
    """Compute hedge ratio, spread and z-score at each close."""

def rolling_moments(values: _Doubles, length: int) -> tuple[_Doubles, _Doubles]:
    """Compute the mean and the sample variance of a sliding window."""

def sweep(
    *,
    closes: _Doubles,
    opens: _Doubles | None = None,
    dividends: _Doubles | None = None,
    trade: int,
    signals: Sequence[Signal],
    grid: _Doubles,
    settings: Settings,
    threads: int = 1,
) -> tuple[NDArray[np.void], float]:
    """Score many rules on one pair; return the mean correlation as well."""

def equity(
    *,
    closes: _Doubles,
    opens: _Doubles | None = None,
    dividends: _Doubles | None = None,
    trade: int,
    signal: Signal,
    settings: Settings,
) -> _Doubles:
    """Return the equity of one rule on one pair from the close before bar `trade`."""
