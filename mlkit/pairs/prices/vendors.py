"""What vendors call their columns and files."""

from __future__ import annotations

import re

from mlkit.errors import BadData
from mlkit.pairs.prices.reading import Reading, Sheet

DATE_NAMES = (
    "date", "datetime", "timestamp", "dates", "open time", "date time", "trade date",
    "exchange date", "trading day", "dtyyyymmdd", "quote date", "local time", "gmt time", "day",
    "unix timestamp", "unix", "time", "data", "datum", "fecha", "index date", "period end",
)  # fmt: skip
TICKER_NAMES = ("ticker", "symbol", "instrument", "ric", "tic", "security", "sym", "isin", "figi")
LONG_TICKER_NAMES = ("code", "name", "stock", "asset", "contract", "act symbol", "index", "pair")
"""Names that are tickers only beside a close."""
CURRENCY_NAMES = ("currency", "ccy", "curr", "crncy")
FIELD_COLUMN_NAMES = ("field", "variable", "price", "attribute", "metric", "measure", "item")
VALUE_NAMES = ("value", "values", "0")

_FIELDS = {
    "close": (
        "close", "last", "last price", "px last", "close/last", "close price", "price close",
        "closing price", "settle", "settlement", "settlement price", "px settle", "trdprc 1",
        "official close", "prccd", "zamkniecie", "schluss", "schlusskurs", "zuletzt", "dernier",
        "último", "ultimo", "laatste", "ostatnio",
    ),
    "adjusted": (
        "adj close", "adjclose", "adj. close", "adjusted", "adjusted close", "close adj",
        "adjusted price", "adj price", "tot return index gross dvds", "closeadj", "close (adj)",
        "close (adjusted)",
    ),
    "open": (
        "open", "px open", "open price", "price open", "open prc", "otwarcie", "eröffnung",
        "eröffn.", "ouv.", "apertura", "abertura",
    ),
    "high": (
        "high", "px high", "high price", "price high", "high 1", "najwyzszy", "hoch", "plus haut",
        "máximo", "massimo", "máxima", "hoog", "max.",
    ),
    "low": (
        "low", "px low", "low price", "price low", "low 1", "najnizszy", "tief", "plus bas",
        "mínimo", "minimo", "mínima", "laag", "min.",
    ),
    "volume": (
        "volume", "vol", "vol.", "px volume", "total volume", "volume traded", "accumulated volume",
        "acvol uns", "wolumen", "volumen",
    ),
    "dividends": ("dividend", "dividends", "dividend amount", "divcash", "ex dividend", "cash div"),
    "splits": (
        "split", "splits", "stock splits", "stock split", "split coefficient", "split factor",
        "splitfactor", "split ratio",
    ),
}  # fmt: skip
FIELD_NAMES = {name: field for field, names in _FIELDS.items() for name in names}

_OTHERS = frozenset(
    (
        "openint", "open interest", "opint", "per", "period", "average", "wap", "vwap", "barcount",
        "bar count", "count", "trades", "trade count", "tradecount", "number of trades",
        "transactions", "quote volume", "quote asset volume", "taker buy volume", "ignore",
        "taker buy base asset volume", "taker buy quote asset volume", "taker buy quote volume",
        "taker buy base volume", "close time", "capital gains", "repaired?", "change", "change %",
        "%chg", "chg %", "% change", "net", "net change", "turnover", "turnover - usd", "flow",
        "exchange", "ex", "spread", "tickvol", "bid", "ask", "no. of trades", "adjopen", "adjhigh",
        "adjlow", "adjvolume", "adj open", "adj high", "adj low", "adj volume", "gmtoffset",
        "currency", "ccy", "curr", "crncy", "time", "unix", "datetime", "timestamp", "date",
        "market cap", "marketcap", "hasgaps", "has gaps", "unadjustedvolume", "changepercent",
        "changeovertime", "label", "price", "+/ %", "variation %", "% var.", "var. %", "var%",
        "verschil %", "zmiana%",
    )
)  # fmt: skip
"""Columns of a bar that are passed over: they are neither prices nor tickers."""

KLINES = (
    "open time", "open", "high", "low", "close", "volume", "close time", "quote volume", "count",
    "taker buy volume", "taker buy quote volume", "ignore",
)  # fmt: skip
"""The columns of Binance's archives of klines, which have no header before 2025."""

_TICKS = (
    {"agg trade id", "first trade id"},
    {"trade id", "is buyer maker"},
    {"id", "quote qty", "is buyer maker"},
    {"best bid price", "best ask price"},
    {"best bid qty", "best ask qty"},
    {"sum open interest"},
    {"create time", "sum open interest"},
    {"funding interval hours"},
    {"last funding rate"},
    {"percentage", "depth", "notional"},
    {"order type", "time in force"},
    {"strike", "volume contracts"},
)
"""Columns of archives that hold no bars."""


def plain(name: str) -> str:
    """Return a column's name as it is looked up: `<PX_LAST>`, `4. close` without their frills."""
    text = re.sub(r"[\s_\-]+", " ", name.strip().strip("<>").lower()).strip()
    return re.sub(r"^\d+[ab]?\. ", "", text)


def field(name: str, names: list[str]) -> str | None:
    """Return the field that a column's name stands for; `Price` is a close beside opens."""
    known = FIELD_NAMES.get(plain(name))
    if known is None and plain(name) in ("price", "kurs"):
        present = {FIELD_NAMES.get(plain(each)) for each in names}
        return "close" if {"open", "high", "low"} <= present and "close" not in present else None
    return known


def is_other(name: str) -> bool:
    """Return whether a column of a bar is passed over."""
    bare = plain(name)
    others = ("volume ", "taker buy", "unnamed:", "market cap (")
    return bare in _OTHERS or bare.startswith(others)


def refuse_ticks(source: str, names: list[str]) -> None:
    """Refuse archives of trades, quotes and rates.

    Raises:
        BadData: The columns are those of such an archive.
    """
    found = {plain(each) for each in names}
    if any(marks <= found for marks in _TICKS):
        raise BadData(
            f"{source}: trades, quotes or rates ({', '.join(names[:4])}, ...), not bars",
            hint="take the archive of klines, or make bars of the trades",
        )


def vendor(names: list[str], *, many: bool) -> str | None:
    """Name the vendor whose column names these are; None if anybody's."""
    bare = [plain(each) for each in names]
    found = set(bare)
    if any(each.strip().startswith("<") for each in names):
        return "Stooq or MetaStock rows" if many else "MetaStock bars"
    if {"taker buy volume", "quote volume"} & found or "taker buy base asset volume" in found:
        return "Binance klines"
    if {"dividend amount", "split coefficient"} <= found:
        return "Alpha Vantage bars"
    if {"average", "barcount"} <= found:
        return "Interactive Brokers bars"
    if any(each.startswith("px ") for each in bare):
        return "Bloomberg fields"
    if "exchange date" in found or {"price close"} <= found or "trdprc 1" in found:
        return "Refinitiv fields"
    return None


_WORDS = re.compile(r"[^\W_]+")
_SIDES = {"bid": "bid", "ask": "ask", "offer": "ask", "mid": "mid"}


def side(name: str) -> tuple[str, str] | None:
    """Return side and the rest of a name such as `close (bid)`, `Ask Close`, `AAPL_bid`."""
    words = _WORDS.findall(name.lower())
    found = [_SIDES[each] for each in words if each in _SIDES]
    return (found[0], " ".join(each for each in words if each not in _SIDES)) if found else None


_SUFFIXES = re.compile(
    r"(\.(csv|tsv|txt|gz|parquet|pq|xlsx|xls|zip|feather|prn|asc))+$", re.IGNORECASE
)
_STEMS = (
    re.compile(r"^currency_(?:daily|weekly|monthly)_(?P<ticker>.+)_[A-Z]{3,5}$"),
    re.compile(r"^(?P<ticker>[A-Z0-9_]+)-\d+(?:s|m|h|d|w|mo)-\d{4}-\d{2}(?:-\d{2})?$"),
    re.compile(
        r"^(?:time_series_)?(?:daily|weekly|monthly|intraday)(?:_adjusted|_\d+min)?_(?P<ticker>.+)$",
        re.IGNORECASE,
    ),
)
"""File names of Binance's archives and of Alpha Vantage's downloads."""


def stem(name: str) -> str:
    """Return a file's name without its suffixes."""
    return _SUFFIXES.sub("", name.rsplit("/", 1)[-1])


def ticker_of(sheet: Sheet, reading: Reading) -> tuple[str, str]:
    """Name the ticker of a sheet that holds the bars of one, and say where the name is from.

    Raises:
        BadData: Neither option, nor rows above the header, nor a file's name give one.
    """
    if reading.ticker is not None:
        return reading.ticker, "by --ticker"
    for row in sheet.title:
        named = [each.strip() for each in row if each.strip()]
        if len(named) == 2 and plain(named[0]).rstrip(":") in (*TICKER_NAMES, "name", "code"):
            return named[1], "by the rows above its header"
    if not sheet.stem:
        raise BadData(
            f"{sheet.source}: the bars of one ticker, and nothing names it",
            hint="name it with --ticker",
        )
    for pattern in _STEMS:
        if found := pattern.match(sheet.stem):
            return found["ticker"], "by the file's name"
    return sheet.stem, "by the file's name"
