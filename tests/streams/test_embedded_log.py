"""The embedded log on bad days: kills, torn and damaged files, retention, a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mlkit import streams
from mlkit.errors import BadData, ServiceUnavailable
from mlkit.streams import Message, Output, Partition
from mlkit.streams.embedded import EmbeddedLog

PLACE = Partition("in", 0)
OUT = Partition("out", 0)


def fill(log, count, start=0):
    log.append("in", [Message(b"%d" % n) for n in range(start, start + count)])


def read_all(log, place):
    found = []
    while records := log.read(place, len(found)):
        found += [record.value for record in records]
    return found


def test_a_frame_that_was_cut_is_dropped_and_written_over(tmp_path):
    for cut in range(1, 60, 7):
        folder = tmp_path / str(cut)
        log = streams.open(folder)
        log.create("in")
        fill(log, 3)
        kept = next(folder.glob("*.log")).stat().st_size
        fill(log, 50, start=3)
        log.close()
        os.truncate(next(folder.glob("*.log")), kept + cut)
        log = streams.open(folder)
        assert read_all(log, PLACE) == [b"0", b"1", b"2"]
        fill(log, 2, start=3)
        assert read_all(log, PLACE) == [b"%d" % n for n in range(5)]
        log.close()


def test_damage_before_whole_records_is_an_error(tmp_path):
    log = streams.open(tmp_path)
    log.create("in")
    for n in range(5):
        fill(log, 10, start=10 * n)
    log.close()
    path = next(tmp_path.glob("*.log"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    # Also for who only reads: what comes after it would be missing without a word.
    with pytest.raises(BadData, match=r"damaged at byte \d+, with whole records after it"):
        streams.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"x", bytes(5000)])
def test_a_file_that_does_not_begin_with_a_record_is_an_error(tmp_path, content):
    streams.open(tmp_path).close()
    path = next(tmp_path.glob("*.log"))
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"0000000000\.0\.log: damaged at byte 0"):
        streams.open(tmp_path)


def test_damage_that_comes_while_a_log_is_open_is_an_error_for_who_writes(tmp_path):
    log = streams.open(tmp_path)
    log.create("in")
    other = streams.open(tmp_path)
    for n in range(5):
        fill(other, 10, start=10 * n)
    path = next(tmp_path.glob("*.log"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"damaged at byte \d+, with whole records after it"):
        fill(log, 1)


def test_segments_follow_one_another_and_open_by_their_indexes(tmp_path):
    log = EmbeddedLog(tmp_path, segment_bytes=2000)
    log.create("in")
    for n in range(60):
        fill(log, 10, start=10 * n)
    other = streams.open(tmp_path)
    assert len(list(tmp_path.glob("*.log"))) > 3
    assert read_all(other, PLACE) == [b"%d" % n for n in range(600)]
    next(iter(sorted(tmp_path.glob("*.index")))).unlink()
    assert read_all(streams.open(tmp_path), PLACE) == [b"%d" % n for n in range(600)]
    with other.consume("g", ["in"]) as consumer:
        got = []
        while records := consumer.poll(7, timeout=0.2):
            got += [record.value for record in records]
        assert got == [b"%d" % n for n in range(600)]


def test_retention_drops_a_topic_and_keeps_the_others_offsets_and_states(tmp_path):
    log = EmbeddedLog(tmp_path, segment_bytes=2000)
    log.create("in", retention_ms=1000)
    log.create("out")
    with log.consume("g", ["in"]) as consumer:
        for n in range(30):
            log.append("in", [Message(b"x" * 50, timestamp=10 * n)])
            log.append("out", [Message(b"%d" % n)])
        while consumer.poll(timeout=0.1):
            pass
        consumer.commit(Output(states={PLACE: b"kept"}))
    reader = streams.open(tmp_path)
    assert len(reader.read(PLACE, 0)) == 30 or reader.bounds(PLACE)[0] > 0
    log.retain(now=10_000)
    assert log.bounds(PLACE) == (30, 30)
    for each in (log, reader, streams.open(tmp_path)):
        assert read_all(each, OUT) == [b"%d" % n for n in range(30)]
        assert each.read(PLACE, 0) == []
        assert each.committed("g", PLACE) == 30
    fill(log, 1)
    assert [record.offset for record in streams.open(tmp_path).read(PLACE, 0)] == [30]
    with streams.open(tmp_path).consume("g", ["in"]) as again:
        assert [record.offset for record in again.poll(timeout=5)] == [30]
        assert again.state(PLACE) == b"kept"


def test_a_full_disk_is_said_and_nothing_half_written_stays(tmp_path):
    log = streams.open(tmp_path)
    log.create("in")
    fill(log, 3)
    size = next(tmp_path.glob("*.log")).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        with pytest.raises(ServiceUnavailable, match=r"\.log: "):
            log.append("in", [Message(b"x" * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    fill(log, 1, start=3)
    assert read_all(streams.open(tmp_path), PLACE) == [b"0", b"1", b"2", b"3"]


WRITER = """
import sys
from mlkit import streams
from mlkit.streams import Message
log = streams.open(sys.argv[1])
n = log.bounds(streams.Partition("in", 0))[1]
while True:
    log.append("in", [Message(b"%d" % (n + i)) for i in range(20)])
    n += 20
    print(n, flush=True)
"""

JOB = """
import sys
from mlkit import streams
from mlkit.streams import Message, Output, Partition
place = Partition("in", 0)
log = streams.open(sys.argv[1])
with log.consume("job", ["in"]) as consumer:
    total = None
    while True:
        records = consumer.poll(50, timeout=0.5)
        if not records:
            continue
        if total is None:
            total = int(consumer.state(place) or 0)
        out = []
        for record in records:
            total += int(record.value)
            out.append(Message(b"%d" % total))
        consumer.commit(Output({"out": out}, {place: b"%d" % total}))
        print(total, flush=True)
"""


def start(code, folder):
    return subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)


def end_of(process):
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_by_kills(tmp_path):
    """A writer and a job that sums are killed at random; every record counts exactly once."""
    rng = np.random.default_rng(5)
    log = streams.open(tmp_path)
    log.create("in")
    log.create("out")
    acknowledged = 0
    for _ in range(int(os.environ.get("MLKIT_TEST_KILLS", "12"))):
        writer, job = start(WRITER, str(tmp_path)), start(JOB, str(tmp_path))
        for _ in range(rng.integers(1, 30)):
            acknowledged = int(writer.stdout.readline())
        for process in (writer, job) if rng.random() < 0.5 else (job, writer):
            process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        end_of(writer)
        end_of(job)
        assert log.bounds(PLACE)[1] >= acknowledged
    end = log.bounds(PLACE)[1]
    job = start(JOB, str(tmp_path))
    deadline = time.monotonic() + 180
    while log.committed("job", PLACE) != end and time.monotonic() < deadline:
        time.sleep(0.05)
    job.kill()
    end_of(job)
    sums = [b"%d" % (n * (n + 1) // 2) for n in range(end)]
    assert read_all(log, PLACE) == [b"%d" % n for n in range(end)]
    assert read_all(log, OUT) == sums


def test_a_record_of_another_process_arrives_while_waiting(tmp_path):
    log = streams.open(tmp_path)
    log.create("in")
    with log.consume("g", ["in"]) as consumer:
        assert consumer.poll(timeout=0.1) == []
        code = ("import sys; from mlkit import streams; "
                "streams.open(sys.argv[1]).append('in', [streams.Message(b'x')])")  # fmt: skip
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert [record.value for record in consumer.poll(timeout=30)] == [b"x"]
