"""Feeds: lines, topics, files and functions, and what happens when one breaks."""

from __future__ import annotations

import itertools
import os
import sys
import threading

import numpy as np
import pytest
from pairs.markets import cointegrated

from mlkit import streams
from mlkit.errors import BadData, InputMissing, PackageMissing, UsageError
from mlkit.pairs.feeds.feed import Batch, Broken, CallableFeed, open_feed, reconnecting
from mlkit.pairs.feeds.first import first_tickers
from mlkit.pairs.feeds.lines import LONGEST, LinesFeed
from mlkit.pairs.feeds.records import PriceRecord, encode
from mlkit.pairs.feeds.replay import ReplayFeed
from mlkit.pairs.feeds.topic import TopicFeed


def read_lines(content):
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    try:
        batches = list(LinesFeed(read, "a pipe").read(None))
    finally:
        os.close(read)
    rejected = sum(batch.rejected.get("unreadable", 0) for batch in batches)
    return [record for batch in batches for record in batch.records], rejected


def test_json_lines_and_csv_are_read():
    expected = [PriceRecord(10**9, "KO", 61.5), PriceRecord(2 * 10**9, "PEP", 170.0, volume=3.0)]
    lines = (b'{"time": 1, "ticker": "KO", "price": 61.5}\n\n'
             b'{"timestamp": 2, "symbol": "PEP", "close": 170, "volume": 3}')  # fmt: skip
    assert read_lines(lines) == (expected, 0)
    table = b"time,ticker,close,volume\r\n1,KO,61.5,\r\n2,PEP,170,3\r\n"
    assert read_lines(table) == (expected, 0)


def test_what_cannot_be_read_is_counted():
    lines = b'{"time": 1}\n{"time"\n[1]\n\xff\xfe\n{"time": 1, "ticker": "A", "close": 1}\n'
    records, rejected = read_lines(lines)
    assert [each.ticker for each in records] == ["A"]
    assert rejected == 4


def test_a_line_without_end_takes_no_memory():
    good = b'{"time": 1, "ticker": "A", "close": 1}\n'
    read, write = os.pipe()
    import threading

    def write_much():
        with os.fdopen(write, "wb") as file:
            file.write(b"x" * (5 * LONGEST) + b"\n" + good)

    threading.Thread(target=write_much).start()
    batches = list(LinesFeed(read, "a pipe").read(None))
    os.close(read)
    assert [each.ticker for batch in batches for each in batch.records] == ["A"]
    assert sum(batch.rejected.get("unreadable", 0) for batch in batches) == 1


def test_a_topic_is_read_from_where_the_run_is(tmp_path):
    log = streams.open(tmp_path / "log")
    log.create("bars", 2)
    records = [PriceRecord(n * 10**9, ticker, 1.0 + n) for n in range(5) for ticker in "AB"]
    log.append("bars", [streams.Message(encode(each), each.ticker.encode()) for each in records])
    log.append("bars", [streams.Message(b"nothing", b"A")])
    feed = open_feed(f"log://{tmp_path / 'log'}/bars")
    batches = []
    for batch in feed.read(None):
        batches.append(batch)
        if sum(len(each.records) for each in batches) == len(records):
            break
    found = [record for batch in batches for record in batch.records]
    assert sorted(found, key=lambda each: (each.time, each.ticker)) == records
    assert sum(batch.rejected.get("unreadable", 0) for batch in batches) == 1
    log.append("bars", [streams.Message(encode(PriceRecord(99 * 10**9, "A", 3.0)), b"A")])
    (batch,) = itertools.islice(feed.read(batches[-1].position), 1)
    assert [each.time for each in batch.records] == [99 * 10**9]
    log.close()


def test_a_topic_that_is_not_there_is_an_error(tmp_path):
    feed = TopicFeed(str(tmp_path / "log"), "bars")
    with pytest.raises(InputMissing, match="no topic 'bars'"):
        next(feed.read(None))
    with pytest.raises(UsageError, match="no topic"):
        TopicFeed.of_url("kafka://bars")


def test_a_file_is_replayed_from_any_bar():
    market = cointegrated(1, bars=30)
    whole = [each for batch in ReplayFeed(market).read(None) for each in batch.records]
    rest = [each for batch in ReplayFeed(market).read(12) for each in batch.records]
    assert len(whole) == 30 * 4
    assert rest == whole[12 * 4 :]
    assert whole[0].close == market.close[0, 0]
    assert np.isclose(sum(each.dividend or 0.0 for each in whole), market.dividends.sum())
    with pytest.raises(BadData, match="30 bars"):
        next(ReplayFeed(market).read(31))


def test_a_feed_that_breaks_is_taken_up_where_it_was():
    calls, waits = [], []

    class Breaking:
        name, is_replay = "a broker", False

        def read(self, position):
            calls.append(position)
            start = position or 0
            if len(calls) in (2, 3):
                raise ConnectionError("gone")
            yield Batch([], start + 1)
            if len(calls) == 1:
                raise BadData("odd")

    found = list(reconnecting(Breaking(), None, waits.append))
    assert calls == [None, 1, 1, 1]
    assert [type(each) for each in found] == [Batch, Broken, Broken, Broken, Batch]
    assert [each.problem for each in found[1:4]] == [
        "a broker: odd", "a broker: ConnectionError: gone", "a broker: ConnectionError: gone",
    ]  # fmt: skip
    assert waits == [0.5, 1.0, 2.0]


def test_a_feed_whose_package_is_missing_is_not_waited_for():
    class Lacking:
        name, is_replay = "a broker", False

        def read(self, position):
            raise PackageMissing.of("kafka:// needs the package confluent-kafka", "kafka")
            yield

    with pytest.raises(PackageMissing) as caught:
        list(reconnecting(Lacking(), None, pytest.fail))
    assert caught.value.exit_code == 69
    assert caught.value.hint == "pip install 'mlkit[kafka]'"


def test_a_function_is_called_with_the_last_time():
    def mine(since):
        yield {"time": 5.0, "ticker": "A", "close": 1.0}
        yield PriceRecord(7 * 10**9, "A", np.float64(2.0))
        yield "nonsense"

    batches = list(CallableFeed("mine", mine).read(None))
    assert [batch.position for batch in batches] == [5 * 10**9, 7 * 10**9, 7 * 10**9]
    assert type(batches[1].records[0].close) is float
    assert batches[2].rejected == {"unreadable": 1}


def test_functions_are_found_by_module_and_by_entry_point(tmp_path, monkeypatch):
    (tmp_path / "my_feeds.py").write_text("def mine(since):\n    yield {}\n\nnot_one = 3\n")
    folder = tmp_path / "mine-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[mlkit.pairs.feeds]\nmy-broker = my_feeds:mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert open_feed("my_feeds:mine").name == "my_feeds:mine"
    assert open_feed("my-broker").name == "my-broker"
    with pytest.raises(UsageError, match="not a function"):
        open_feed("my_feeds:not_one")
    with pytest.raises(InputMissing, match="no such file or feed"):
        open_feed("prices.csv")
    with pytest.raises(InputMissing, match="ModuleNotFoundError"):
        open_feed("no_such_module:mine")
    sys.modules.pop("my_feeds", None)


class Counting:
    """A feed of a ticker a record, from a number on."""

    name, is_replay = "counting", False

    def __init__(self, tickers):
        self._tickers = tickers

    def read(self, position):
        for n in range(position or 0, len(self._tickers)):
            yield Batch([PriceRecord(n, self._tickers[n], 1.0)], n + 1)


def test_the_first_tickers_of_a_feed_are_found_and_nothing_is_lost():
    tickers, feed = first_tickers(Counting("BABAC"), 2)
    assert tickers == ("B", "A")
    assert [batch.position for batch in feed.read(None)] == [1, 2, 3, 4, 5]
    assert [batch.position for batch in feed.read(3)] == [4, 5]  # taken up after it broke
    assert first_tickers(Counting("BABAC"), 9)[0] == ("B", "A", "C")


def test_a_feed_with_fewer_tickers_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr("mlkit.pairs.feeds.first.MOST", 3)
    with pytest.raises(UsageError, match="counting: 4 records, 0 unreadable ones; they have 2"):
        first_tickers(Counting("BABABA"), 3)


def test_unreadable_records_are_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr("mlkit.pairs.feeds.first.MOST", 3)

    class Hostile(Counting):
        def read(self, position):
            while True:
                yield Batch([], None, {"unreadable": 2})

    with pytest.raises(UsageError, match=r"0 records, 4 unreadable ones; they have 0 tickers"):
        first_tickers(Hostile(""), 3)


def test_a_silent_feed_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr("mlkit.pairs.feeds.first.LONGEST_WAIT", 0.2)
    silent = threading.Event()

    class Silent(Counting):
        def read(self, position):
            yield from super().read(position)
            silent.wait(60)

    with pytest.raises(UsageError, match=r"no other ticker came for 0\.2 s; they have 1 tickers"):
        first_tickers(Silent("AA"), 2)
    silent.set()


def test_what_breaks_while_the_first_tickers_are_awaited_is_one_line():
    class Broken(Counting):
        def read(self, position):
            yield from super().read(position)
            raise ValueError("the broker is closed")

    with pytest.raises(InputMissing, match="counting: ValueError: the broker is closed"):
        first_tickers(Broken("A"), 2)
    _, feed = first_tickers(Broken("AB"), 2)
    with pytest.raises(InputMissing, match="the broker is closed"):
        list(feed.read(None))
