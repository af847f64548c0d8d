"""Files that are damaged, too large, or no prices: each is refused with its reason."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pairs.prices.price_files import DAYS, A, B, rows

from mlkit.errors import BadData
from mlkit.pairs.prices import read
from mlkit.pairs.prices.reading import Reading
from mlkit.unpacking import UnpackLimits


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
