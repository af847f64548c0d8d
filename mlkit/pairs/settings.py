"""The settings of a backtest: the rule, the signal, money, costs, limits and windows.

Defaults and choices are defined here once; the command line reads them off these classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal

from mlkit.errors import BadData, UsageError

if TYPE_CHECKING:
    from mlkit.pairs import _pair_strategy as native

Hedge = Literal["fixed", "rolling", "kalman"]
ZScore = Literal["lookback", "formation", "ou", "filter"]
Method = Literal["cointegration", "correlation", "distance"]
Prior = Literal["correlation", "groups", "none"]
FDR = Literal["by", "bh", "none"]
Trend = Literal["c", "ct", "ctt"]
Align = Literal["inner", "ffill"]
Format = Literal["wide", "long", "bars", "klines"]
"""Layouts of price files that `--format` names: a column per ticker, a row per ticker and bar, the
bars of one ticker, and Binance's klines, which have no header."""
Decimal = Literal[".", ","]
TREND: Final[Trend] = "c"
PRIOR: Final[Prior] = "correlation"


@dataclass(frozen=True)
class Rule:
    """Thresholds of the z-score, in standard deviations of the spread.

    Attributes:
        entry: Entry threshold: a position against the spread is opened at this distance.
        exit: Exit threshold: it is closed when the spread has reverted to this distance.
        stop: Stop threshold: it is closed when the spread has widened to this distance.
        max_bars: Longest holding period, in bars; 0 for no limit.
    """

    entry: float = 2.0
    exit: float = 0.5
    stop: float = math.inf
    max_bars: int = 0


@dataclass(frozen=True)
class Signal:
    """How the spread and its z-score are computed.

    Attributes:
        zscore: By a moving window (`lookback`), by the formation period's mean and deviation
            (`formation`), by the fitted Ornstein-Uhlenbeck process (`ou`), or by the
            deviation that the Kalman filter expects (`filter`).
        lookback: Bars of the moving window.
        hedge: The hedge ratio is that of the formation period (`fixed`), of a moving
            regression (`rolling`), or of a Kalman filter (`kalman`).
        hedge_window: Bars of the moving regression.
        drift: Share of the Kalman filter's information that each bar replaces.
        log: Spreads of log prices, where beta weights money; otherwise of price levels,
            where beta weights shares.
    """

    zscore: ZScore = "lookback"
    lookback: int = 60
    hedge: Hedge = "fixed"
    hedge_window: int = 126
    drift: float = 1e-4
    log: bool = True


@dataclass(frozen=True)
class Sizing:
    """Money: the capital, and the gross exposure of a pair (both legs together)."""

    capital: float = 100_000.0
    gross: float = 10_000.0
    whole_shares: bool = False


@dataclass(frozen=True)
class Costs:
    """Costs of each leg of a fill; basis points of the money that is traded.

    Attributes:
        per_share: Commission per share.
        per_trade: Commission per leg and fill.
        commission_bps: Commission in basis points.
        slippage_bps: Slippage in basis points.
        half_spread_bps: Half of the quoted spread in basis points.
        borrow_rate: Fee per year on the size of short legs.
    """

    per_share: float = 0.0
    per_trade: float = 0.0
    commission_bps: float = 1.0
    slippage_bps: float = 2.0
    half_spread_bps: float = 2.0
    borrow_rate: float = 0.005


@dataclass(frozen=True)
class Limits:
    """Caps; a refused entry is not chased.

    Attributes:
        pairs: Pairs held at a time; 0 for no cap.
        pairs_per_ticker: Pairs that one ticker takes part in at a time; 0 for no cap.
        leverage: Gross exposure over equity.
        initial_margin: Equity over gross exposure that an entry must leave.
        maintenance_margin: Below it, positions are closed, the youngest first.
    """

    pairs: int = 0
    pairs_per_ticker: int = 0
    leverage: float = math.inf
    initial_margin: float = 0.5
    maintenance_margin: float = 0.3


@dataclass(frozen=True)
class Selection:
    """How pairs are chosen from a formation period.

    Attributes:
        method: What ranks the pairs.
        fdr: False-discovery control of the cointegration screen.
        alpha: Its rate.
        top: Pairs kept at most.
        min_half_life: Bars in which half of a gap closes, at least.
        max_half_life: The same, at most.
        max_hurst: The spread's Hurst exponent stays below it.
        min_correlation: Of the returns, of either sign.
        min_price: Least close in the formation period.
        groups: Tickers and their groups; only pairs within a group, if there are any.
    """

    method: Method = "cointegration"
    fdr: FDR = "by"
    alpha: float = 0.05
    top: int = 20
    min_half_life: float = 0.0
    max_half_life: float = math.inf
    max_hurst: float = math.inf
    min_correlation: float = 0.0
    min_price: float = 0.0
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_any_sign(self) -> bool:
        """Whether pairs of zero and negative prices can be chosen.

        Distances are relative to the first price, and correlations are those of log returns.
        """
        return self.method == "cointegration" and self.min_correlation == 0.0


@dataclass(frozen=True)
class Settings:
    """All settings of a backtest; `run.json` holds them.

    Attributes:
        formation: Bars on which a pair is fitted before it trades.
        trading: Bars of a trading window; 0 trades given pairs to the end of the data.
        cash_rate: Interest per year on the cash balance, also on a negative one.
        bars_per_year: 0 reads it off the formation period's timestamps.
        same_bar: Fill at the close of the decision.
        carry: Positions outlive their window.
    """

    rule: Rule = field(default_factory=Rule)
    signal: Signal = field(default_factory=Signal)
    sizing: Sizing = field(default_factory=Sizing)
    costs: Costs = field(default_factory=Costs)
    limits: Limits = field(default_factory=Limits)
    selection: Selection = field(default_factory=Selection)
    formation: int = 252
    trading: int = 0
    cash_rate: float = 0.0
    bars_per_year: float = 0.0
    same_bar: bool = False
    carry: bool = False

    def __post_init__(self) -> None:
        for holds, message, hint in _checks(self):
            if not holds:
                raise UsageError(message, hint=hint)

    def native(self, bars_per_year: float) -> native.Settings:
        """Return the settings in the engine's form."""
        from mlkit.pairs import _pair_strategy as native

        limits = asdict(self.limits)
        for cap in ("pairs", "pairs_per_ticker"):
            limits[cap] = limits[cap] or 2**62
        return native.Settings(
            rule=native.Rule(**asdict(self.rule)),
            costs=native.Costs(**asdict(self.costs)),
            sizing=native.Sizing(**asdict(self.sizing), log=self.signal.log),
            limits=native.Limits(**limits),
            cash_rate=self.cash_rate,
            bars_per_year=bars_per_year,
            same_bar=self.same_bar,
            carry=self.carry,
        )

    def takes_any_sign(self, *, given: bool) -> bool:
        """Return whether prices may be zero or negative, as those of spreads and futures.

        Args:
            given: The pairs are given, so that nothing is selected.
        """
        return not self.signal.log and (given or self.selection.takes_any_sign)

    def document(self) -> dict[str, Any]:
        """Return the settings as nested JSON values; infinities as null."""
        return {key: _json(value) for key, value in asdict(self).items()}


def from_document(document: dict[str, Any]) -> Settings:
    """Rebuild settings from `Settings.document`.

    Raises:
        BadData: A name is unknown or a value has the wrong type.
    """
    parts = {
        "rule": Rule,
        "signal": Signal,
        "sizing": Sizing,
        "costs": Costs,
        "limits": Limits,
        "selection": Selection,
    }
    try:
        values = {
            key: _part(parts[key], value) if key in parts else value
            for key, value in document.items()
        }
        return Settings(**values)
    except (TypeError, AttributeError) as error:
        raise BadData(f"settings: {error}", hint="this run.json is from another version") from error


def _part(kind: type, value: dict[str, Any]) -> Any:
    known = {each.name for each in fields(kind)}
    for name in value:
        if name not in known:
            raise BadData(f"settings: unknown {kind.__name__.lower()} setting '{name}'")
    return kind(**{name: math.inf if each is None else each for name, each in value.items()})


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value


def _checks(settings: Settings) -> list[tuple[bool, str, str | None]]:
    """List what has to hold, with a message and a hint for when it does not."""
    rule, signal, sizing = settings.rule, settings.signal, settings.sizing
    return [
        (rule.entry > rule.exit, f"entry {rule.entry} must be greater than exit {rule.exit}", None),
        (rule.stop > rule.entry, f"stop {rule.stop} must be greater than entry {rule.entry}", None),
        (rule.max_bars >= 0, "the time stop must not be negative", None),
        (sizing.capital > 0 and sizing.gross > 0, "capital and gross must be positive", None),
        (
            signal.zscore != "lookback" or signal.lookback >= 2,
            f"lookback {signal.lookback}: a deviation needs at least 2 bars",
            None,
        ),
        (
            (signal.zscore == "filter") == (signal.hedge == "kalman"),
            f"the hedge ratio '{signal.hedge}' has no z-score '{signal.zscore}'",
            "a Kalman hedge ratio takes the filter's own z-score, and only it does",
        ),
        (
            signal.hedge != "rolling" or signal.zscore == "lookback",
            f"a rolling hedge ratio has no z-score '{signal.zscore}'",
            "its spread is centred again at each bar: use the lookback z-score",
        ),
        (
            signal.hedge != "rolling" or signal.hedge_window >= 3,
            f"hedge window {signal.hedge_window}: a regression needs at least 3 bars",
            None,
        ),
        (
            all(each >= 0 for each in asdict(settings.costs).values()),
            "costs must not be negative",
            None,
        ),
        (
            0 <= settings.limits.maintenance_margin <= max(settings.limits.initial_margin, 0),
            "expected 0 <= maintenance margin <= initial margin",
            None,
        ),
        (settings.formation >= 0, "the formation period must not be negative", None),
        (settings.trading >= 0, "the trading period must not be negative", None),
        (settings.selection.top >= 1, "top must be at least 1", None),
        (0 < settings.selection.alpha < 1, "alpha must be between 0 and 1", None),
        (
            settings.selection.min_half_life <= settings.selection.max_half_life,
            "the least half-life must not exceed the greatest",
            None,
        ),
    ]
