"""The proof of a run: its recorded bars, replayed through the backtest, give what it recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.backtest import replay
from mlkit.pairs.backtest.replay import Backtest, Intervention
from mlkit.pairs.feeds.records import PriceRecord, decode, moment
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.topics import plain, read_all, read_values
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.strategy.strategy import Strategy
from mlkit.pairs.windows import Window, by_name, by_screen, given_window, window_after
from mlkit.streams import Log


@dataclass(frozen=True, eq=False)
class Recorded:
    """The bars that a run recorded.

    Attributes:
        prices: Closes, opens, dividends; NaN where a bar is missing.
        bids: Shape (T, N), or None if orders do not fill at quotes.
        asks: Likewise.
    """

    prices: Prices
    bids: NDArray[np.float64] | None
    asks: NDArray[np.float64] | None


@dataclass(frozen=True)
class Verdict:
    """What a replay of a run found.

    Attributes:
        bars: Bars that were compared.
        decisions: Decisions that were compared.
        trades: Trades that were compared.
        difference: The first difference; None if there is none.
    """

    bars: int
    decisions: int
    trades: int
    difference: str | None


def verify(log: Log, plan: RunPlan, strategy: Strategy | None = None) -> Verdict:
    """Replay the recorded bars of a run through `backtest`, and compare bit for bit.

    Compared are the account at each bar, every decision and every trade.

    Raises:
        BadData: The beginning of a topic is no longer kept.
    """
    accounts: list[dict[str, Any]] = []
    for each in read_all(log, "account"):
        del accounts[each["bar"] :]  # the end of a run rewrites the last one
        accounts.append(each)
    decisions, trades = list(read_all(log, "decisions")), list(read_all(log, "trades"))
    result = backtest(log, plan, strategy)
    if result is None:
        return Verdict(0, 0, 0, None)
    difference = (
        _first("account", accounts, result.account)
        or _first("decisions", decisions, result.choices)
        or _first("trades", trades, result.trades)
    )
    return Verdict(len(result.account), len(result.choices), len(result.trades), difference)


def backtest(
    log: Log, plan: RunPlan, strategy: Strategy | None = None, until: int | None = None
) -> Backtest | None:
    """Run the backtest of the bars that a run recorded; None before its first one.

    Args:
        log: The run's log.
        plan: Its plan.
        strategy: What decides in place of the built-in rule.
        until: Leave out bars from this time on, nanoseconds since 1970.

    Raises:
        BadData: The beginning of a topic is no longer kept.
    """
    recorded = read(log, plan, until)
    if recorded is None:
        return None
    found = [Intervention(each["bar"], each["action"], each["pair"])
             for each in read_all(log, "interventions")]  # fmt: skip
    finished = any(
        each["kind"] == "finished" and (until is None or moment(each["time"]) < until)
        for each in read_all(log, "events")
    )
    return replay.run(
        recorded.prices,
        _windows(log, recorded.prices, plan),
        _settings(plan),
        strategy,
        delisted_after=plan.delisted_after,
        bids=recorded.bids,
        asks=recorded.asks,
        interventions=found,
        complete=finished,
    )


def _settings(plan: RunPlan) -> Any:
    from dataclasses import replace

    return replace(plan.settings, bars_per_year=plan.bars_per_year)


def read(log: Log, plan: RunPlan, until: int | None = None) -> Recorded | None:
    """Read the bars of a run as a table of prices, up to a time; None if there is none.

    Raises:
        BadData: The first bars are no longer kept.
    """
    records = [decode(value) for value in read_values(log, "bars")]
    if until is not None:
        records = [each for each in records if each.time < until]
    if not records:
        return None
    times = sorted({each.time for each in records})
    places = {time: n for n, time in enumerate(times)}
    columns = {ticker: n for n, ticker in enumerate(plan.tickers)}
    cells = [(places[each.time], columns[each.ticker], each) for each in records]
    shape = len(times), len(plan.tickers)
    dividends = np.nan_to_num(_field(cells, shape, "dividend"))
    stamps = np.array(times, dtype="datetime64[ns]")
    daily = bool((stamps.astype("datetime64[D]") == stamps).all())
    opens = _field(cells, shape, "open")
    prices = Prices(
        tickers=plan.tickers, timestamps=stamps, timezone=None if daily else "UTC",
        close=_field(cells, shape, "close"), open=None if np.isnan(opens).all() else opens,
        dividends=dividends, source=plan.feed, content_hash=plan.content_hash,
    )  # fmt: skip
    quotes = [_field(cells, shape, name) if plan.quotes else None for name in ("bid", "ask")]
    return Recorded(prices, *quotes)


def _field(
    cells: Sequence[tuple[int, int, PriceRecord]], shape: tuple[int, int], name: str
) -> NDArray[np.float64]:
    found = np.full(shape, np.nan)
    for bar, column, record in cells:
        value = getattr(record, name)
        if value is not None:
            found[bar, column] = value
    return found


def _windows(log: Log, prices: Prices, plan: RunPlan) -> list[Window]:
    """Plan the windows of a backtest, up to the last bar that the run has reached."""
    if plan.evidence is not None:
        return list(_plan_promoted(log, prices, plan))
    if plan.settings.trading:
        return list(_rolling(prices, plan))
    found = []
    for pair in plan.pairs:
        try:
            found.append(given_window(prices, pair, plan.settings, least=1))
        except BadData:
            continue  # its formation period is not over, or it cannot be fitted
    return sorted(found, key=lambda window: window.start)


def _rolling(prices: Prices, plan: RunPlan) -> Iterator[Window]:
    settings = plan.settings
    select = by_name(plan.pairs) if plan.pairs else by_screen
    for start in range(settings.formation, len(prices), settings.trading):
        period = prices.window(start - settings.formation, start)
        yield window_after(period, settings, select, start)


def _plan_promoted(log: Log, prices: Prices, plan: RunPlan) -> Iterator[Window]:
    """Plan the promoted pairs, fitted again on the bars before they began."""
    from mlkit.pairs.fit.formation import fit

    ends = {each["number"]: each["bar"] + 1 for each in read_all(log, "promotions")
            if each["move"] == "retired"}  # fmt: skip
    for each in read_all(log, "promotions"):
        if each["move"] != "promoted" or each["bar"] >= len(prices):
            continue
        names = tuple(each["pair"].split("/"))
        start = each["bar"]
        first = start - plan.settings.formation
        y, x = prices.window(first, start).select(names).close.T
        pair = fit(y, x, (names[0], names[1]), plan.settings.signal)
        yield Window(first, start, ends.get(each["number"], 2**62), (pair,), each["tested"])


def _first(
    topic: str, recorded: Sequence[dict[str, Any]], replayed: NDArray[np.void]
) -> str | None:
    """Return the first difference between a topic and the replay of it."""
    for n, (ours, theirs) in enumerate(zip(recorded, replayed, strict=False)):
        expected = plain(theirs)
        if not _same({name: ours.get(name) for name in expected}, expected):
            return f"{topic}[{n}]: recorded {_text(ours)}, replayed {_text(expected)}"
    if len(recorded) != len(replayed):
        return f"{topic}: {len(recorded)} recorded, {len(replayed)} replayed"
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, float | int) and isinstance(other, float | int):
        return one == other and math.copysign(1.0, one) == math.copysign(1.0, other)
    return bool(one == other)


def _text(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
