"""Records: what text becomes, and what cannot be true."""

from __future__ import annotations

import contextlib
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlkit.errors import BadData
from mlkit.pairs.feeds.records import PriceRecord, decode, encode, fault, iso, moment, parse

NOON = 1_704_196_800 * 10**9  # 2024-01-02T12:00:00Z


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T12:00:00Z", "2024-01-02 12:00:00", "2024-01-02T07:00:00-05:00",
        1_704_196_800, 1_704_196_800.0, 1_704_196_800_000, 1_704_196_800_000_000,
        1_704_196_800_000_000_000, "1704196800",
    ],
)  # fmt: skip
def test_a_time_is_iso_or_since_1970_in_any_unit(text):
    assert moment(text) == NOON


@pytest.mark.parametrize("text", [None, "", "soon", True, [], {}, math.nan, math.inf, 10**30, "x9"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(BadData):
        moment(text)


def test_other_names_of_the_fields_are_known():
    row = {"Symbol": "KO", "Date": "2024-01-02T12:00:00Z", "price": "61.5", "volume": "", "x": 3}
    assert parse(row) == PriceRecord(NOON, "KO", 61.5)


@pytest.mark.parametrize(
    "row",
    [
        {}, {"ticker": "KO"}, {"time": NOON}, {"ticker": 5, "time": NOON},
        {"ticker": "KO", "time": NOON, "close": "dear"}, {"ticker": " ", "time": NOON},
        {"ticker": "KO", "time": NOON, "close": math.inf},
        {"ticker": "KO", "time": NOON, "close": True},
        {"ticker": "KO", "time": NOON, "close": {"a": 1}},
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(row):
    with pytest.raises(BadData):
        parse(row)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"close": 1.0}, None), ({"close": -1.0}, "price"), ({"close": 0.0}, "price"),
        ({"close": 1e308}, "price"), ({"close": 1.0, "open": -2.0}, "price"),
        ({"close": 1.0, "low": 2.0}, "range"), ({"close": 1.0, "low": 2.0, "high": 1.0}, "range"),
        ({"close": 1.0, "volume": -1.0}, "amount"), ({"close": 1.0, "dividend": -1.0}, "amount"),
        ({}, "empty"), ({"volume": 5.0}, "empty"), ({"dividend": 0.2}, None),
        ({"close": 1.0, "bid": 2.0, "ask": 1.0}, "crossed"),
        ({"close": 1.0, "bid": 1.0, "ask": 1.0}, None),
    ],
)  # fmt: skip
def test_what_cannot_be_true_has_a_name(cells, why):
    assert fault(PriceRecord(NOON, "KO", **cells)) == why


prices = st.none() | st.floats(1e-9, 1e12)


names = st.text(st.characters(codec="utf-8"), min_size=1).map(str.strip).filter(bool)


@given(st.integers(-(2**62), 2**62), names, prices, prices)
def test_a_record_survives_its_text(time, ticker, close, bid):
    record = PriceRecord(time, ticker, close, bid=bid)
    assert decode(encode(record)) == record
    assert moment(iso(time)) == time


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(content):
    with contextlib.suppress(BadData):
        decode(content)
