"""Dates, numbers and currencies as vendors write them, and those that can be read in two ways."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from pairs.prices.price_files import DAYS, A, B, rows, seconds

from mlkit.errors import BadData
from mlkit.pairs.prices import read
from mlkit.pairs.prices.reading import Reading


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


def test_midnights_keep_their_clock(write):
    moments = [datetime(2024, 1, 1, 9) + timedelta(hours=n) for n in range(40)]
    lines = [f"{each:%d.%m.%Y %H:%M};{a}" for each, a in zip(moments, A, strict=True)]
    prices = read(write(["date;A", *lines]))
    assert prices.zoned[15] == "2024-01-02T00:00:00"
