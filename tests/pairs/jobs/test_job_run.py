"""Jobs on a log: each record counts exactly once, whatever happens, and failures are reported."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs.jobs.logs import (
    KILLS,
    Crash,
    content,
    crash_at,
    done,
    expected,
    fill,
    kill_at_random,
    totals,
    wait_for,
)
from processes import started

from mlkit import streams
from mlkit.errors import BadData, InputMissing, ServiceUnavailable, UsageError
from mlkit.pairs.feeds.records import PriceRecord, encode
from mlkit.pairs.jobs.file import JobRaised
from mlkit.pairs.jobs.run import Job, Plan
from mlkit.streams import Message
from mlkit.streams.embedded import EmbeddedLog

COUNTING = """
state = {}

def process(data):
    totals = state.setdefault("totals", {})
    rows = []
    for time, ticker, close in zip(data["time"], data["ticker"], data["close"]):
        totals[ticker] = totals.get(ticker, 0.0) + close
        rows.append({"time": time, "ticker": ticker, "total": totals[ticker]})
    return rows
"""
ONE = """
RECORDS = "one"
totals = {}

def snapshot():
    return totals

def recover(state):
    totals.update(state)

def process(data):
    ticker = data["ticker"]
    totals[ticker] = totals.get(ticker, 0.0) + data["close"]
    return {"time": data["time"], "ticker": ticker, "total": totals[ticker]}
"""


def planned(tmp_path, source, **more):
    file = tmp_path / "job.py"
    file.write_text(source)
    fields = {"batch": 3, "until_end": True, **more}
    return Plan(str(file), ("bars",), "out", str(tmp_path / "log"), **fields)


def job(tmp_path, source, **more):
    return Job(planned(tmp_path, source, **more), pause=lambda _: None)


@pytest.mark.parametrize("source", [COUNTING, ONE], ids=["frame", "one"])
@given(
    crashes=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.3, 1.0])), max_size=6),
    batch=st.integers(1, 8),
    partitions=st.integers(1, 3),
)
@settings(max_examples=12)
def test_each_record_counts_once_after_crashes_at_any_write(
    tmp_path_factory, source, crashes, batch, partitions
):
    folder = tmp_path_factory.mktemp("run")
    fill(folder / "log", partitions=partitions)
    for number, torn in crashes:
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, number, torn)
            try:
                job(folder, source, batch=batch).run()
            except Crash:
                continue
    job(folder, source, batch=batch).run()
    assert totals(folder / "log") == expected(20)


def test_every_single_write_may_be_the_last(tmp_path):
    fill(tmp_path / "log")
    for number in range(9):
        for torn in (0.0, 0.5, 1.0):
            with pytest.MonkeyPatch.context() as patched:
                crash_at(patched, number % 2, torn)
                try:
                    job(tmp_path, COUNTING, batch=1).run()
                except Crash:
                    continue
    job(tmp_path, COUNTING).run()
    assert totals(tmp_path / "log") == expected(20)


def test_a_job_that_raises_is_restarted_and_goes_on_where_it_was(tmp_path):
    fill(tmp_path / "log")
    flaky = COUNTING.replace(
        "def process(data):",
        "import pathlib\nmark = pathlib.Path(__file__).with_suffix('.mark')\n"
        "def process(data):\n"
        "    if data['close'].max() > 10 and not mark.exists():\n"
        "        mark.touch(); raise RuntimeError('now and then')",
    )
    waits = []
    running = Job(planned(tmp_path, flaky), pause=waits.append)
    counts = running.run()
    assert totals(tmp_path / "log") == expected(20)
    assert (counts.records, counts.written, counts.restarts) == (20, 20, 1)
    assert len(waits) == 1


def test_a_job_that_goes_on_raising_is_stopped_and_its_records_are_kept(tmp_path):
    fill(tmp_path / "log")
    broken = COUNTING.replace(
        "    rows = []", "    rows = []\n    if 8.0 in set(data['close']): 1 / 0"
    )
    waits, notes = [], []
    running = Job(planned(tmp_path, broken, restarts=3), notes.append, waits.append)
    with pytest.raises(JobRaised) as raised:
        running.run()
    assert "job.py: process(): line 7: ZeroDivisionError: division by zero" in str(raised.value)
    assert raised.value.exit_code == 1
    assert "1 / 0" in raised.value.trace
    assert "mlkit/pairs" not in raised.value.trace
    assert waits == sorted(waits)
    assert len(waits) == len(notes) == 3
    before = totals(tmp_path / "log")
    assert sum(map(len, before.values())) == 6
    job(tmp_path, COUNTING).run()
    assert totals(tmp_path / "log") == expected(20)


def test_a_full_disk_is_waited_for_and_then_reported(tmp_path, monkeypatch):
    fill(tmp_path / "log")
    put, full = EmbeddedLog._put, iter([False, False, True, True, False])

    def writing(log, frame):
        if next(full, False):
            put(log, frame[:7])
            raise OSError(errno.ENOSPC, "No space left on device")
        put(log, frame)

    monkeypatch.setattr(EmbeddedLog, "_put", writing)
    assert job(tmp_path, COUNTING).run().restarts == 2
    assert totals(tmp_path / "log") == expected(20)
    fill(tmp_path / "log")
    full = iter([True] * 9)
    with pytest.raises(ServiceUnavailable, match="No space left"):
        job(tmp_path, COUNTING, restarts=1).run()
    full = iter([])
    assert job(tmp_path, COUNTING).run().records == 20


def test_recover_gets_what_was_kept(tmp_path):
    fill(tmp_path / "log", count=4)
    source = COUNTING + "\ndef recover(restored):\n    assert restored == state\n    1 / 0\n"
    job(tmp_path, source).run()  # the first time there is nothing to recover
    fill(tmp_path / "log", count=4)
    with pytest.raises(JobRaised, match="recover\\(\\): line 14: ZeroDivisionError"):
        job(tmp_path, source, restarts=0).run()


def test_a_state_that_would_not_come_back_equal_is_refused_at_once(tmp_path):
    fill(tmp_path / "log")
    source = """
from collections import Counter
state = {}

def process(data):
    state['seen'] = Counter('ab')
"""
    with pytest.raises(BadData, match=r"job.py: state\['seen'\]: a Counter cannot be kept"):
        job(tmp_path, source).run()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "no function process"),
        ("process = 3\n", "process is not a function"),
        ("def process(data)\n", "line 1: expected ':'"),
        ("1 / 0\n", "line 1: ZeroDivisionError"),
        ("RECORDS = 'two'\ndef process(data): pass\n", "RECORDS is 'two'"),
        ("state = []\ndef process(data): pass\n", "state is not a dictionary"),
        ("def process(data): pass\ndef snapshot(): pass\n", "without recover"),
        ("def process(data): return 3\n", r"process\(\) returned a int"),
        ("def process(data): return data['close']\n", "returned a Series"),
        ("def process(data): return data[['close']]\n", "no column 'time'"),
        ("def process(data): return data[['time']]\n", "no column 'ticker'"),
        ("def process(data):\n  data['time'] = None\n  return data\n", "'time' is missing"),
        (
            "def process(data):\n  data['ticker'] = float('nan')\n  return data\n",
            "row 0: 'ticker' is not text",
        ),
        ("def process(data):\n  data['x'] = float('inf')\n  return data\n", "'x' is infinite"),
        ("def process(data):\n  data['x'] = [{1}] * len(data)\n  return data\n", "'x' is a set"),
        (
            "x = []\nx.append(x)\nRECORDS = 'one'\ndef process(data): return {**data, 'x': x}\n",
            "a value within itself",
        ),
        ("RECORDS = 'one'\ndef process(data): return {'time': 'noon'}\n", "no field 'ticker'"),
        (
            "RECORDS = 'one'\ndef process(data): return {'time': 'noon', 'ticker': 'A'}\n",
            "'time' is not a time: 'noon'",
        ),
    ],
)
def test_a_bad_file_is_reported_in_one_line(tmp_path, source, message):
    fill(tmp_path / "log")
    with pytest.raises(BadData, match=message) as raised:
        job(tmp_path, source).run()
    assert "job.py: " in str(raised.value)
    assert content(tmp_path / "log") == {}


def test_a_missing_number_is_left_out_of_the_record(tmp_path):
    fill(tmp_path / "log", count=2)
    source = """
def process(data):
    data['z'] = data['close'].where(data['close'] > 1)
    return data.set_index('time')
"""
    job(tmp_path, source).run()
    assert content(tmp_path / "log") == {
        "A": [{"time": "1970-01-01T00:00:00Z", "ticker": "A", "close": 1.0}],
        "B": [{"time": "1970-01-01T00:00:01Z", "ticker": "B", "close": 2.0, "z": 2.0}],
    }


def test_fields_within_fields_come_through(tmp_path):
    log = streams.open(tmp_path / "log")
    log.create("bars")
    nested = b'{"time":"2024-01-02T00:00:00.000000001Z","ticker":"A","legs":{"A":[1,null]},"n":3}'
    log.append("bars", [Message(nested, b"A")])
    log.close()
    job(tmp_path, "def process(data):\n    print('on standard error')\n    return data\n").run()
    (row,) = content(tmp_path / "log")["A"]
    assert row == {"time": "2024-01-02T00:00:00.000000001Z", "ticker": "A",
                   "legs": {"A": [1, None]}, "n": 3}  # fmt: skip


def test_what_is_no_record_is_counted_and_passed_over(tmp_path):
    fill(tmp_path / "log", count=2)
    log = streams.open(tmp_path / "log")
    hostile = [
        b"{", b"[1]", b'{"time": 1}', b'{"time": "noon", "ticker": "A"}', b"\xff",
        b'{"time": 1, "ticker": "A", "close": NaN}', b'{"time": 1, "ticker": 3}',
    ]  # fmt: skip
    log.append("bars", [Message(each, b"A") for each in hostile])
    huge = b'{"timestamp": 1, "symbol": "A", "close": 1e308}'
    log.append("bars", [Message(huge, b"A")])
    log.close()
    counts = job(tmp_path, COUNTING, batch=100).run()
    assert (counts.records, counts.unreadable) == (3, len(hostile))
    assert totals(tmp_path / "log")["A"] == [1.0, 1e308]


def test_a_topic_that_is_partitioned_by_something_else_is_refused(tmp_path):
    log = streams.open(tmp_path / "log")
    log.create("bars", 2)
    log.append("bars", [Message(encode(PriceRecord(1, "A", 1.0)), b"X")])
    log.close()
    with pytest.raises(BadData, match="the message's key is 'X', not the ticker 'A'"):
        job(tmp_path, COUNTING).run()


def test_what_is_not_there_is_named(tmp_path):
    fill(tmp_path / "log")
    plan = planned(tmp_path, COUNTING)
    with pytest.raises(InputMissing, match="no topic 'ticks'"):
        Job(Plan(plan.file, ("ticks",), "out", plan.log)).run()
    with pytest.raises(InputMissing, match="no log there"):
        Job(Plan(plan.file, ("bars",), "out", str(tmp_path / "nowhere"))).run()
    with pytest.raises(UsageError, match="'bars' is read and written"):
        Job(Plan(plan.file, ("bars",), "bars", plan.log))
    with pytest.raises(UsageError, match="no file in Python or R"):
        Job(Plan("job.txt", ("bars",), "out", plan.log))


def command(tmp_path, *more):
    return [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(tmp_path / "job.py"),
            "--in", "bars", "--out", "out", "--log", str(tmp_path / "log"), *more]  # fmt: skip


def test_a_killed_job_goes_on_and_a_signal_commits(tmp_path):
    count = 40 * KILLS
    fill(tmp_path / "log", count=count)
    slow = COUNTING.replace("    rows = []", "    import time; time.sleep(0.05); rows = []")
    (tmp_path / "job.py").write_text(slow)
    log = tmp_path / "log"
    for seed in range(KILLS):
        before = done(log)
        with started(command(tmp_path, "--batch", "1")) as killed:
            wait_for(lambda before=before: done(log) >= before + 2)
            kill_at_random(killed, seed)
        assert done(log) < count
    with started(command(tmp_path), stderr=subprocess.PIPE) as stopped:
        wait_for(lambda: totals(log) == expected(count))
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(180) == 143
        assert stopped.stderr.read() == b"error: interrupted\n"
    assert job(tmp_path, COUNTING, group="job-job-out").run().records == 0
    assert totals(log) == expected(count)
