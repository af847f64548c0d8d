from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.prices.prices import Prices, read

BARS = 30
DATES = [str(np.datetime64("2020-01-01") + day) for day in range(BARS)]


def wide(**columns: list[object]) -> str:
    rows = [",".join(["date", *columns])]
    rows += [
        ",".join([date, *(str(column[bar]) for column in columns.values())])
        for bar, date in enumerate(DATES)
    ]
    return "\n".join(rows) + "\n"


def ramp(first: float = 10.0) -> list[object]:
    return [first + bar for bar in range(BARS)]


def long(**columns: list[object]) -> str:
    lines = ["date,ticker,close"]
    for ticker, column in columns.items():
        lines += [f"{date},{ticker},{price}" for date, price in zip(DATES, column, strict=True)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def file(tmp_path: Path):
    def write(content: str | bytes, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_the_same_prices_in_every_format(file):
    text = wide(KO=ramp(), PEP=ramp(50))
    table = pa.table({"KO": ramp(), "date": pa.array(DATES).cast(pa.date32()), "PEP": ramp(50)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    files = [
        file(text, "wide.csv"),
        file(gzip.compress(text.encode()), "wide.csv.gz"),
        file(buffer.getvalue(), "wide.parquet"),
        file(long(KO=ramp(), PEP=ramp(50)), "long.csv"),
        file("\ufeff" + text.replace("date", "", 1), "pandas.csv"),
    ]
    for path in files:
        prices = read(path)
        assert prices.tickers == ("KO", "PEP")
        assert prices.timezone is None
        assert prices.zoned.tolist() == DATES
        assert prices.close.tolist() == [list(row) for row in zip(ramp(), ramp(50), strict=True)]
        assert prices.repairs == ()


def test_standard_input(file):
    path = file(wide(KO=ramp(), PEP=ramp(50)))
    code = "from mlkit.pairs.prices.prices import read; p = read('-'); print(p.source, p.tickers)"
    with path.open("rb") as stream:
        said = subprocess.run([sys.executable, "-c", code], stdin=stream, capture_output=True)
    assert said.stdout.decode().strip() == "standard input ('KO', 'PEP')"


def test_the_hash_is_of_the_bytes(file):
    one, two = file(wide(A=ramp()), "1.csv"), file(wide(A=ramp(11)), "2.csv")
    assert read(one).content_hash == read(file(one.read_bytes(), "3.csv")).content_hash
    assert read(one).content_hash != read(two).content_hash


def test_an_offset_is_kept(file):
    text = "\n".join(
        line if n == 0 else line.replace(",", "T09:30:00-05:00,", 1)
        for n, line in enumerate(wide(A=ramp()).splitlines())
    )
    prices = read(file(text))
    assert prices.timezone == "-05:00"
    assert prices.timestamps[0] == np.datetime64("2020-01-01T14:30:00")
    assert prices.zoned[0] == "2020-01-01T09:30:00-05:00"
    assert len(prices.window("2020-01-02T09:30", None)) == BARS - 1


def test_a_named_zone_is_kept(file):
    times = pa.array(np.array(DATES, "datetime64[ns]")).cast(pa.timestamp("ns", "UTC"))
    times = times.cast(pa.timestamp("ns", "America/New_York"))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"time": times, "A": ramp()}), buffer)
    prices = read(file(buffer.getvalue()))
    assert prices.timezone == "America/New_York"
    assert prices.zoned[0] == "2019-12-31T19:00:00-05:00"


def test_a_ticker_may_begin_late_and_end_early(file):
    column: list[object] = ["", *ramp()[1:-1], ""]
    prices = read(file(wide(A=ramp(), B=column)))
    assert np.isnan(prices.close[:, 1]).tolist() == [True] + [False] * (BARS - 2) + [True]
    inner = read(file(wide(A=ramp(), B=column)), align="inner")
    assert len(inner) == BARS - 2
    assert [each.count for each in inner.repairs] == [2]


def spoiled(bar: int, cell: object) -> list[object]:
    column = ramp()
    column[bar] = cell
    return column


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("", "row 9, B: there is no price"),
        ("nan", "row 9, B: there is no price"),
        (0, "row 9, B: close 0 is not positive"),
        (-1.5, "row 9, B: close -1.5 is not positive"),
        (1e-310, "row 9, B: close 1e-310 is too small for a price"),
        ("inf", "row 9, B: close inf is not finite"),
    ],
)
@pytest.mark.parametrize("shape", [wide, long])
def test_a_bad_price_is_named_or_mended(file, cell, says, shape):
    path = file(shape(A=ramp(), B=spoiled(7, cell)))
    if shape is long:
        says = says.replace("row 9", f"row {9 + BARS}")
    with pytest.raises(BadData) as caught:
        read(path)
    assert caught.value.message == f"{path}: {says}"
    assert "--align" in caught.value.hint

    filled = read(path, align="ffill")
    assert filled.close[7, 1] == filled.close[6, 1]
    assert filled.repairs[-1].count == 1
    assert "carried forward" in str(filled.repairs[-1])
    inner = read(path, align="inner")
    assert len(inner) == BARS - 1
    assert np.isfinite(inner.close).all()


def test_a_missing_row_of_a_long_file(file):
    lines = long(A=ramp(), B=ramp()).splitlines()
    del lines[5]
    path = file("\n".join(lines))
    with pytest.raises(BadData, match="no row for 2020-01-05, A: there is no price"):
        read(path)
    assert read(path, align="ffill").close[4, 0] == 13.0


@pytest.mark.parametrize("shape", [wide, long])
def test_order_of_time(file, shape):
    lines = shape(A=ramp()).splitlines()
    lines[3], lines[4] = lines[4], lines[3]
    path = file("\n".join(lines))
    with pytest.raises(BadData, match=r"row 5.*: 2020-01-03 is earlier than before"):
        read(path)
    prices = read(path, align="ffill")
    assert prices.close[:, 0].tolist() == ramp()
    assert str(prices.repairs[0]).startswith("timestamp sorted: 1 (first: ")


@pytest.mark.parametrize("shape", [wide, long])
def test_duplicate_timestamps(file, shape):
    lines = shape(A=ramp()).splitlines()
    lines.insert(4, lines[4].replace("13.0", "99"))
    path = file("\n".join(lines))
    with pytest.raises(BadData, match=r"row 6.*: 2020-01-04 appears twice"):
        read(path)
    prices = read(path, align="inner")
    assert prices.close[:, 0].tolist() == ramp()
    assert prices.repairs[0].count == 1


def test_short_and_constant_tickers(file):
    short = [""] * (BARS - 5) + ramp()[:5]
    path = file(wide(A=ramp(), B=short))
    with pytest.raises(BadData, match="B: 5 prices, at least 20 are needed"):
        read(path)
    for align in ("inner", "ffill"):
        assert read(path, align=align).tickers == ("A",)
        assert len(read(path, align=align)) == BARS
    path = file(wide(A=ramp(), B=[7] * BARS))
    with pytest.raises(BadData, match="B: every price is 7"):
        read(path)
    assert "constant" in str(read(path, align="inner").repairs[0])
    assert read(path, tickers=["A"]).tickers == ("A",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("date,A\n", "no prices below the header"),
        ("date,A,A\n", "row 1: column 'A' appears twice"),
        ("date,A,\n", "row 1: column 3 has no name"),
        ("x,y\n1,2\n", "no column of dates among: x, y"),
        ("date,A\n01/02/2020,3\n", "row 2: '01/02/2020' is ambiguous: day/month or month/day"),
        ("date,A\n2020-01-01,3\n2020-01-32,3\n", "row 3: '2020-01-32': not a date"),
        ("date,A\n2020-01-01,3\n2020-01-02T00:00Z,3\n", "timestamps with and without a zone"),
        ("date,A\n,3\n", "row 2: there is no date"),
        ("date,A\n2020-01-01,x\n", "row 2, column 'A': 'x' is not a number"),
        ("date,A\n2020-01-01,1\n\n2020-01-02,1\n", "row 3: there is no date"),
        ("date,A\n2020-01-01,1\n2020-01-02,1,2\n", "Row #3: Expected 2 columns"),
        ("date,ticker,price\n2020-01-01,A,1\n", "no column 'close'"),
        ("date,ticker,close\n2020-01-01,,1\n", "row 2: there is no ticker"),
        (b"\x1f\x8bjunk", "damaged gzip file"),
        (b"PAR1junk", "no Parquet file"),
        (b"date,\xff\n", "row 1: not UTF-8"),
    ],
)
def test_what_cannot_be_read(file, content, says):
    with pytest.raises(BadData, match=says):
        read(file(content))
    with pytest.raises(BadData, match=says):
        read(file(content), align="ffill")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputMissing, match=r"none\.csv: cannot be read"):
        read(tmp_path / "none.csv")


OHLC = "date,ticker,open,high,low,close,adj_close,dividend\n" + "\n".join(
    f"{date},A,{10 + n},{12 + n},{9 + n},{11 + n},{(11 + n) / 2},{'0.5' if n == 3 else ''}"
    for n, date in enumerate(DATES)
)


def test_adjusted_closes_scale_the_bar_and_hold_the_dividends(file):
    prices = read(file(OHLC))
    assert prices.close[0, 0] == 5.5
    assert prices.open is not None
    assert prices.open[0, 0] == 5.0
    assert prices.dividends is None


def test_raw_closes_bring_their_dividends(file):
    prices = read(file(OHLC), raw=True)
    assert prices.close[0, 0] == 11
    assert prices.dividends is not None
    assert prices.dividends[:, 0].tolist() == [0.5 if n == 3 else 0.0 for n in range(BARS)]
    with pytest.raises(BadData, match="raw prices need a column 'dividend'"):
        read(file(wide(A=ramp()), "w.csv"), raw=True)


@pytest.fixture
def prices(file) -> Prices:
    return read(file(wide(KO=ramp(), PEP=ramp(50), MSFT=ramp(3))))


def test_select(prices):
    two = prices.select(["PEP", "KO"])
    assert two.tickers == ("PEP", "KO")
    assert two.close[0].tolist() == [50, 10]
    with pytest.raises(UsageError, match="no ticker 'MSTF'") as caught:
        prices.select(["MSTF"])
    assert caught.value.hint == "did you mean 'MSFT'?"


def test_window(prices):
    assert prices.window(3, 8).zoned.tolist() == DATES[3:8]
    assert prices.window(None, -20).zoned.tolist() == DATES[:10]
    assert prices.window("2020-01-05", "2020-01-08").zoned.tolist() == DATES[4:7]
    with pytest.raises(UsageError, match="'soon' is not a date"):
        prices.window("soon", None)


@pytest.mark.parametrize(
    "timezone", ["America/New_York", "Asia/Kolkata", "-05:00", "+05:30", "UTC"]
)
def test_moments_are_written_as_python_writes_them(timezone):
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    moments = np.datetime64("2021-01-01T00:30", "ns") + np.arange(800) * np.timedelta64(13, "h")
    close = np.ones((len(moments), 1))
    zoned = Prices(("A",), moments, timezone, close).zoned
    instants = [datetime.fromtimestamp(int(each) / 1e9, UTC) for each in moments.astype(np.int64)]
    zone = datetime.fromisoformat(f"2021-01-01T00:00{timezone}").tzinfo if timezone[0] in "+-" \
        else ZoneInfo(timezone)  # fmt: skip
    assert zoned.tolist() == [each.astimezone(zone).isoformat() for each in instants]
