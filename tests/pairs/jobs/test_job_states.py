"""What a job keeps comes back equal, types included, or is refused."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.errors import BadData
from mlkit.pairs.jobs.states import decode, encode

KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
VALUES = st.recursive(
    st.one_of(KEYS, st.binary(), st.datetimes(), st.datetimes(timezones=st.just(UTC))),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.lists(inner).map(lambda each: deque(each, maxlen=9)),
        st.dictionaries(st.one_of(KEYS, st.tuples(KEYS)), inner),
        st.frozensets(KEYS),
        st.frozensets(KEYS).map(set),
    ),
    max_leaves=10,
)


def same(one, other):
    """Return whether two values are equal and of equal types, at every depth."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(map(same, one.items(), other.items()))
    if isinstance(one, deque) and one.maxlen != other.maxlen:
        return False
    return not isinstance(one, list | tuple | deque) or all(map(same, one, other))


@settings(max_examples=40)
@given(VALUES)
def test_values_come_back_equal(value):
    assert same(decode(encode(value)), value)


def test_arrays_and_their_numbers_come_back_equal():
    kept = {"x": np.arange(6.0).reshape(2, 3), "n": np.int32(7), "b": np.array([True, False])}
    found = decode(encode(kept))
    assert all(np.array_equal(found[name], kept[name]) for name in kept)
    assert [each.dtype for each in found.values()] == [each.dtype for each in kept.values()]
    assert type(found["n"]) is np.int32
    found["x"][0, 0] = 9.0  # it can be written to


class Own:
    """A class of a job's own."""


@pytest.mark.parametrize(
    "value",
    [
        Counter("a"), defaultdict(list), Own(), object, np.array([Own()], dtype=object),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=["Counter", "defaultdict", "object", "class", "array of objects", "zone"],
)  # fmt: skip
def test_what_would_come_back_as_something_else_is_refused_with_its_place(value):
    with pytest.raises(BadData, match=r"state\['a'\]\[1\]"):
        encode({"a": [0, value]})


def test_a_state_within_itself_and_damaged_bytes_are_reported():
    ring = []
    ring.append(ring)
    with pytest.raises(BadData, match="within itself"):
        encode(ring)
    for damaged in (b"", b"\xc1", encode({"a": (1, 2)})[:-1], b"\xd4\x63a", b"\xd4\x08a"):
        with pytest.raises(BadData):
            decode(damaged)
