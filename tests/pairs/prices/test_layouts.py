"""Tables as vendors lay them out: each is read as what it is, and said to be that."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pairs.prices.price_files import DAYS, A, B, rows, seconds

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.prices import read
from mlkit.pairs.prices.reading import Reading
from mlkit.pairs.prices.vendors import KLINES

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
