"""Bars from ticks, for jobs: any length, sessions of any place, bars without ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs._record_columns import OPEN_BAR, take_ticks
from mlkit.pairs.feeds.records import ALIASES
from mlkit.pairs.jobs.series import State, nanoseconds
from mlkit.pairs.jobs.sessions import NEVER, Continuous, Grid, InSessions, Session, Times

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("open", "high", "low", "close", "volume", "dividend", "bid", "ask")
RULES = (
    "accepted", "price", "range", "amount", "crossed", "empty", "late", "out_of_order", "outside",
)  # fmt: skip
"""What is counted of ticks; in the order of `cpp/records/bars.hpp`, as `PRICES`."""


def bars(
    state: State, data: pd.DataFrame, seconds: float, *, session: Session | None = None,
    gaps: Literal["skip", "flat"] = "skip",
) -> pd.DataFrame:  # fmt: skip
    """Return the bars that ticks have closed: open, high, low, close, volume by ticker.

    Bars carry their start. Without a session they begin at multiples of their length since 1970,
    in UTC; in sessions with the opening, and the last one ends with the session, so that a length
    of a day makes one bar a session. A bar is returned when the ticker's first tick of a later bar
    comes. By the rules of `mlkit.pairs.feeds.assembly`, impossible prices and ticks of a bar that
    has been returned are left out, and so are those outside of sessions: all are counted
    in `state["bars:..."]["counts"]`.

    Args:
        state: The job's state, where the open bars are kept.
        data: The new ticks: time, ticker, close or price, and what else a record of prices has.
        seconds: The length of a bar.
        session: The hours of the market; None: around the clock. Holidays and early ends may be
            added while bars are open; other hours are other bars.
        gaps: "skip": a bar without ticks is none. "flat": between two bars of a ticker those
            without ticks have the last close as all four prices, and no volume: within the
            sessions of the two, and up to 10,000 bars.

    Returns:
        Rows by time and ticker: time, ticker and the columns that the ticks give.

    Raises:
        UsageError: The length is not positive, or `gaps` is neither.
        BadData: A tick has no time or ticker, or a column of prices something else than numbers.
    """
    if not 1e-9 <= seconds <= 1e9:
        raise UsageError(f"bars of {seconds} seconds")
    if gaps not in ("skip", "flat"):
        raise UsageError(f"gaps of '{gaps}'", hint="skip or flat")
    length = round(seconds * 1e9)
    grid: Grid = Continuous(length) if session is None else InSessions(session, length)
    hours = "" if session is None else f":{session.hours}"
    memory = state.setdefault(f"bars:{seconds}{hours}{':flat' * (gaps == 'flat')}", {})
    closed = _close_bars(memory, _rename_columns(data), grid)
    if gaps == "flat":
        closed = _fill(closed, grid)
    return _frame(closed, memory["tickers"])


class _Closed:
    """Bars as columns; see `take_ticks`."""

    def __init__(self, ticker: Times, start: Times, before: Times, close: Any, values: Any) -> None:
        self.ticker, self.start = ticker, start
        self.before, self.close_before = before, close
        self.values: NDArray[np.float64] = values


def _rename_columns(data: pd.DataFrame) -> pd.DataFrame:
    """Return the columns by the names of a record of prices; of two with one meaning the first."""
    names = [ALIASES.get(str(name).strip().lower(), str(name).strip().lower()) for name in data]
    made = data.set_axis(names, axis=1)
    return made.loc[:, ~made.columns.duplicated()]


def _close_bars(memory: State, data: pd.DataFrame, grid: Grid) -> _Closed:
    import pandas as pd

    needed = ["time", "ticker"]
    if not set(needed) <= set(data.columns) or data[needed].isna().any(axis=None):
        raise BadData("a tick without time or ticker")
    codes, found = pd.factorize(data["ticker"])
    tickers = _numbers(memory, list(map(str, found)))[codes]
    moments = nanoseconds(data)
    counts = np.zeros(len(RULES), dtype=np.int64)
    columns = [_numeric(data, name) for name in PRICES]
    closed = take_ticks(memory["bars"], tickers, moments, grid.starts(moments), columns, counts)
    known = memory.setdefault("counts", {})
    for rule, count in zip(RULES, counts.tolist(), strict=True):
        if count:
            known[rule] = known.get(rule, 0) + count
    return _Closed(*closed)


def _numbers(memory: State, found: list[str]) -> Times:
    """Return the numbers of tickers, shape (tickers,); new ones get a bar that is not open."""
    known = memory.setdefault("tickers", [])
    number = {ticker: n for n, ticker in enumerate(known)}
    new = [ticker for ticker in found if ticker not in number]
    number |= {ticker: len(known) + n for n, ticker in enumerate(new)}
    known += new
    fresh = np.zeros(len(new), dtype=OPEN_BAR)
    fresh["close_before"] = np.nan
    for name in ("start", "first", "last", "closed"):
        fresh[name] = NEVER
    bars = memory.get("bars", fresh[:0])
    memory["bars"] = np.concatenate([bars, fresh]).astype(OPEN_BAR, copy=False)
    return np.array([number[ticker] for ticker in found], dtype=np.int64)


def _numeric(data: pd.DataFrame, name: str) -> NDArray[np.float64] | None:
    import pandas as pd

    if name not in data:
        return None
    try:
        if data[name].dtype == bool:
            raise TypeError("true or false")
        numbers = pd.to_numeric(data[name])
    except (ValueError, TypeError) as error:
        raise BadData(f"'{name}' of a tick is not a number: {error}") from error
    return np.ascontiguousarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def _fill(closed: _Closed, grid: Grid) -> _Closed:
    """Return the bars with those that had no ticks."""
    after = np.flatnonzero((closed.before != NEVER) & ~np.isnan(closed.close_before)).tolist()
    gaps = [grid.between(int(closed.before[n]), int(closed.start[n])) for n in after]
    counts = [len(each) for each in gaps]
    flat = np.full((sum(counts), len(PRICES)), np.nan)
    close = np.repeat(closed.close_before[after], counts)
    flat[:, :4] = close[:, None]
    if not np.isnan(closed.values[:, 4]).all():
        flat[:, 4] = 0.0
    starts = np.concatenate([closed.start, *gaps])
    tickers = np.concatenate([closed.ticker, np.repeat(closed.ticker[after], counts)])
    return _Closed(tickers, starts, starts, close, np.vstack([closed.values, flat]))


def _frame(closed: _Closed, tickers: list[str]) -> pd.DataFrame:
    import pandas as pd

    made = pd.DataFrame(closed.values, columns=list(PRICES)).dropna(axis=1, how="all")
    names = np.array(tickers, dtype=object)[closed.ticker]
    made.insert(0, "ticker", names if len(names) else np.array([], dtype=object))
    times = pd.DatetimeIndex(closed.start.view("datetime64[ns]")).tz_localize("UTC")
    made.insert(0, "time", times)
    return made.sort_values(["time", "ticker"], kind="stable", ignore_index=True)
