"""A log on Apache Kafka nodes that are killed and come back, and on groups that lose a member."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pytest

from mlkit import streams
from mlkit.errors import ServiceUnavailable
from mlkit.streams import Fenced, Message, Output, Partition

pytestmark = [pytest.mark.slow, pytest.mark.alone]

KILLS = int(os.environ.get("MLKIT_TEST_KAFKA_KILLS", "1"))
"""How often a node is killed, the only one and the leader of three."""
BATCH, AHEAD = 20, 500


# A node that is gone is missed soon, and one that comes back is let in again.
SETTINGS = "broker.session.timeout.ms=4000\nbroker.heartbeat.interval.ms=500"


@pytest.fixture(scope="module")
def nodes(request, tmp_path_factory):
    pytest.importorskip("confluent_kafka")
    import kafka_nodes

    found = kafka_nodes.start(tmp_path_factory.mktemp("kafka"), request.param, "-Xmx256m", SETTINGS)
    yield found
    found.stop()


one_or_three = pytest.mark.parametrize("nodes", [1, 3], ids=["one", "three"], indirect=True)
three = pytest.mark.parametrize("nodes", [3], ids=["three"], indirect=True)


@pytest.fixture
def url(nodes):
    return f"kafka://{nodes.servers}"


@pytest.fixture
def log(url):
    found = streams.open(url)
    yield found
    found.close()


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read_all(log, topic):
    """Return the values of a topic's only partition."""
    found, offset = [], 0
    while some := log.read(Partition(topic, 0), offset, 10_000):
        found += [each.value for each in some]
        offset = some[-1].offset + 1
    return found


class Load:
    """Threads that write the numbers 0, 1, ... to a topic, and its running sums to another one."""

    def __init__(self, url, source, target):
        self.source, self.target = source, target
        self.written = self.summed = 0
        self._logs = streams.open(url), streams.open(url)
        self._ended, self._complete = threading.Event(), threading.Event()
        self._abandoned = threading.Event()

    def write(self):
        """Write until it ends. What failed may have arrived all the same: it is written again."""
        log = self._logs[0]
        while not self._ended.is_set():
            if self.written > self.summed + AHEAD:
                time.sleep(0.01)
                continue
            with contextlib.suppress(ServiceUnavailable):
                some = range(self.written, self.written + BATCH)
                log.append(self.source, [Message(b"%d" % n) for n in some])
                self.written += BATCH
        self._complete.set()

    def sum_up(self):
        """Sum until all is summed; after a failure join the group again, as jobs do."""
        while True:
            with contextlib.suppress(Fenced, ServiceUnavailable):
                if self._is_done():
                    return
                with self._logs[1].consume("sums" + self.source, [self.source]) as member:
                    self._follow(member)
            time.sleep(0.1)

    def _is_done(self):
        if self._abandoned.is_set():
            return True
        if not self._complete.is_set():
            return False
        return self.summed == self._logs[1].bounds(Partition(self.source, 0))[1]

    def _follow(self, member):
        place = Partition(self.source, 0)
        kept = None
        while not self._is_done():
            records = member.poll(50, timeout=0.2)
            if not records:
                continue
            if kept is None:
                kept = tuple(map(int, (member.state(place) or b"0 0").split()))
            out, (count, total) = [], kept
            for record in records:
                count, total = count + 1, total + int(record.value)
                out.append(Message(b"%d" % total))
            kept = count, total
            member.commit(Output({self.target: out}, {place: b"%d %d" % kept}))
            self.summed = count

    def wait_for_more(self):
        """Wait until more is written and summed."""
        written, summed = self.written, self.summed
        wait_for(lambda: self.written > written + BATCH and self.summed > summed + BATCH)

    def end(self):
        """Let all be summed."""
        self._ended.set()

    def abandon(self):
        """End whatever is not summed: a test that fails must not wait for it."""
        self._abandoned.set()


@one_or_three
def test_each_record_counts_once_while_nodes_are_killed_and_come_back(nodes, url, log):
    source, target = f"in{time.time_ns()}", f"out{time.time_ns()}"
    log.create(source)
    log.create(target)
    load = Load(url, source, target)
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(load.write), threads.submit(load.sum_up)]
        try:
            for number in range(KILLS):
                load.wait_for_more()
                kill_leader(nodes, (source, target)[number % 2], load)
            load.wait_for_more()
            load.end()
            for each in running:
                each.result(300)
        finally:
            load.end()
            load.abandon()
    records = [int(each) for each in read_all(log, source)]
    # Nothing that was acknowledged is missing; twice is there only what was written twice.
    assert list(dict.fromkeys(records)) == list(range(len(set(records))))
    assert len(set(records)) >= load.written
    assert read_all(log, target) == [b"%d" % n for n in accumulate(records)]


def kill_leader(nodes, topic, load):
    """Kill the node that leads a topic; where there are others, all goes on without it."""
    leader, _ = nodes.leader(topic)
    nodes.kill(leader)
    if len(nodes.numbers) > 1:
        load.wait_for_more()
    nodes.restart(leader)
    wait_for(lambda: nodes.leader(topic)[1] == len(nodes.numbers))
    load.wait_for_more()


def fill(log, topic):
    log.create(topic)
    log.append(topic, [Message(b"%d" % n) for n in range(BATCH)])


def copied(records, target):
    return Output({target: [Message(each.value) for each in records]})


@three
def test_a_member_that_joins_waits_for_an_open_transaction(url, log, monkeypatch):
    source, target = f"in{time.time_ns()}", f"out{time.time_ns()}"
    fill(log, source)
    log.create(target)
    first = log.consume("g" + source, [source])
    records = []
    wait_for(lambda: records.extend(first.poll(timeout=0.1)) or len(records) == BATCH)
    others = streams.open(url)
    second = others.consume("g" + source, [source])
    produce, read = log.produce, []

    def produce_and_be_joined(*arguments):
        produce(*arguments)
        read.extend(second.poll(timeout=2.0))  # the group has begun to share again

    monkeypatch.setattr(log, "produce", produce_and_be_joined)
    first.commit(copied(records, target))
    first.close()
    wait_for(lambda: not read and (not second.poll(timeout=0.1) and second.assignment))
    second.close()
    others.close()
    assert read_all(log, target) == [b"%d" % n for n in range(BATCH)]


STOPPED = """
import os, signal, sys
from mlkit import streams
from mlkit.streams import Fenced, Message, Output
from mlkit.streams.kafka import member
member.SESSION, member.OPEN_TRANSACTION = 1500, 5000
url, source, target = sys.argv[1:]
log = streams.open(url)
consumer = log.consume("g" + source, [source])
records = []
while len(records) < 20:
    records += consumer.poll(timeout=0.1)
produce = log.produce
def produce_and_stop(*arguments):
    produce(*arguments)
    os.kill(os.getpid(), signal.SIGSTOP)
log.produce = produce_and_stop
try:
    consumer.commit(Output({target: [Message(b"stopped") for each in records]}))
except Fenced:
    print("fenced")
"""


@three
def test_a_member_that_was_silent_in_a_transaction_commits_nothing(url, log):
    source, target = f"in{time.time_ns()}", f"out{time.time_ns()}"
    fill(log, source)
    log.create(target)
    command = [sys.executable, "-c", STOPPED, url, source, target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stopped:
        try:
            _, status = os.waitpid(stopped.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            take_over(log, source, target)
            stopped.send_signal(signal.SIGCONT)
            assert stopped.communicate(timeout=180)[0] == "fenced\n"
        finally:
            stopped.kill()
    assert read_all(log, target) == [b"%d" % n for n in range(BATCH)]


def take_over(log, source, target):
    """Copy all records as another member, once the group has given it the partition."""
    records = []
    with log.consume("g" + source, [source]) as member:
        wait_for(lambda: records.extend(member.poll(timeout=0.1)) or len(records) >= BATCH)
        member.commit(copied(records, target))
