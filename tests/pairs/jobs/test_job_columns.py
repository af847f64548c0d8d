"""A batch of plain records as columns gives what its rows give, one by one."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.pairs.jobs import columns, rows
from mlkit.streams import Message, Partition, Record

PLACE = Partition("bars", 0)


def record(value, key=b"A"):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(PLACE, 0, 0, key, text)


def frames(values, key="ticker"):
    """Return the data frame of records by columns, and by rows."""
    records = [record(each) for each in values]
    read = [rows.read(each, key, shared=False) for each in records]
    return columns.frame(records, key, shared=False), rows.frame(read)


TIMES = st.one_of(
    st.integers(-9 * 10**9, 9 * 10**9),
    st.integers(10**11, 9 * 10**12),
    st.integers(10**14, 9 * 10**15),
    st.integers(10**17, 9 * 10**18),
    st.datetimes(pd.Timestamp(1678, 1, 1), pd.Timestamp(2261, 12, 31)).map(
        lambda each: each.isoformat() + "Z"
    ),
    st.just("2024-02-29T23:59:59.000000001Z"),
)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'))
FIELDS = {
    "close": st.floats(allow_nan=False, allow_infinity=False),
    "size": st.integers(-(2**63), 2**63 - 1),
    "mixed": st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    "side": TEXT,
}
PLAIN = st.fixed_dictionaries(
    {"time": TIMES, "ticker": st.sampled_from("ABC")}, optional=FIELDS
).flatmap(lambda row: st.permutations(list(row.items())).map(dict))


@given(values=st.lists(PLAIN, min_size=1, max_size=8))
def test_plain_records_make_the_same_data_frame(values):
    found, expected = frames(values)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


HOSTILE = [
    b'{"time":1,"ticker":"A","close":1', b'{"time":1,"ticker":"A"} x', b"[]", b"", b"\xff", b"{}",
    b'{"time":1,"ticker":"A","close":NaN}', b'{"time":1,"ticker":"A","close":01}',
    b'{"time":1,"ticker":"A","close":1e999}', b'{"time":1,"ticker":"A","close":.5}',
    b'{"time":1,"ticker":"A","close":-}', b'{"time":1,"ticker":"A","close":null}',
    b'{"time":1,"ticker":"A","close":true}', b'{"time":1,"ticker":"A","legs":{"B":[1]}}',
    b'{"time":1,"ticker":"A","close":1,"close":2}', b'{"time":1,"ticker":"A","ticker":"B"}',
    b'{"time":1,"ticker":""}', b'{"time":1,"ticker":3}', b'{"time":"noon","ticker":"A"}',
    b'{"time":"2023-02-29T00:00:00Z","ticker":"A"}',
    b'{"time":"2024-01-01T24:00:00Z","ticker":"A"}',
    b'{"time":"2024-01-01T00:00:00.1234567Z","ticker":"A"}',
    b'{"time":1.5,"ticker":"A"}',
    b'{"time":"2024-01-01T00:00:00+01:00","ticker":"A"}',
    b'{"time":true,"ticker":"A"}',
    b'{"date":1,"ticker":"A"}', b'{"time":1,"symbol":"A"}', b'{"time":9223372036854775808}',
    b'{"time":1,"ticker":"A","size":9223372036854775808}', b'{"time":1,"ticker":"\xc3\xa9"}',
    b'{"time":1,"ticker":"A","note":"a\\nb"}', b'{"time":1,"ticker":"A","no\\u0074e":"a"}',
    b'{"time":-9223372036854775808,"ticker":"A"}', b'{"time":1,"ticker":"A","x":"\t"}',
    b'{"time":1,"ticker":"A",}', b'{"time":1 "ticker":"A"}', b'{,"time":1,"ticker":"A"}',
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_other_records_are_left_to_the_rows(value):
    plain = record({"time": 1, "ticker": "A"})
    assert columns.frame([plain, record(value), plain], "ticker", shared=False) is None


@given(value=st.binary(max_size=40) | st.sampled_from(HOSTILE).map(lambda each: each[:-1]))
def test_bytes_that_are_no_record_are_never_taken_for_one(value):
    if rows.read(record(value), "ticker", shared=False) is None:
        assert columns.frame([record(value)], "ticker", shared=False) is None


def test_text_and_numbers_of_one_field_are_left_to_the_rows():
    values = [{"time": 1, "ticker": "A", "x": 1}, {"time": 2, "ticker": "A", "x": "1"}]
    assert columns.frame(list(map(record, values)), "ticker", shared=False) is None


def test_message_keys_are_compared_where_partitions_are_shared():
    mine, other = record({"time": 1, "ticker": "A"}), record({"time": 1, "ticker": "A"}, b"B")
    assert len(columns.frame([mine, mine], "ticker", shared=True)) == 2
    assert columns.frame([mine, other], "ticker", shared=True) is None


CELLS = {
    "close": st.floats(allow_infinity=False),
    "size": st.integers(-(2**63), 2**63 - 1),
    "halted": st.booleans(),
    "side": st.text() | st.none(),
}


@given(data=st.data(), count=st.integers(1, 6))
def test_a_data_frame_makes_the_same_messages(data, count):
    names = data.draw(st.lists(st.sampled_from(sorted(CELLS)), unique=True))
    whole = st.lists(st.integers(-9 * 10**18, 9 * 10**18), min_size=count, max_size=count)
    cells = {
        "time": pd.to_datetime(data.draw(whole), utc=True),
        "ticker": data.draw(st.lists(st.sampled_from("ABé"), min_size=count, max_size=count)),
    } | {
        name: data.draw(st.lists(CELLS[name], min_size=count, max_size=count)) for name in names
    }  # fmt: skip
    made = pd.DataFrame({name: cells[name] for name in data.draw(st.permutations(list(cells)))})
    found = columns.messages(made, "ticker")
    expected = [rows.message(row, "ticker") for row in rows.of_frame(made, "ticker")]
    assert [(each.key, each.timestamp) for each in found] == [
        (each.key, each.timestamp) for each in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert list(msgspec.json.decode(one.value).items()) == list(
            msgspec.json.decode(other.value).items()
        )


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("time", [pd.NaT, pd.Timestamp(0, tz="UTC")]),
        ("time", [1, 2]),
        ("ticker", ["A", None]),
        ("ticker", ["A", ""]),
        ("ticker", [1, 2]),
        ("close", [1.0, np.inf]),
        ("close", [[1], {}]),
        ("close", pd.Series(["\ud800", "A"], dtype=object)),
        ("close", pd.array([1, None], dtype="Int64")),
        ("close", pd.Categorical(["a", "b"])),
        ("close", np.array([1, 2], dtype="uint64")),
        ("close", [True, None]),
        (0, [1.0, 2.0]),
    ],
)
def test_other_data_frames_are_left_to_the_rows(name, cells):
    made = pd.DataFrame({"time": pd.to_datetime([1, 2], utc=True), "ticker": ["A", "B"]})
    made[name] = cells
    assert columns.messages(made, "ticker") is None


def test_small_floats_and_times_of_a_zone_keep_their_values():
    times = pd.to_datetime([10**9, 1], utc=True).tz_convert("America/New_York")
    made = pd.DataFrame({"time": times, "ticker": "A", "x": np.array([0.1, 1e-30], "float32")})
    first, second = columns.messages(made, "ticker")
    assert first == Message(
        b'{"time":"1970-01-01T00:00:01Z","ticker":"A","x":0.10000000149011612}', b"A", 1000
    )
    assert json.loads(second.value)["time"] == "1970-01-01T00:00:00.000000001Z"
    assert second.timestamp == 0
