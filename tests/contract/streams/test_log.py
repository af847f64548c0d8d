"""What every log of topics does: the embedded one, and brokers of the Kafka protocol."""

from __future__ import annotations

import itertools
import time

import pytest

from mlkit import streams
from mlkit.errors import UsageError
from mlkit.streams import LATEST, Message, Output, Partition, partition_of

GENEROUS = 180.0
_names = itertools.count()


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.slow)])
def url(request, tmp_path):
    if request.param == "embedded":
        return str(tmp_path / "log")
    return request.getfixturevalue("broker")


@pytest.fixture
def log(url):
    found = streams.open(url)
    yield found
    found.close()


@pytest.fixture
def name():
    return f"t{time.time_ns()}-{next(_names)}"


def values(records):
    return [record.value for record in records]


def drain(consumer, count):
    """Poll until so many records have come."""
    found, deadline = [], time.monotonic() + GENEROUS
    while len(found) < count and time.monotonic() < deadline:
        found += consumer.poll(timeout=0.2)
    return found


def wait_for(holds):
    deadline = time.monotonic() + GENEROUS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holds()


def test_what_is_appended_is_read_in_order(log, name):
    log.create(name)
    messages = [Message(b"%d" % n, b"k", 1_700_000_000_000 + n) for n in range(250)]
    log.append(name, messages[:100])
    log.append(name, messages[100:])
    found = log.read(Partition(name, 0), 0)
    assert values(found) == [message.value for message in messages]
    assert [record.timestamp for record in found] == [message.timestamp for message in messages]
    assert {record.key for record in found} == {b"k"}
    assert values(log.read(Partition(name, 0), found[40].offset, 5)) == values(found[40:45])
    assert log.bounds(Partition(name, 0)) == (0, 250)
    assert log.topics()[name] == 1


def test_a_key_stays_in_its_partition(log, name):
    log.create(name, 4)
    log.append(name, [Message(b"%d" % n, b"AAPL MSFT KO PEP".split()[n % 4]) for n in range(80)])
    for number in range(4):
        for record in log.read(Partition(name, number), 0):
            assert partition_of(record.key, 4) == number
    total = sum(log.bounds(Partition(name, number))[1] for number in range(4))
    assert total == 80


def test_creating_again_changes_nothing_and_other_partitions_are_refused(log, name):
    log.create(name, 2)
    log.create(name, 2)
    with pytest.raises(UsageError, match="2 partitions"):
        log.create(name, 3)
    with pytest.raises(UsageError, match="letters, digits"):
        log.create("a/b")
    with pytest.raises(UsageError, match="no topic"):
        log.append(name + "x", [Message(b"1")])


def test_an_offset_for_a_time(log, name):
    log.create(name)
    log.append(name, [Message(b"%d" % n, timestamp=1_700_000_000_000 + 1000 * n) for n in range(9)])
    place = Partition(name, 0)
    assert log.offset_at(place, 1_700_000_000_000 - 5) == 0
    assert log.offset_at(place, 1_700_000_003_000) == 3
    assert log.offset_at(place, 1_700_000_003_001) == 4
    assert log.offset_at(place, 1_800_000_000_000) == 9


def test_a_group_goes_on_after_what_it_committed(log, name):
    log.create(name)
    log.append(name, [Message(b"%d" % n) for n in range(10)])
    with log.consume("g" + name, [name]) as consumer:
        assert values(drain(consumer, 10)) == [b"%d" % n for n in range(10)]
        consumer.commit()
        log.append(name, [Message(b"lost sight of")])
        assert values(drain(consumer, 1)) == [b"lost sight of"]  # not committed
    with log.consume("g" + name, [name]) as consumer:
        assert values(drain(consumer, 1)) == [b"lost sight of"]
        consumer.commit()
    assert log.committed("g" + name, Partition(name, 0)) == 11
    with log.consume("h" + name, [name]) as other:
        assert len(drain(other, 11)) == 11


def test_latest_begins_with_what_comes(log, name):
    log.create(name)
    log.append(name, [Message(b"old")])
    with log.consume("g" + name, [name], start=LATEST) as consumer:
        wait_for(lambda: consumer.poll(timeout=0.1) == [] and consumer.assignment)
        log.append(name, [Message(b"new")])
        assert values(drain(consumer, 1)) == [b"new"]


def test_output_offsets_and_state_are_committed_together(log, name):
    out = name + ".out"
    log.create(name)
    log.create(out)
    log.append(name, [Message(b"1"), Message(b"2")])
    place = Partition(name, 0)
    with log.consume("g" + name, [name]) as consumer:
        drain(consumer, 2)
        assert consumer.state(place) is None
        consumer.commit(Output({out: [Message(b"sum 3")]}, {place: b"3"}))
        assert values(log.read(Partition(out, 0), 0)) == [b"sum 3"]
    with log.consume("g" + name, [name]) as consumer:
        wait_for(lambda: not consumer.poll(timeout=0.1) and consumer.assignment)
        assert consumer.state(place) == b"3"


def test_members_share_the_partitions_and_take_over(log, name):
    log.create(name, 4)
    gained, lost = [], []
    first = log.consume("g" + name, [name], gained=gained.extend, lost=lost.extend)
    wait_for(lambda: not first.poll(timeout=0.1) and len(first.assignment) == 4)
    second = log.consume("g" + name, [name])
    wait_for(
        lambda: not first.poll(timeout=0.05) and not second.poll(timeout=0.05)
        and len(first.assignment) == len(second.assignment) == 2
    )  # fmt: skip
    assert not first.assignment & second.assignment
    assert set(gained) | set(lost) == {Partition(name, number) for number in range(4)}
    log.append(name, [Message(b"%d" % n, b"%d" % n) for n in range(100)])
    both = []
    deadline = time.monotonic() + GENEROUS
    while len(both) < 100 and time.monotonic() < deadline:
        for consumer in (first, second):
            both += consumer.poll(timeout=0.05)
            consumer.commit()
    assert sorted(values(both)) == sorted(b"%d" % n for n in range(100))
    first.close()
    wait_for(lambda: not second.poll(timeout=0.1) and len(second.assignment) == 4)
    second.close()


def test_a_member_knows_where_its_partitions_end(log, name):
    log.create(name, 2)
    full, empty = (Partition(name, partition_of(key, 2)) for key in (b"a", b"d"))
    assert full != empty
    log.append(name, [Message(b"%d" % n, b"a") for n in range(5)])
    with log.consume("g" + name, [name]) as consumer:
        assert not consumer.is_at_end(full)
        found = consumer.poll(2, timeout=GENEROUS)  # at most two, as soon as there are any
        assert 1 <= len(found) <= 2
        assert not consumer.is_at_end(full)
        assert values([*found, *drain(consumer, 5 - len(found))]) == [b"%d" % n for n in range(5)]
        wait_for(lambda: not consumer.poll(timeout=0.1) and consumer.is_at_end(full))
        wait_for(lambda: not consumer.poll(timeout=0.1) and consumer.is_at_end(empty))


def test_members_have_the_partitions_of_one_number_of_all_topics(log, name):
    topics = [name, name + ".more"]
    for topic in topics:
        log.create(topic, 3)
    first, second = (log.consume("g" + name, topics) for _ in range(2))
    wait_for(
        lambda: not first.poll(timeout=0.05) and not second.poll(timeout=0.05)
        and len(first.assignment) + len(second.assignment) == 6
        and first.assignment and second.assignment
    )  # fmt: skip
    for consumer in (first, second):
        held = [{each.number for each in consumer.assignment if each.topic == t} for t in topics]
        assert held[0] == held[1]
        consumer.close()


def test_a_slow_member_holds_nobody_up_and_misses_nothing(log, name):
    log.create(name)
    expected, slowly = [b"%d" % n for n in range(2000)], []
    with log.consume("slow" + name, [name]) as slow, log.consume("quick" + name, [name]) as quick:
        for start in range(0, 2000, 500):
            log.append(name, [Message(each) for each in expected[start : start + 500]])
            assert values(drain(quick, 500)) == expected[start : start + 500]
            quick.commit()
            slowly += slow.poll(10, timeout=0.2)
        assert len(slowly) <= 40
        assert values([*slowly, *drain(slow, 2000 - len(slowly))]) == expected
