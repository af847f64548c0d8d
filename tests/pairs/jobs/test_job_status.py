"""What jobs show of themselves beside their log."""

from __future__ import annotations

import signal
import sys

import pytest
from pairs.jobs.logs import done, fill, wait_for
from processes import started

from mlkit.pairs.jobs import job_status
from mlkit.pairs.jobs.file import JobRaised
from mlkit.pairs.jobs.run import Job, Plan

GOOD = "def process(data):\n    return data[['time', 'ticker', 'close']]\n"
BAD = "def process(data):\n    raise ValueError('no price of <b>A</b>')\n"


def plan_of(tmp_path, text, **more):
    (tmp_path / "job.py").write_text(text)
    return Plan(str(tmp_path / "job.py"), ("bars",), "out", str(tmp_path / "log"), **more)


def test_a_job_that_has_ended_shows_what_it_did(tmp_path):
    fill(tmp_path / "log", 20)
    Job(plan_of(tmp_path, GOOD, until_end=True)).run()
    (shown,) = job_status.read(tmp_path / "log")
    assert (shown["state"], shown["runs"], shown["job"]) == ("ended", False, "job")
    assert (shown["records"], shown["written"], shown["inputs"]) == (20, 20, ["bars"])


def test_a_job_that_raises_shows_where_and_the_next_one_takes_its_place(tmp_path):
    fill(tmp_path / "log", 20)
    with pytest.raises(JobRaised):
        Job(plan_of(tmp_path, BAD, restarts=1), pause=lambda _: None).run()
    (shown,) = job_status.read(tmp_path / "log")
    assert (shown["state"], shown["restarts"], shown["records"]) == ("stopped", 1, 0)
    said = "\n".join(shown["log"])
    assert "no price of <b>A</b>" in said
    assert "job.py" in said
    assert "restart 1 of 1" in said
    Job(plan_of(tmp_path, GOOD, until_end=True)).run()
    assert [each["state"] for each in job_status.read(tmp_path / "log")] == ["ended"]


def test_a_job_that_runs_or_was_killed_is_known_by_its_lock(tmp_path):
    fill(tmp_path / "log", 20)
    (tmp_path / "job.py").write_text(GOOD)
    command = [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(tmp_path / "job.py"),
               "--in", "bars", "--out", "out", "--log", str(tmp_path / "log")]  # fmt: skip
    with started(command) as job:
        wait_for(lambda: done(tmp_path / "log") == 20)
        wait_for(lambda: job_status.read(tmp_path / "log")[0]["state"] == "running")
        assert [(each["pid"], each["runs"]) for each in job_status.read(tmp_path / "log")] == [
            (job.pid, True)
        ]
        job.send_signal(signal.SIGKILL)
        job.wait(60)
    (shown,) = job_status.read(tmp_path / "log")
    assert (shown["state"], shown["runs"]) == ("running", False)


def test_what_is_no_view_is_passed_over_and_a_log_that_cannot_be_written_stops_no_job(tmp_path):
    fill(tmp_path / "log", 20)
    (tmp_path / "log" / "jobs").write_text("not a folder")
    assert Job(plan_of(tmp_path, GOOD, until_end=True)).run().records == 20
    (tmp_path / "log" / "jobs").unlink()
    (tmp_path / "log" / "jobs").mkdir()
    (tmp_path / "log" / "jobs" / "x@1.json").write_text('{"job": 5}')
    assert job_status.read(tmp_path / "log") == []
