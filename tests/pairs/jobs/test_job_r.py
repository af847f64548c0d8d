"""Jobs in R: what Python's do, with data.frames and values of R as state."""

from __future__ import annotations

import json
import sys

import pytest
from pairs.jobs.logs import (
    KILLS,
    Crash,
    content,
    done,
    expected,
    fill,
    kill_at_random,
    totals,
    wait_for,
)
from processes import started

from mlkit import streams
from mlkit.errors import BadData, ServiceUnavailable
from mlkit.pairs.jobs.file import JobRaised
from mlkit.pairs.jobs.run import Job, Plan
from mlkit.streams import Message
from mlkit.streams.embedded import EmbeddedLog

COUNTING = """
state <- list()

process <- function(data) {
  for (n in seq_len(nrow(data))) {
    ticker <- data$ticker[n]
    state[[ticker]] <<- sum(state[[ticker]], data$close[n])
    data$total[n] <- state[[ticker]]
  }
  data[c("time", "ticker", "total")]
}
"""
ONE = """
RECORDS <- "one"
kept <- new.env()

snapshot <- function() kept
recover <- function(state) kept <<- state

process <- function(data) {
  kept[[data$ticker]] <- sum(kept[[data$ticker]], data$close)
  list(time = data$time, ticker = data$ticker, total = kept[[data$ticker]])
}
"""


@pytest.fixture(autouse=True)
def _needs_r(need_program):
    need_program("Rscript")


def job(tmp_path, source, **more):
    file = tmp_path / "job.R"
    file.write_text(source)
    plan = Plan(str(file), ("bars",), "out", str(tmp_path / "log"),
                **{"batch": 3, "until_end": True, **more})  # fmt: skip
    return Job(plan, pause=lambda _: None)


@pytest.mark.parametrize("source", [COUNTING, ONE], ids=["frame", "one"])
def test_each_record_counts_once_after_crashes(tmp_path, monkeypatch, source):
    fill(tmp_path / "log", partitions=2)
    put, calls = EmbeddedLog._put, iter(range(10**9))

    def crashing(log, frame):
        number = next(calls)
        if number in (1, 4, 6):
            put(log, frame[: len(frame) * number // 6])  # torn, torn, whole
            raise Crash
        put(log, frame)

    monkeypatch.setattr(EmbeddedLog, "_put", crashing)
    crashes = 0
    while True:
        try:
            job(tmp_path, source).run()
            break
        except Crash:
            crashes += 1
    assert crashes == 3
    assert totals(tmp_path / "log") == expected(20)


def test_a_killed_job_goes_on(tmp_path):
    count = 40 * KILLS
    fill(tmp_path / "log", count=count)
    (tmp_path / "job.R").write_text(COUNTING.replace("  for (n", "  Sys.sleep(0.05); for (n"))
    command = [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(tmp_path / "job.R"),
               "--in", "bars", "--out", "out", "--log", str(tmp_path / "log")]  # fmt: skip
    for seed in range(KILLS):
        before = done(tmp_path / "log")
        with started([*command, "--batch", "1"]) as killed:
            wait_for(lambda before=before: done(tmp_path / "log") >= before + 2)
            kill_at_random(killed, seed)
        assert done(tmp_path / "log") < count
    assert job(tmp_path, COUNTING, group="job-job-out").run().records > 0
    assert totals(tmp_path / "log") == expected(count)


def test_a_process_of_r_that_ends_is_replaced(tmp_path):
    fill(tmp_path / "log")
    flaky = COUNTING.replace(
        "  for (n",
        "  mark <- file.path(dirname(path), 'mark')\n"
        "  if (max(data$close) > 10 && !file.exists(mark)) { file.create(mark); q(status = 9) }\n"
        "  for (n",
    )
    counts = job(tmp_path, f"path <- {json.dumps(str(tmp_path / 'job.R'))}\n{flaky}").run()
    assert (counts.records, counts.restarts) == (20, 1)
    assert totals(tmp_path / "log") == expected(20)


def test_a_job_that_raises_is_stopped_with_lines_of_its_file(tmp_path):
    fill(tmp_path / "log")
    broken = COUNTING.replace("  data[c(", '  if (8 %in% data$close) stop("no eight")\n  data[c(')
    with pytest.raises(JobRaised, match=r"job.R: process\(\): line 10: no eight; stopped") as found:
        job(tmp_path, broken, restarts=1).run()
    assert 'job.R, line 10: stop("no eight")\n' in found.value.trace
    job(tmp_path, COUNTING).run()
    assert totals(tmp_path / "log") == expected(20)


def test_types_come_through_and_unknown_values_are_left_out(tmp_path):
    log = streams.open(tmp_path / "log")
    log.create("bars")
    records = [
        {
            "time": "2024-01-02T09:30:00.000001000Z",
            "ticker": "A",
            "close": 1 / 3,
            "n": 1,
            "on": True,
        },
        {"time": "2024-01-02T09:31:00Z", "ticker": "é", "legs": {"A": [1, 2.5]}, "note": "x"},
    ]
    log.append("bars", [Message(json.dumps(each).encode(), b"A") for each in records])
    log.close()
    job(
        tmp_path,
        "process <- function(data) {\n"
        "  print('on standard error')\n"
        "  stopifnot(is.na(data$close[2]), inherits(data$time, 'POSIXct'), is.logical(data$on))\n"
        "  data$kind <- factor(c('u', 'v')); data$day <- as.Date(data$time)\n"
        "  data$gone <- NA; data$whole <- 1:2\n"
        "  data\n"
        "}\n",
    ).run()
    made = content(tmp_path / "log")
    day = {"day": "2024-01-02T00:00:00Z"}
    assert made["A"] == [records[0] | {"kind": "u", "whole": 1} | day]
    assert made["é"] == [records[1] | {"kind": "v", "whole": 2} | day]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x <- 1", "no function process"),
        ("process <- 3", "process is not a function"),
        ("process <- function(data {}", "job.R: 1:26: unexpected '{'"),
        ("y <- 1\nstop('at once')", "job.R: line 2: at once"),
        ("RECORDS <- 'two'; process <- function(data) NULL", "RECORDS is 'two'"),
        ("process <- function(data) NULL; snapshot <- function() 1", "without recover"),
        ("process <- function(data) 3", r"process\(\) returned a numeric"),
        ("process <- function(data) mean", "returned value: a function cannot be kept"),
        ("process <- function(data) data['close']", "no field 'time'"),
        ("process <- function(data) transform(data, time='noon')", "'time' is not a time: 'noon'"),
        ("process <- function(data) transform(data, ticker = NA)", "'ticker' is not text"),
        ("process <- function(data) transform(data, x = 1 / 0)", "'x' is infinite"),
        ("state <- list(f = mean); process <- function(data) NULL", r"state\$f: a function cannot"),
    ],
)  # fmt: skip
def test_a_bad_file_is_reported_in_one_line(tmp_path, source, message):
    fill(tmp_path / "log", count=2)
    with pytest.raises(BadData, match=message) as raised:
        job(tmp_path, source).run()
    assert "job.R: " in str(raised.value)
    assert content(tmp_path / "log") == {}


def test_a_state_that_another_has_damaged_is_refused(tmp_path):
    fill(tmp_path / "log", count=2)
    job(tmp_path, COUNTING).run()
    fill(tmp_path / "log", count=2)
    python = tmp_path / "job.py"
    python.write_text("state = {}\ndef process(data): state['x'] = 1\n")
    plan = Plan(str(python), ("bars",), "out", str(tmp_path / "log"), until_end=True, group="p")
    Job(plan).run()
    fill(tmp_path / "log", count=2)
    with pytest.raises(BadData, match="the state of the job cannot be read"):
        job(tmp_path, COUNTING, group="p").run()


def test_without_r_a_job_is_not_started(tmp_path):
    with pytest.raises(ServiceUnavailable, match="no-such-r"):
        job(tmp_path, COUNTING, rscript="no-such-r")
