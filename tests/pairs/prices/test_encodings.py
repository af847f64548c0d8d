"""Price files that are not UTF-8, and those with prices in two currencies."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices import read
from mlkit.pairs.prices.reading import Reading

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(40)]
CLOSES = [4700.5 + n % 7 for n in range(40)]
PAIRS = list(zip(DAYS, CLOSES, strict=True))
CRYPTO = (
    "timestamp,open (CNY),high (CNY),low (CNY),close (CNY),open (USD),high (USD),low (USD),"
    "close (USD),volume,market cap (USD)"
)


@pytest.fixture
def write(tmp_path):
    def to(lines, name="AAA.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes("".join(f"{each}\n" for each in lines).encode(encoding))
        return path

    return to


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_latin_1_is_read_where_names_and_numbers_leave_no_doubt(write, encoding):
    lines = [f'{day:%d.%m.%Y};"{close:.1f}"'.replace(".5", ",5").replace("47", "4\xa07")
             for day, close in PAIRS]  # fmt: skip
    prices = read(write(["Fecha;Último", *lines], encoding=encoding))
    assert prices.close[:, 0].tolist() == CLOSES
    assert "Windows-1252 text" in prices.notes[0]
    assert prices.notes[0].count("read as") == 1


def test_other_text_is_refused_until_its_encoding_is_named(write):
    lines = [f"{day},{close},{2 + n % 3}" for n, (day, close) in enumerate(PAIRS)]
    path = write(["date,Zürich,KO", *lines], encoding="latin-1")
    with pytest.raises(BadData, match=r"row 1: not UTF-8 text") as refused:
        read(path)
    assert "--encoding cp1252" in str(refused.value.hint)
    assert read(path, reading=Reading(encoding="latin-1")).tickers == ("Zürich", "KO")
    czech = write(["date,Žižek,KO", *lines], "b.csv", "cp1250")
    with pytest.raises(BadData, match="not UTF-8"):
        read(czech)
    assert read(czech, reading=Reading(encoding="cp1250")).tickers == ("Žižek", "KO")
    with pytest.raises(BadData, match="not UTF-8 text"):
        read(path, reading=Reading(encoding="utf-8"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_unicode_is_read(write, encoding):
    lines = ["date,Žižek", *(f"{day},{close}" for day, close in PAIRS)]
    prices = read(write(lines, encoding=encoding))
    assert prices.tickers == ("Žižek",)
    assert prices.close[:, 0].tolist() == CLOSES


@pytest.mark.parametrize("name", ["klingon", "base64", "", "idna\0"])
def test_an_unknown_encoding_is_a_wrong_option(write, name):
    with pytest.raises(UsageError, match="there is no such encoding"):
        read(write(["date,A", "2024-01-01,1"]), reading=Reading(encoding=name))


@pytest.fixture
def crypto(write):
    lines = [f"{day},7,9,6,{close * 7},1,9,1,{close},12.5,99"
             for day, close in PAIRS]  # fmt: skip
    return write([CRYPTO, *lines], "currency_daily_BTC_CNY.csv")


def test_prices_in_two_currencies_are_read_in_the_one_that_is_named(crypto):
    with pytest.raises(BadData, match="prices in CNY and in USD") as refused:
        read(crypto)
    assert refused.value.hint == "--currency CNY or --currency USD"
    prices = read(crypto, reading=Reading(currency="usd"))
    assert prices.tickers == ("BTC",)
    assert prices.close[:, 0].tolist() == CLOSES
    assert read(crypto, reading=Reading(currency="CNY")).close[0, 0] == CLOSES[0] * 7
    with pytest.raises(UsageError, match=r"--currency EUR: .* has prices in CNY, USD"):
        read(crypto, reading=Reading(currency="EUR"))


@pytest.mark.parametrize(
    "one", ["Last ({})", "Settle ({})", "Close [{}]", "Close {}", "close_{}", "price ({})"]
)
def test_prices_of_one_instrument_in_two_currencies_are_chosen_by_name(write, one):
    header = f"date,{one.format('USD')},{one.format('EUR')}"
    path = write([header, *(f"{day},{close},{close * 7}" for day, close in PAIRS)], "KO.csv")
    with pytest.raises(BadData, match="prices in USD and in EUR"):
        read(path)
    prices = read(path, reading=Reading(currency="USD"))
    assert prices.close[:, 0].tolist() == CLOSES
    assert prices.currency == "USD"


def test_an_adjusted_close_with_a_currency_is_the_adjusted_close(write):
    lines = [f"{day},{tick},{close * 2},{close}" for day, close in PAIRS for tick in "AB"]
    plain = read(write(["date,ticker,Close,Adj Close", *lines], "plain.csv"))
    priced = read(write(["date,ticker,Close (USD),Adj Close (USD)", *lines], "priced.csv"))
    assert priced.close.tolist() == plain.close.tolist()
    assert priced.currency == "USD"
    noted = read(write(["date,ticker,Close,Close (adj)", *lines], "noted.csv"))
    assert noted.close.tolist() == plain.close.tolist()


@pytest.mark.parametrize("name", ["price close (USD)", "price (USD)"])
def test_a_single_price_in_a_currency_is_read(write, name):
    path = write([f"date,{name}", *(f"{day},{close}" for day, close in PAIRS)], "KO.csv")
    assert read(path).close[:, 0].tolist() == CLOSES


def test_dollars_that_are_written_twice_are_read_once(write):
    lines = [f"{day},1,9,1,{close},1,9,1,{close},12.5,99"
             for day, close in PAIRS]  # fmt: skip
    path = write([CRYPTO.replace("CNY", "USD"), *lines], "currency_daily_BTC_USD.csv")
    assert read(path).close[:, 0].tolist() == CLOSES
    other = write([CRYPTO.replace("CNY", "USD"), *lines[:-1], lines[-1].replace(",1,9", ",2,9", 1)])
    with pytest.raises(BadData, match="appears twice"):
        read(other)


def test_files_in_two_currencies_are_not_read_together(crypto, write):
    single = "timestamp,open (EUR),high (EUR),low (EUR),close (EUR),volume"
    lines = [f"{day},1,9,1,{close},12.5" for day, close in PAIRS]
    path = write([single, *lines], "currency_daily_ETH_EUR.csv")
    assert read(path).tickers == ("ETH",)
    dollars = write([single.replace("EUR", "USD"), *lines], "currency_daily_XRP_USD.csv")
    with pytest.raises(BadData, match="EUR"):
        read([path, dollars])
    with pytest.raises(UsageError, match="names no currencies"):
        read(write(["date,A", "2024-01-01,1"]), reading=Reading(currency="EUR"))
