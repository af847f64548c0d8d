"""The Kafka log on brokers that fail: nothing is lost, nothing comes twice."""

from __future__ import annotations

import time

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.streams import Message, Output, Partition

pytest.importorskip("confluent_kafka")

from streams import mock_brokers as mock

from mlkit.streams.kafka import log, member

GENEROUS = 180.0
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    """Three brokers; nothing is given up because the machine is slow."""
    for module in (log, member):
        monkeypatch.setattr(module, "TIMEOUT", GENEROUS)
    monkeypatch.setattr(member, "STEP", GENEROUS)
    with mock.brokers() as started:
        yield started


def values(opened, topic):
    return [int(each.value) for each in opened.read(Partition(topic, 0), 0, 10_000)]


def messages(first, last):
    return [Message(b"%d" % n, b"A") for n in range(first, last)]


@pytest.mark.parametrize(
    "errors",
    [
        [mock.NOT_LEADER, mock.NOT_LEADER],
        [mock.TIMED_OUT, mock.TOO_FEW],
        [mock.DISCONNECT, mock.NOT_LEADER, mock.DISCONNECT],
    ],
    ids=["leader", "replicas", "connection"],
)
def test_records_come_once_and_in_order_through_errors_of_brokers(cluster, errors):
    cluster.create("bars")
    opened = log.KafkaLog(cluster.servers)
    opened.append("bars", messages(0, 100))
    cluster.fail(mock.PRODUCE, *errors)
    opened.append("bars", messages(100, 200))
    cluster.fail(mock.FETCH, mock.NOT_LEADER, mock.DISCONNECT)
    assert values(opened, "bars") == list(range(200))
    opened.close()


def test_another_broker_leads_when_the_leader_is_gone(cluster):
    cluster.create("bars")
    cluster.lead("bars", 1)
    opened = log.KafkaLog(cluster.servers)
    opened.append("bars", messages(0, 50))
    cluster.stop(1)
    cluster.lead("bars", 2)
    opened.append("bars", messages(50, 100))
    assert values(opened, "bars") == list(range(100))
    opened.close()


def test_what_was_refused_does_not_arrive_later(cluster, monkeypatch):
    cluster.create("bars")
    cluster.lead("bars", 1)
    opened = log.KafkaLog(cluster.servers)
    opened.append("bars", messages(0, 10))
    cluster.stop(1)
    with monkeypatch.context() as impatient:
        impatient.setattr(log, "TIMEOUT", 0.5)
        with pytest.raises(ServiceUnavailable, match="not acknowledged"):
            opened.append("bars", messages(10, 20))
    cluster.start(1)
    opened.append("bars", messages(10, 20))
    assert values(opened, "bars") == list(range(20))
    opened.close()


def test_of_messages_one_of_which_is_too_large_none_arrives_later(cluster):
    cluster.create("bars")
    opened = log.KafkaLog(cluster.servers)
    some = messages(0, 10)
    with pytest.raises(ServiceUnavailable, match="size too large"):
        opened.append("bars", [*some, Message(b"0" * 2_000_000, b"A")])
    opened.append("bars", some)
    assert values(opened, "bars") == list(range(10))
    opened.close()


def test_a_transaction_is_committed_through_errors_of_its_coordinator(cluster):
    for topic in ("bars", "made", "group.state"):
        cluster.create(topic)
    opened = log.KafkaLog(cluster.servers)
    opened.append("bars", messages(0, 10))
    with opened.consume("group", ["bars"]) as consumer:
        taken, deadline = 0, time.monotonic() + GENEROUS
        while taken < 10 and time.monotonic() < deadline:
            taken += len(consumer.poll(10, 0.5))
        assert taken == 10
        cluster.fail(mock.ADD_PARTITIONS, mock.LOADING, mock.CONCURRENT)
        cluster.fail(mock.TXN_OFFSET_COMMIT, mock.NO_COORDINATOR)
        cluster.fail(mock.END_TXN, mock.LOADING, mock.NO_COORDINATOR)
        consumer.commit(Output({"made": messages(0, 10)}, {Partition("bars", 0): b"state"}))
    assert values(opened, "made") == list(range(10))
    (state,) = opened.read(Partition("group.state", 0), 0)
    assert state.value.endswith(b"state")
    opened.close()
