"""Bars out of records: by event time, in any order of arrival, and by rules that are counted."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.pairs.feeds.assembly import Assembler
from mlkit.pairs.feeds.records import PriceRecord

SECOND = 10**9


def record(time, ticker, close=10.0, **more):
    return PriceRecord(time * SECOND, ticker, close, **more)


def times(bars):
    return [bar.time // SECOND for bar in bars]


def test_a_bar_closes_once_every_ticker_has_it():
    assembler = Assembler("AB")
    assert not assembler.take(record(1, "A"))
    assert times(assembler.take(record(1, "B"))) == [1]


def test_a_bar_closes_when_a_record_is_later_than_the_lateness():
    assembler = Assembler("AB", lateness=5 * SECOND)
    assembler.take(record(1, "A"))
    assert not assembler.take(record(6, "A"))
    (bar,) = assembler.take(record(7, "A"))
    assert bar.time == SECOND
    assert bar.records[1] is None
    assert assembler.counts["gap"] == 1
    assert assembler.gaps == {"B": 1}


def test_records_within_the_lateness_may_come_in_any_order():
    assembler = Assembler("AB", lateness=10 * SECOND)
    for each in (record(2, "A"), record(1, "A"), record(2, "B")):
        assert not assembler.take(each)
    assert times(assembler.take(record(1, "B"))) == [1, 2]
    assert assembler.counts["out_of_order"] == 2
    assert assembler.counts["accepted"] == 4


def test_late_double_unknown_and_impossible_records_are_counted_and_dropped():
    assembler = Assembler("AB")
    for each in (record(1, "A"), record(1, "A"), record(1, "A", 11.0), record(1, "X"),
                 record(1, "B", -1.0), record(1, "B", 5.0, low=9.0)):  # fmt: skip
        assert not assembler.take(each)
    (bar,) = assembler.take(record(1, "B", 7.0))
    assert [each.close for each in bar.records] == [10.0, 7.0]
    assert not assembler.take(record(1, "A"))
    assert not assembler.take(record(0, "B"))
    assert assembler.counts == {
        "accepted": 2, "duplicate": 1, "conflicting": 1, "unknown": 1, "price": 1, "range": 1,
        "late": 2,
    }  # fmt: skip


def test_a_crossed_quote_is_dropped_and_its_price_counts():
    assembler = Assembler("AB")
    assembler.take(record(1, "A", bid=11.0, ask=9.0))
    (bar,) = assembler.take(record(1, "B"))
    assert (bar.records[0].close, bar.records[0].bid, bar.records[0].ask) == (10.0, None, None)
    assert assembler.counts["crossed"] == 1


def test_a_halted_ticker_is_awaited_no_longer_until_it_comes_back():
    assembler = Assembler("AB", halted_after=2)
    for second in (1, 2, 3):
        assembler.take(record(second, "A"))
    assert assembler.halted == ["B"]
    assert times(assembler.take(record(4, "A"))) == [4]
    assert not assembler.take(record(5, "B"))
    assert assembler.take(record(5, "A"))[0].records[1].close == 10.0
    assert not assembler.halted
    assert not assembler.take(record(6, "A"))


def test_bars_that_are_open_wait_no_longer_for_a_ticker_that_is_halted_meanwhile():
    assembler = Assembler("AB", lateness=100 * SECOND, halted_after=1)
    for time in (1, 2, 3):
        assert not assembler.take(record(time, "A"))
    assert times(assembler.take(record(102, "A"))) == [1, 2, 3, 102]
    assert not assembler.take(record(103, "B"))
    assert times(assembler.take(record(103, "A"))) == [103]  # B is back, and awaited again
    assert not assembler.take(record(104, "A"))
    assert times(assembler.take(record(104, "B"))) == [104]


def test_ticks_become_bars_by_their_own_times():
    assembler = Assembler("AB", length=60 * SECOND)
    ticks = [(1, 10.0), (30, 12.0), (20, 8.0), (59, 11.0)]
    for second, price in ticks:
        assert not assembler.take(record(second, "A", price, volume=2.0))
    (bar,) = assembler.take(record(120, "B"))
    found = bar.records[0]
    assert bar.time == 0
    assert (found.open, found.high, found.low, found.close, found.volume) == (
        10.0, 12.0, 8.0, 11.0, 8.0,
    )  # fmt: skip


def test_the_clock_closes_what_no_record_does():
    assembler = Assembler("AB", lateness=100 * SECOND)
    assembler.take(record(1, "A"))
    assembler.take(record(2, "A"))
    assert times(assembler.close_until(SECOND)) == [1]
    assert times(assembler.finish()) == [2]


@pytest.mark.parametrize("length", [0, 10 * SECOND])
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 60))
def test_a_saved_assembler_goes_on_as_if_it_had_not_been(length, seed, cut):
    rng = random.Random(seed)
    records = [
        record(rng.randrange(40), rng.choice("ABC"), rng.choice([1.0, 2.0, -1.0]), volume=1.0)
        for _ in range(60)
    ]
    whole = Assembler("AB", length=length, lateness=5 * SECOND)
    parts = Assembler("AB", length=length, lateness=5 * SECOND)
    for n, each in enumerate(records):
        if n == cut:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(parts.save()))
            parts = Assembler("AB", length=length, lateness=5 * SECOND)
            parts.load(state)
        assert whole.take(each) == parts.take(each)
    assert whole.save() == parts.save()
    assert whole.finish() == parts.finish()


@given(seed=st.integers(0, 2**32))
def test_bars_do_not_depend_on_the_order_of_arrival_within_the_lateness(seed):
    rng = random.Random(seed)
    ordered = [record(second, ticker, 1.0 + rng.random())
               for second in range(20) for ticker in "ABC"]  # fmt: skip
    shuffled = sorted(ordered, key=lambda each: each.time + rng.random() * 3 * SECOND)
    found = []
    for records in (ordered, shuffled):
        # D never comes, so that no bar is complete before the lateness is over.
        assembler = Assembler("ABCD", lateness=4 * SECOND, halted_after=1000)
        bars = [bar for each in records for bar in assembler.take(each)]
        found.append([*bars, *assembler.finish()])
    assert found[0] == found[1]
    assert len(found[0]) == 20
