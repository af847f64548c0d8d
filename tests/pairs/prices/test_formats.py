"""Files as vendors write them: each is read as what it is, and said to be that."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import struct
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.prices import read
from mlkit.pairs.prices.reading import Reading
from mlkit.pairs.prices.vendors import KLINES
from mlkit.unpacking import UnpackLimits

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(40)]
A = [50.25 + n % 7 for n in range(40)]
B = [1200.5 + 3 * (n % 5) for n in range(40)]


@pytest.fixture
def write(tmp_path):
    def to(content: str | bytes | list[str], name: str = "AAA.csv") -> Path:
        if isinstance(content, list):
            content = "\n".join(content) + "\n"
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to


def rows(form: str, **more) -> list[str]:
    return [
        form.format(day=day, a=a, b=b, n=n, **more)
        for n, (day, a, b) in enumerate(zip(DAYS, A, B, strict=True))
    ]


def seconds(day: date) -> int:
    return int((day - date(1970, 1, 1)).days) * 86_400


BARS = {
    "yfinance": ("Date,Open,High,Low,Close,Adj Close,Volume", "{day},1,99,1,3,{a},900"),
    "yfinance history": (
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
        "{day} 00:00:00-05:00,1,99,1,{a},900,0.0,0.0",
    ),
    "Stooq": ("Date,Open,High,Low,Close,Volume", "{day},1,99,1,{a},900"),
    "Stooq in Polish": (
        "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen",
        "{day},1,99,1,{a},900",
    ),
    "MetaStock": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        "{day:%Y.%m.%d}\t00:00:00\t1\t99\t1\t{a}\t900\t0\t2",
    ),
    "Alpha Vantage": (
        "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
        "{day},1,99,1,3,{a},900,0.0000,1.0",
    ),
    "EODHD": ("Date,Open,High,Low,Close,Adjusted_close,Volume", "{day},1,99,1,3,{a},900"),
    "Interactive Brokers": (
        "date,open,high,low,close,volume,average,barCount",
        "{day:%Y%m%d},1,99,1,{a},900,2.5,77",
    ),
    "Bloomberg": ("Dates,PX_LAST,PX_OPEN,PX_VOLUME", "{day:%m/%d/%Y},{a},1,#N/A N/A"),
    "Refinitiv": (
        "Exchange Date,Close,Net,%Chg,Open,Low,High,Volume,Turnover - USD",
        "{day:%d-%b-%Y},{a},0.1,+0.2%,1,1,99,900,1",
    ),
    "Nasdaq": ("Date,Close/Last,Volume,Open,High,Low", "{day:%m/%d/%Y},${a},900,$1,$99,$1"),
    "investing.com": (
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        '"{day:%m/%d/%Y}","{a}","1.00","99.00","1.00","1.23M","0.4%"',
    ),
    "Google Sheets": ("Date,Close", "{day:%m/%d/%Y} 16:00:00,{a}"),
    "Binance with a header": (
        ",".join(KLINES).replace(" ", "_"),
        "{day},1,99,1,{a},900,1,2,3,4,5,0",
    ),
    "Interactive Brokers, currencies": (
        "date,open,high,low,close,volume,average,barCount",
        "{day:%Y%m%d} 00:00:00 America/New_York,1,99,1,{a},-1,-1,-1",
    ),
    "German": ("Datum;Erster;Hoch;Tief;Schlusskurs;Volumen", "{day:%d.%m.%Y};1;99;1;{a};900"),
}
INVESTING = (
    "Datum,Zuletzt,Eröffn.,Hoch,Tief,Vol.,+/- %",
    "Fecha,Último,Apertura,Máximo,Mínimo,Vol.,% var.",
    "Data,Ultimo,Apertura,Massimo,Minimo,Vol.,Var. %",
    "Data,Último,Abertura,Máxima,Mínima,Vol.,Var%",
    "Date,Dernier, Ouv., Plus Haut,Plus Bas,Vol.,Variation %",
    "Datum,Laatste,Open,Hoog,Laag,Vol.,Verschil %",
    "Data,Ostatnio,Otwarcie,Max.,Min.,Vol.,Zmiana%",
)


@pytest.mark.parametrize("vendor", BARS)
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_bars_of_one_ticker(write, vendor, newest_first):
    header, form = BARS[vendor]
    lines = rows(form)
    if vendor == "German":
        lines = [line.replace(".", ",").replace(",2024", ".2024") for line in lines]
        lines = [line.replace(",01.2024", ".01.2024").replace(",02.2024", ".02.2024")
                 for line in lines]  # fmt: skip
    path = write([header, *(reversed(lines) if newest_first else lines)])
    prices = read(path)
    assert prices.tickers == ("AAA",)
    assert prices.close[:, 0].tolist() == A
    assert prices.zoned[0][:10] == "2024-01-01"
    assert "of one ticker, 'AAA' by the file's name" in prices.notes[0]
    assert ("newest first" in prices.notes[0]) == newest_first
    named = read(path, reading=Reading(ticker="XYZ"))
    assert named.tickers == ("XYZ",)


@pytest.mark.parametrize("header", INVESTING)
def test_investing_com_in_other_languages(write, header):
    lines = rows('"{day:%d.%m.%Y}","4.7{n:02d},5","4.700,0","4.800,0","4.600,0","1,2M","0,4%"')
    prices = read(write([header, *reversed(lines)]))
    assert prices.close[:2, 0].tolist() == [4700.5, 4701.5]
    assert prices.low is not None
    assert prices.low[0, 0] == 4600


LONG = {
    "Stooq": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        "{t},D,{day:%Y%m%d},000000,1,9999,1,{p},900,0",
    ),
    "Finam": (
        "<TICKER>;<PER>;<DATE>;<TIME>;<OPEN>;<HIGH>;<LOW>;<CLOSE>;<VOL>",
        "{t};D;{day:%Y%m%d};0;1;9999;1;{p};900",
    ),
    "EODHD in bulk": ("Code,Ex,Date,Open,Close,Adjusted_close", "{t},US,{day},1,3,{p}"),
    "Refinitiv": ("Instrument,Date,Price Close,Volume", "{t},{day}T00:00:00Z,{p},900"),
    "yfinance stacked": ("Date,Ticker,Adj Close,Close,Volume", "{day},{t},{p},{p},900"),
    "pandas, nameless index": (",,close", "{day},{t},{p}"),
    "pandas, nameless index, tickers first": (",,open,close", "{t},{day},1,{p}"),
    "Kaggle": ("date,open,high,low,close,volume,Name", "{day},1,9999,1,{p},900,{t}"),
    "CryptoDataDownload": (
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
        "1,{day} 00:00:00,{t},1,9999,1,{p},2,3",
    ),
    "melted": ("date,ticker,field,value", "{day},{t},Close,{p}"),
}


@pytest.mark.parametrize("vendor", LONG)
def test_a_row_per_ticker_and_bar(write, vendor):
    header, form = LONG[vendor]
    lines = [header]
    for day, a, b in zip(DAYS, A, B, strict=True):
        lines += [form.format(day=day, t="NA", p=a), form.format(day=day, t="600519", p=b)]
    prices = read(write(lines, "all.csv"))
    assert prices.tickers == ("NA", "600519")
    assert prices.close.tolist() == [list(pair) for pair in zip(A, B, strict=True)]


@pytest.mark.parametrize("ticker", ["NA", "NULL", "nan", "True", "None", "123", "1e5", "-"])
def test_tickers_that_look_like_something_else(write, ticker):
    lines = ["date,symbol,close"]
    lines += [f"{day},{name},{a}" for day, a in zip(DAYS, A, strict=True) for name in (ticker, "B")]
    assert read(write(lines)).tickers == (ticker, "B")
    wide = [f"date,{ticker},B", *rows("{day},{a},{b}")]
    assert read(write(wide)).tickers == (ticker, "B")


def test_tickers_of_other_types_in_parquet(write):
    for values, names in [
        ([600519, 5], ("600519", "5")),
        ([600519.0, 5.0], ("600519", "5")),
        ([True, False], ("True", "False")),
    ]:
        table = pa.table(
            {"date": [day for day in DAYS for _ in range(2)], "ticker": values * 40,
             "close": [p for pair in zip(A, B, strict=True) for p in pair]}
        )  # fmt: skip
        out = io.BytesIO()
        pq.write_table(table, out)
        assert read(write(out.getvalue(), "x.parquet")).tickers == names


MULTI = {
    "since 0.2.51": ["Price,Close,Close,Volume,Volume", "Ticker,A,B,A,B", "Date,,,,"],
    "before": [",Close,Close,Volume,Volume", ",A,B,A,B", "Date,,,,"],
    "group_by ticker": ["Ticker,A,B,A,B", "Price,Close,Close,Volume,Volume", "Date,,,,"],
    "merged cells": [",A,B,A,B", "Date,Close,Close,Volume,Volume"],
    "fields once": [",Close,,Volume,", "Date,A,B,A,B"],
    "Bloomberg": [",A,B,A,B", "Dates,PX_LAST,PX_LAST,PX_VOLUME,PX_VOLUME"],
    "an index that was reset": ["Price,Date,Close,Close,Volume,Volume", "Ticker,,A,B,A,B"],
}


@pytest.mark.parametrize("style", MULTI)
def test_two_header_rows(write, style):
    numbered = "{n}," if "reset" in style else ""
    prices = read(write([*MULTI[style], *rows(numbered + "{day},{a},{b},900,901")]))
    assert prices.tickers == ("A", "B")
    assert prices.close.tolist() == [list(pair) for pair in zip(A, B, strict=True)]
    assert prices.volume is not None
    assert prices.volume[0].tolist() == [900, 901]
    assert "two header rows" in prices.notes[0]


def test_two_levels_of_columns_in_parquet(write):
    columns = {"('Close', 'A')": A, "('Close', 'B')": B, "('Open', 'A')": A, "('Open', 'B')": B}
    out = io.BytesIO()
    pq.write_table(pa.table({**columns, "Date": DAYS}), out)
    prices = read(write(out.getvalue(), "y.parquet"))
    assert prices.tickers == ("A", "B")
    assert prices.open is not None
    assert prices.close.tolist() == prices.open.tolist()


@pytest.mark.parametrize("names", [("", ""), ("ticker", "date")])
def test_two_levels_of_rows_in_parquet(write, names):
    pd = pytest.importorskip("pandas")
    index = pd.MultiIndex.from_product([["A", "B"], pd.to_datetime(DAYS)])
    index.names = [name or None for name in names]
    out = io.BytesIO()
    pd.DataFrame({"close": A + B}, index=index).to_parquet(out)
    prices = read(write(out.getvalue(), "y.parquet"))
    assert prices.tickers == ("A", "B")
    assert prices.close.tolist() == [list(pair) for pair in zip(A, B, strict=True)]


@pytest.mark.parametrize("header", ["Date,Price", "Date,", ",", "date,field", "day,ticker"])
def test_a_row_per_field_and_a_column_per_ticker(write, header):
    lines = [f"{header},A,B"]
    for day, a, b in zip(DAYS, A, B, strict=True):
        lines += [f"{day},Volume,900,901", f"{day},Close,{a},{b}", f"{day},Change %,,"]
    prices = read(write(lines))
    assert prices.tickers == ("A", "B")
    assert prices.close.tolist() == [list(pair) for pair in zip(A, B, strict=True)]
    assert prices.volume is not None
    assert prices.volume[5].tolist() == [900, 901]
    assert "a row per date and field, a column per ticker" in prices.notes[0]


def test_names_of_ticker_and_field(write):
    for header in ("date,BRK.B.Close,BRK.B.Open,A.Close", "date,close_BRK.B,open_BRK.B,close_A"):
        assert read(write([header, *rows("{day},{a},1,{b}")])).tickers == ("BRK.B", "A")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index"])
def test_an_index_that_numbers_the_rows_is_no_ticker(write, name):
    assert read(write([f"{name},date,A,B", *rows("{n},{day},{a},{b}")])).tickers == ("A", "B")
    bars = write([f"{name},date,open,close", *rows("{n},{day},{a},{b}")])
    assert read(bars).tickers == ("AAA",)


def test_tables_side_by_side(write):
    short = [f"{day},{a},,," for day, a in zip(DAYS, A, strict=True)][30:]
    lines = [
        "AAPL US Equity,,,MSFT US Equity,", "Date,PX_LAST,,Date,PX_LAST",
        *rows("{day},{a},,{day},{b}")[:30], *short,
    ]  # fmt: skip
    prices = read(write(lines))
    assert prices.tickers == ("AAPL US Equity", "MSFT US Equity")
    assert np.isnan(prices.close[:, 1]).sum() == 10


def test_a_title_names_the_ticker_and_a_footer_is_dropped(write):
    lines = ["Security,AAPL US Equity", "Start Date,01/01/2024", "", "Date,PX_LAST",
             *rows("{day},{a}"), "Source: somebody", "40"]  # fmt: skip
    prices = read(write(lines, "grid1.csv"))
    assert prices.tickers == ("AAPL US Equity",)
    assert "3 lines above the header passed over" in prices.notes[0]
    assert "2 lines below the data passed over" in prices.notes[0]


def klines(unit: int) -> list[str]:
    return [
        f"{seconds(day) * unit},1,99,1,{a},900,{seconds(day) * unit + unit - 1},2,3,4,5,0"
        for day, a in zip(DAYS, A, strict=True)
    ]


@pytest.mark.parametrize("unit", [10**3, 10**6])
def test_binance_klines_in_a_zip(write, unit):
    for name, part in (("01", klines(unit)[:31]), ("02", klines(unit)[31:])):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"BTCUSDT-1d-2024-{name}.csv", "\n".join(part))
        write(out.getvalue(), f"d/BTCUSDT-1d-2024-{name}.zip")
        path = write("\n".join(part), f"e/BTCUSDT-1d-2024-{name}.csv")
    for folder in ("d", "e"):
        prices = read(path.parent.parent / folder)
        assert prices.tickers == ("BTCUSDT",)
        assert prices.close[:, 0].tolist() == A
        assert prices.zoned[[0, -1]].tolist() == ["2024-01-01", "2024-02-09"]
        assert "Binance klines" in prices.notes[0]


def test_archives_of_trades_are_refused(write):
    header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    with pytest.raises(BadData, match="trades, quotes or rates"):
        read(write([header, "1,2,3,4,5,1704067200000,true"]))
    for header in (
        "timestamp,percentage,depth,notional",
        "date,symbol,strike,close,volume_contracts",
    ):
        with pytest.raises(BadData, match="trades, quotes or rates"):
            read(write([header, "2024-01-01,-5,1,2,3"]), align="inner")
    with pytest.raises(BadData, match="there is no header, and 7 columns"):
        read(write(["1704067200000,2,3,4,5,6,true"] * 3))


def test_a_folder_of_one_file_a_ticker_and_several_files(write):
    one = write(["Date,Open,Close", *rows("{day},1,{a}")], "f/KO.csv")
    two = write(["Date,Open,Close", *rows("{day},1,{b}")], "f/PEP.csv")
    write("notes", "f/README.md")
    for given in (one.parent, [one, two]):
        prices = read(given)
        assert prices.tickers == ("KO", "PEP")
        assert prices.close.tolist() == [list(pair) for pair in zip(A, B, strict=True)]
    assert read(one.parent).content_hash == read([one, two]).content_hash
    assert read([two, one]).tickers == ("PEP", "KO")
    assert any("README.md" in note for note in read(one.parent).notes)
    with pytest.raises(BadData, match=r"row 2, KO: 2024-01-01 appears twice"):
        read([one, two, one])
    with pytest.raises(UsageError, match=r"--ticker X: .* 2 tables that overlap"):
        read([one, two], reading=Reading(ticker="X"))
    lines = rows("{day},1,{a}")
    months = [
        write(["Date,Open,Close", *part], f"m/{n}.csv")
        for n, part in enumerate((lines[:25], lines[25:]))
    ]
    whole = read(months[::-1], reading=Reading(ticker="X"))
    assert (whole.tickers, whole.close[:, 0].tolist()) == (("X",), A)
    with pytest.raises(InputMissing, match="no price files in this folder"):
        read(write("x", "g/README.md").parent)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(write, encoding):
    text = "\r\n".join(["date,Zürich,B", *rows("{day},{a},{b}")])
    assert read(write(text.encode(encoding))).tickers == ("Zürich", "B")


@pytest.mark.parametrize(
    ("form", "reading"),
    [
        ("{day:%d/%m/%Y}", {}),
        ("{day:%m/%d/%Y}", {}),
        ("{day:%d.%m.%Y}", {}),
        ("{day:%d.%m.%y}", {}),
        ("{day:%Y/%m/%d}", {}),
        ("{day:%Y%m%d}", {}),
        ('"{day:%b %d, %Y}"', {}),
        ("{day:%d-%b-%y}", {}),
        ("{day:%a %d %B %Y}", {}),
        ("{day:%m/%d/%Y} 4:00:00 PM", {}),
        ("{day:%Y%m%d} 16:00:00 US/Eastern", {}),
        ("{day:%Y|%m|%d}", {"date_format": "%Y|%m|%d"}),
    ],
)
def test_dates(write, form, reading):
    prices = read(write(["date,A,B", *rows(form + ",{a},{b}")]), reading=Reading(**reading))
    assert [each[:10] for each in prices.zoned] == [str(day) for day in DAYS]


def test_times_since_1970_and_days_of_a_spreadsheet(write):
    for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        lines = [f"{seconds(day) * scale},{a},1{a}" for day, a in zip(DAYS, A, strict=True)]
        path = write(["time,A,B", *lines])
        for given in (None, unit):
            assert read(path, reading=Reading(date_format=given)).zoned[0] == "2024-01-01"
    hours = [f"{seconds(DAYS[0]) + 3600 * n},{a},1{a}" for n, a in enumerate(A)]
    assert read(write(["time,A,B", *hours])).zoned[1] == "2024-01-01T01:00:00+00:00"
    lines = [f"{45292 + n},{a},1{a}" for n, a in enumerate(A)]
    path = write(["date,A,B", *lines])
    with pytest.raises(BadData, match="'45292' may be a day number of a spreadsheet") as caught:
        read(path)
    assert "--date-format excel" in str(caught.value.hint)
    assert read(path, reading=Reading(date_format="excel")).zoned[0] == "2024-01-01"


def test_dates_that_can_be_read_in_two_ways(write):
    days = [f"{1 + n % 12:02d}/{1 + n // 12:02d}/2024" for n in range(24)]
    path = write(["date,A", *(f"{day},{a}" for day, a in zip(days, A, strict=False))])
    with pytest.raises(
        BadData, match="'01/01/2024' is ambiguous: day/month or month/day"
    ) as caught:
        read(path)
    assert "--date-format dmy" in str(caught.value.hint)
    assert read(path, reading=Reading(date_format="dmy")).zoned[1] == "2024-01-02"
    mixed = write(["date,A", "13/01/2024,1", "01/14/2024,2"])
    with pytest.raises(BadData, match="day and month change places"):
        read(mixed)


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        ("{day};1.234,5;{n}1,25", (1234.5, 1.25)),
        ("{day};1 234,5;{n}1,25", (1234.5, 1.25)),
        ("{day};1'234.5;{n}1.25", (1234.5, 1.25)),
        ('{day},"1,234.5",{n}1.25', (1234.5, 1.25)),
        ('{day},"1,234,567",{n}1.25', (1234567, 1.25)),
        ("{day}\t1234,5\t{n}1,25", (1234.5, 1.25)),
        ("{day};$1234.5;{n}1.25", (1234.5, 1.25)),
    ],
)
def test_decimal_marks_and_thousands(write, cells, first):
    mark = next(each for each in "\t;," if each in cells)
    path = write([mark.join(["date", "A", "B"]), *rows(cells)])
    assert read(path, tickers=["B"]).close[0, 0] == first[1]
    with pytest.raises(BadData, match=re.escape(f"A: every price is {first[0]:g}")):
        read(path, tickers=["A"])


def test_an_ambiguous_mark_is_an_error_that_an_option_ends(write):
    path = write(["date;A", *(f"{day};{50 + n},125" for n, day in enumerate(DAYS))])
    with pytest.raises(BadData, match="'50,125' is ambiguous") as caught:
        read(path)
    assert "--decimal" in str(caught.value.hint)
    assert read(path, reading=Reading(decimal=",")).close[0, 0] == 50.125
    assert read(path, reading=Reading(decimal=".")).close[0, 0] == 50125
    both = write(["date;A;B", *rows("{day};1.5;{n},25")])
    with pytest.raises(BadData, match="have different decimal marks"):
        read(both)
    text = write(["date;A;B", *rows("{day};1,5;#N/A Requesting Data...")])
    with pytest.raises(BadData, match=r"row 2, column 'B': '#N/A Requesting.*' is not a number"):
        read(text)


def test_names_that_are_fields_and_tickers(write):
    path = write(["date,LOW,OPEN", *rows("{day},{a},{b}")])
    with pytest.raises(
        BadData, match="may be a bar's fields without a close, or tickers"
    ) as caught:
        read(path)
    assert "--format wide" in str(caught.value.hint)
    assert read(path, reading=Reading(format="wide")).tickers == ("LOW", "OPEN")
    assert read(write(["date,LOW,HD", *rows("{day},{a},{b}")])).tickers == ("LOW", "HD")
    path = write(["date,HD,LAST", *rows("{day},{a},{b}")])
    with pytest.raises(BadData, match="LAST, HD may be the close of one ticker, or tickers"):
        read(path)
    assert read(path, reading=Reading(format="wide")).tickers == ("HD", "LAST")
    assert read(path, reading=Reading(format="bars")).close[:, 0].tolist() == B
    assert read(write(["date,close,note", *rows("{day},{a},x")])).close[:, 0].tolist() == A


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<!DOCTYPE html><p>", "a web page or XML"),
        ('{"Note": "limit"}', "JSON, not a table"),
        ("Price,Close,Close\nTicker,A,A\nDate,,\n2024-01-01,1,2\n", "appears twice"),
        ("date,close,close_time,last,settle\n2024-01-01,1,2,3,4\n", None),
        ("date,last,settle\n2024-01-01,1,2\n", "both look like the field 'close'"),
    ],
)
def test_what_is_refused(write, content, says):
    path = write(content)
    if says is None:
        with pytest.raises(BadData, match="1 prices, at least 20"):
            read(path)
        return
    with pytest.raises(BadData, match=says):
        read(path)


def test_one_ticker_on_standard_input_needs_a_name(write, monkeypatch):
    content = "\n".join(["Date,Open,Close", *rows("{day},1,{a}")]).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(BadData, match="nothing names it") as caught:
        read("-")
    assert "--ticker" in str(caught.value.hint)


def test_a_currency_is_kept_and_two_are_refused(write):
    lines = ["date,ticker,close,currency"]
    for day, a in zip(DAYS, A, strict=True):
        lines += [f"{day},X,{a},USD", f"{day},Y,{a},USD", f"{day},Z,{a},EUR"]
    path = write(lines)
    with pytest.raises(BadData, match="X is priced in USD and Z in EUR"):
        read(path)
    assert read(path, tickers=["X", "Y"]).currency == "USD"
    path.write_text(path.read_text().replace("EUR", "usd"))
    assert read(path).currency == "USD"
    path.write_text(path.read_text().replace("usd", "USd"))  # of a hundredth, as GBp
    with pytest.raises(BadData, match="X is priced in USD and Z in USd"):
        read(path)


def test_midnights_of_two_exchanges_are_dates(write):
    lines = ["date,ticker,close"]
    for day, a in zip(DAYS, A, strict=True):
        lines += [f"{day} 00:00:00-05:00,NYSE,{a}", f"{day} 00:00:00+01:00,XETRA,{a}"]
    prices = read(write(lines))
    assert prices.timezone is None
    assert len(prices) == 40
    assert "midnights at several offsets taken as dates" in prices.notes[0]
    one = write(["date,close", *rows("{day}T00:00:00-05:00,{a}")], "A.csv")
    two = write(["date,close", *rows("{day}T00:00:00+09:00,{b}")], "B.csv")
    assert len(read([one, two])) == 40


def test_sessions_at_other_times_are_joined_by_date_when_asked(write):
    one = write(["date,close", *rows("{day}T16:00:00-05:00,{a}")], "A.csv")
    two = write(["date,close", *rows("{day}T15:30:00+09:00,{b}")], "B.csv")
    with pytest.raises(BadData, match="there is no price") as caught:
        read([one, two])
    assert "--daily" in str(caught.value.hint)
    prices = read([one, two], reading=Reading(daily=True))
    assert prices.zoned.tolist() == [str(day) for day in DAYS]


def test_negative_prices_when_they_may_be(write):
    lines = [f"{day},{a - 53.25},{b}" for day, a, b in zip(DAYS, A, B, strict=True)]
    path = write(["date,A,B", *lines])
    with pytest.raises(BadData, match="close -3 is not positive"):
        read(path)
    assert read(path, signed=True).close[0, 0] == -3.0
    bad = write(["date,A", *(f"{day},{'inf' if n == 3 else n}" for n, day in enumerate(DAYS))])
    with pytest.raises(BadData, match="close inf is not finite"):
        read(bad, signed=True)


def test_a_workbook(write):
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    book = openpyxl.Workbook()
    for row in (["Date", "A", "B"], *zip(DAYS, A, B, strict=True)):
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    prices = read(write(out.getvalue(), "book.xlsx"))
    assert prices.tickers == ("A", "B")
    assert prices.zoned[0] == "2024-01-01"
    book.active.title = "KO"
    for row in book.active.iter_rows(min_row=1, max_row=1):
        row[1].value, row[2].value = "Open", "Close"
    copy = book.copy_worksheet(book["KO"])
    copy.title = "PEP"
    out = io.BytesIO()
    book.save(out)
    assert read(write(out.getvalue(), "book.xlsx")).tickers == ("KO", "PEP")


def test_bombs_are_refused(write):
    line = b"2020-01-01,1,1\n" * 70_000
    packed = gzip.compress(b"date,A,B\n" + line * 80)
    with pytest.raises(BadData, match="more than 200 times its size") as caught:
        read(write(packed, "bomb.gz"))
    assert "--max-ratio" in str(caught.value.hint)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", line * 80)
    with pytest.raises(BadData, match="more than 200 times its size"):
        read(write(out.getvalue(), "bomb.zip"))
    count = 6_000_000
    table = pa.table({"date": pa.array(np.zeros(count, np.int64)).cast(pa.timestamp("ns")),
                      "A": np.ones(count), "B": np.ones(count)})  # fmt: skip
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    with pytest.raises(BadData, match="more than 200 times its size"):
        read(write(out.getvalue(), "bomb.parquet"))
    small = UnpackLimits(size=1 << 10)
    with pytest.raises(BadData, match="unpacks to more than"):
        read(write(gzip.compress(line), "x.gz"), reading=Reading(limits=small))


@pytest.mark.parametrize("seed", range(60))
def test_damaged_parquet_and_zip_files_are_bad_data(write, seed):
    rng = np.random.default_rng(seed)
    out = io.BytesIO()
    if seed % 3:
        pq.write_table(pa.table({"date": DAYS, "A": A, "B": B}), out)
    else:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", "\n".join(["date,A,B", *rows("{day},{a},{b}")]))
    content = bytearray(out.getvalue())
    for _ in range(3):
        content[rng.integers(4, len(content))] ^= struct.pack("B", rng.integers(1, 256))[0]
    with contextlib.suppress(BadData):
        read(write(bytes(content), "x.parquet"))


def test_midnights_keep_their_clock(write):
    moments = [datetime(2024, 1, 1, 9) + timedelta(hours=n) for n in range(40)]
    lines = [f"{each:%d.%m.%Y %H:%M};{a}" for each, a in zip(moments, A, strict=True)]
    prices = read(write(["date;A", *lines]))
    assert prices.zoned[15] == "2024-01-02T00:00:00"
