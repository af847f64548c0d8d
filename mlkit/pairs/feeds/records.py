"""The record of a feed: a bar or a tick of one ticker, its text, and what makes it impossible.

Topics hold records as JSON objects: `time` in ISO 8601 and UTC, `ticker`, `close`, and of the
others those that are known. Feeds may also write `price` or `last` for the close, `symbol` for the
ticker, `date` or `timestamp` for the time, and a time as seconds, milliseconds, microseconds or
nanoseconds since 1970, which differ by their size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from mlkit.errors import BadData

PRICES = ("close", "open", "high", "low", "bid", "ask")
LARGEST = 1e150
"""Beyond it a price is an error, and squares of it would overflow."""

ALIASES = {
    "price": "close", "last": "close", "c": "close", "o": "open", "h": "high", "l": "low",
    "v": "volume", "symbol": "ticker", "date": "time", "datetime": "time", "timestamp": "time",
    "dividends": "dividend",
}  # fmt: skip
_UNITS = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (math.inf, 1))
_NANOSECONDS = re.compile(r"(.*\d{2}:\d{2}:\d{2}\.\d{6})(\d{3})(.*)")
_NUMBERS = frozenset((*PRICES, "volume", "dividend"))


class PriceRecord(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A bar or a tick of one ticker.

    Attributes:
        time: Nanoseconds since 1970, UTC: the time of the event, for a bar that of its label.
        ticker: Its ticker.
        close: The last price; None if only a dividend is known.
        open: The first one.
        high: The highest one.
        low: The lowest one.
        volume: Shares that were traded.
        dividend: Cash per share that is paid before this bar.
        bid: The price at which one can sell.
        ask: The price at which one can buy.
    """

    time: int
    ticker: str
    close: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    dividend: float | None = None
    bid: float | None = None
    ask: float | None = None


def fault(record: PriceRecord) -> str | None:
    """Return why a record cannot be true, in one word; None if it can be.

    `price`: a price that is not positive and finite; `range`: low, high and the other prices
    contradict one another; `amount`: a volume or a dividend that is negative or not finite;
    `crossed`: the bid is above the ask; `empty`: neither a price nor a dividend.
    """
    # Loops, not comprehensions: every record of a run passes here.
    for price in (record.close, record.open, record.high, record.low, record.bid, record.ask):
        if price is not None and not 0.0 < price <= LARGEST:
            return "price"
    for amount in (record.volume, record.dividend):
        if amount is not None and not 0.0 <= amount <= LARGEST:
            return "amount"
    if record.close is None and not record.dividend:
        return "empty"
    if (record.low is not None or record.high is not None) and not _in_range(record):
        return "range"
    crossed = record.bid is not None and record.ask is not None and record.bid > record.ask
    return "crossed" if crossed else None


def _in_range(record: PriceRecord) -> bool:
    inner = [each for each in (record.open, record.close) if each is not None]
    low = -math.inf if record.low is None else record.low
    high = math.inf if record.high is None else record.high
    return low <= high and all(low <= each <= high for each in inner)


def without_quotes(record: PriceRecord) -> PriceRecord:
    """Return a record without bid and ask."""
    return msgspec.structs.replace(record, bid=None, ask=None)


def parse(row: Mapping[str, Any]) -> PriceRecord:
    """Read a record from a JSON object or a row of a CSV file; NaN is an unknown value.

    Raises:
        BadData: Time or ticker is missing, or a field has another type.
    """
    cells: dict[str, Any] = {}
    for name, cell in row.items():
        key = str(name).strip().lower()
        cells.setdefault(ALIASES.get(key, key), cell)
    ticker = cells.get("ticker")
    if not isinstance(ticker, str) or not ticker.strip():
        raise BadData("a record without ticker")
    numbers = {name: _number(name, cells[name]) for name in _NUMBERS & cells.keys()}
    return PriceRecord(moment(cells.get("time")), ticker.strip(), **numbers)


def _number(name: str, cell: Any) -> float | None:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, bool):
        raise BadData(f"{name}: not a number")
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadData(f"{name}: not a number") from error
    if math.isinf(number):
        raise BadData(f"{name}: not finite")
    return None if math.isnan(number) else number


def moment(cell: Any) -> int:
    """Return a time as nanoseconds since 1970; text without a zone is UTC.

    Raises:
        BadData: It is not a time, or outside of the years 1677 to 2262.
    """
    try:
        if isinstance(cell, str) and not _is_number(cell):
            return _of_text(cell.strip())
        if isinstance(cell, datetime):
            return _nanoseconds(cell)
        if isinstance(cell, np.datetime64):
            return int(cell.astype("datetime64[ns]").astype(np.int64))
        return _epoch(cell)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadData("a record without a time in ISO 8601 or since 1970") from error


def _of_text(text: str) -> int:
    finer = _NANOSECONDS.fullmatch(text)  # finer than Python reads them
    if finer is None:
        return _nanoseconds(datetime.fromisoformat(text))
    return _nanoseconds(datetime.fromisoformat(finer[1] + finer[3])) + int(finer[2])


def _is_number(text: str) -> bool:
    return text.strip().lstrip("-").replace(".", "", 1).isdigit()


def _epoch(cell: Any) -> int:
    if isinstance(cell, bool) or cell is None:
        raise ValueError
    number = int(cell) if isinstance(cell, int) else float(cell)
    if not math.isfinite(number):
        raise ValueError
    unit = next(unit for most, unit in _UNITS if abs(number) < most)
    found = number * unit if isinstance(number, int) else round(number * unit)
    if abs(found) >= 2**63:
        raise ValueError
    return found


def _nanoseconds(moment: datetime) -> int:
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    found = (whole.days * 86_400 + whole.seconds) * 10**9 + whole.microseconds * 1000
    if abs(found) >= 2**63:
        raise ValueError
    return found


def iso(time: int) -> str:
    """Return a time as ISO 8601 in UTC, as short as it can be."""
    seconds, rest = divmod(time, 10**9)
    whole = str(np.datetime64(seconds, "s"))
    return f"{whole}.{rest:09d}Z" if rest else f"{whole}Z"


class _Document(msgspec.Struct, omit_defaults=True):
    """A record as topics hold it: an object without what is not known."""

    time: str
    ticker: str
    close: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    bid: float | None = None
    ask: float | None = None
    volume: float | None = None
    dividend: float | None = None


_ENCODER = msgspec.json.Encoder()


def document(record: PriceRecord) -> dict[str, Any]:
    """Return a record as topics hold it."""
    found: dict[str, Any] = msgspec.to_builtins(_document(record, iso(record.time)))
    return found


def encode(record: PriceRecord, moment: str | None = None) -> bytes:
    """Return a record as the JSON of topics.

    Args:
        record: The record.
        moment: Its time in ISO 8601; None takes that of the record.
    """
    return _ENCODER.encode(_document(record, iso(record.time) if moment is None else moment))


def _document(record: PriceRecord, moment: str) -> _Document:
    return _Document(
        moment, record.ticker, record.close, record.open, record.high, record.low,
        record.bid, record.ask, record.volume, record.dividend,
    )  # fmt: skip


def decode(value: bytes) -> PriceRecord:
    """Read a record of a topic.

    Raises:
        BadData: It is not a JSON object, or no record.
    """
    try:
        row = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData("a record that is not JSON") from error
    if not isinstance(row, dict):
        raise BadData("a record that is not a JSON object")
    return parse(row)
