"""Prices in several currencies, or on two sides of the market, are chosen or refused."""

from __future__ import annotations

import re
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices import read
from mlkit.pairs.prices.reading import Reading

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(40)]
A = [50.25 + n % 7 for n in range(40)]
B = [100.5 + n % 5 for n in range(40)]
EUR = Reading(currency="EUR")


@pytest.fixture
def write(tmp_path):
    def to(lines, name="AAA.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return to


def rows(form):
    return [form.format(day=d, a=a, b=b, n=n)
            for n, (d, a, b) in enumerate(zip(DAYS, A, B, strict=True))]  # fmt: skip


def signs_by_row():
    for n, (day, a) in enumerate(zip(DAYS, A, strict=True)):
        sign = "€" if n == 7 else "$"
        yield f"{day},{sign}{a},{sign}{a + 1}"


MIXED = {
    "rows of bars": (
        ["date,open,close", *signs_by_row()],
        "AAA is priced in USD and in EUR (F: row 2, column 'open'; F: row 9, column 'open')",
    ),
    "columns": (
        ["date,X,Y", *rows("{day},${a},{b} €")],
        "X is priced in USD and Y in EUR (F: row 2, column 'X'; F: row 2, column 'Y')",
    ),
    "tickers of rows": (
        ["date,ticker,close", *rows("{day},X,£{a}\n{day},Y,{b}")[:20], f"{DAYS[20]},Y,EUR 4"],
        "X is priced in GBP and Y in EUR (F: row 2, column 'close'; F: row 42, column 'close')",
    ),
    "fields in rows": (
        ["date,ticker,field,value", *rows("{day},X,close,${a}\n{day},Y,close,€{b}")],
        "X is priced in USD and Y in EUR (F: row 2, column 'value'; F: row 3, column 'value')",
    ),
    "a column, and fields in rows": (
        ["date,ticker,field,value,ccy", *rows("{day},X,close,{a},USD\n{day},Y,close,{b},EUR")],
        "X is priced in USD and Y in EUR (F: row 2, column 'ccy'; F: row 3, column 'ccy')",
    ),
    "two header rows": (
        ["Ticker,X,Y", "Price,Close,Close", "Date,,", *rows("{day},${a},€{b}")],
        "X is priced in USD and Y in EUR (F: row 4, column 'X Close'; F: row 4, column 'Y Close')",
    ),
}


@pytest.mark.parametrize("kind", MIXED)
def test_signs_of_two_currencies_are_refused_with_both_places(write, kind):
    lines, said = MIXED[kind]
    path = write(lines)
    with pytest.raises(BadData, match=re.escape(said.replace("F:", f"{path}:"))) as refused:
        read(path, align="inner")
    assert "--currency" in refused.value.hint


def test_a_cell_and_a_row_of_two_currencies_are_refused(write):
    path = write(["date,close", *rows("{day},$1{n}"), "2024-03-01,$5 EUR"])
    with pytest.raises(BadData, match=r"row 42: '\$5 EUR' names two currencies"):
        read(path)
    path = write(["date,ticker,open,close", *rows("{day},X,${a},€{a}")])
    with pytest.raises(BadData, match="X is priced in USD and in EUR"):
        read(path)
    with pytest.raises(BadData, match="row 2: prices in EUR and in USD"):
        read(path, reading=EUR)


def test_a_sign_that_its_column_of_currencies_contradicts_is_refused(write):
    lines = ["date,ticker,close,currency", *rows("{day},X,${a},CAD")]
    assert read(write(lines)).currency == "CAD"  # a dollar too
    path = write([*lines, "2024-03-01,X,€5,CAD"])
    with pytest.raises(BadData, match="row 42: '€5', and its currency is named as CAD"):
        read(path)
    with pytest.raises(BadData, match="named as GBX"):  # a hundredth of a pound
        read(write(["date,ticker,close,currency", *rows("{day},X,£{a},GBX")]))
    with pytest.raises(BadData, match="named as USD"):
        read(write(["date,open (USD),close (USD)", *rows("{day},{a},€{a}")]))


def test_signs_of_one_currency_are_its_name_and_volumes_have_none(write):
    prices = read(write(["date,open,close,volume", *rows("{day},${a},USD {a},€1.2M")]))
    assert prices.currency == "USD"
    assert prices.close[:, 0].tolist() == A
    assert read(write(["date,X,Y", *rows("{day},{a},{b}")])).currency is None


def test_a_currency_chooses_rows_by_their_column(write):
    lines = ["date,ticker,close,currency"]
    for day, a, b in zip(DAYS, A, B, strict=True):
        lines += [f"{day},X,{a},USD", f"{day},X,{b},eur", f"{day},Y,{a + 1},EUR"]
    path = write(lines)
    with pytest.raises(BadData, match="X is priced in USD and in EUR") as refused:
        read(path)
    assert "--currency USD or --currency EUR" in refused.value.hint
    prices = read(path, reading=EUR)
    assert prices.tickers == ("X", "Y")
    assert prices.close[:, 0].tolist() == B
    assert prices.currency == "EUR"
    assert "40 rows that are not in EUR left out" in " ".join(prices.notes)
    path.write_text(path.read_text().replace(f"{A[39] + 1},EUR", "5x,EUR"))
    with pytest.raises(BadData, match="row 16, column 'close': '5x' is not a number"):
        read(path, reading=EUR)  # the row of the file, not of what was chosen
    with pytest.raises(UsageError, match="has prices in USD, EUR"):
        read(path, reading=Reading(currency="GBP"))


def test_a_currency_chooses_tickers_by_their_signs(write):
    wide = read(write(["date,X,Y,Z", *rows("{day},${a},€{b},{b}")]), reading=EUR)
    assert wide.tickers == ("Y",)
    assert "2 tickers that are not in EUR left out" in " ".join(wide.notes)
    tall = read(write(["date,ticker,close", *rows("{day},X,${a}\n{day},Y,€{b}")]), reading=EUR)
    assert tall.tickers == ("Y",)
    assert tall.close[:, 0].tolist() == B
    torn = write(["date,X,Y", *rows("{day},${a},€{b}"), "2024-03-01,€4,€5"])
    with pytest.raises(BadData, match=r"X is priced in USD \(.*row 2\) and in EUR \(.*row 42\)"):
        read(torn, reading=EUR)


def test_a_currency_chooses_files_and_one_without_any_is_an_error(write):
    paths = [write(["date,close,currency", *rows(f"{{day}},{{a}},{each}")], f"{each}.csv")
             for each in ("USD", "EUR")]  # fmt: skip
    prices = read(paths, reading=EUR)
    assert prices.tickers == ("EUR",)
    assert "1 tables in other currencies left out" in " ".join(prices.notes)
    with pytest.raises(UsageError, match="has prices in USD"):
        read(paths[0], reading=EUR)


def test_a_currency_chooses_rows_of_parquet(tmp_path):
    table = pa.table({
        "date": DAYS * 2, "ticker": ["X"] * 80, "close": A + B,
        "currency": pa.array(["USD"] * 40 + ["EUR"] * 40).dictionary_encode(),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "p.parquet")
    assert read(tmp_path / "p.parquet", reading=EUR).close[:, 0].tolist() == B


@pytest.mark.parametrize(
    "header",
    ["date,close (bid),close (ask)", "date,bid_close,ask_close", "date,Close Bid,Close Offer",
     "date,AAA bid,AAA ask", "date,bid,ask", "date,AAA.mid,AAA.ask"],
)  # fmt: skip
def test_bid_and_ask_are_not_two_tickers(write, header):
    path = write([header, *rows("{day},{a},{b}")])
    with pytest.raises(BadData, match="may be two sides of one ticker's prices, or two tick") as no:
        read(path)
    assert "--format wide" in no.value.hint
    assert len(read(path, reading=Reading(format="wide")).tickers) == 2


def test_two_header_rows_of_bid_and_ask_are_refused(write):
    path = write([",X bid,X ask", ",Close,Close", "Date,,", *rows("{day},{a},{b}")])
    with pytest.raises(BadData, match="two sides of one"):
        read(path)


def test_bars_of_one_side_are_bars(write):
    path = write(["date,open (bid),high (bid),low (bid),close (bid)", *rows("{day},1,200,1,{a}")])
    prices = read(path)
    assert prices.tickers == ("AAA",)
    assert prices.close[:, 0].tolist() == A
    assert "bid prices" in prices.notes[0]
    beside = read(write(["date,open,close,bid,ask", *rows("{day},1,{a},2,3")]))
    assert np.array_equal(beside.close[:, 0], A)
