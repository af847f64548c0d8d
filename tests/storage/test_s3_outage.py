"""A store compatible with S3 that hangs: one caller tries it, and nobody else waits."""

from __future__ import annotations

import io

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.storage import s3


@pytest.fixture
def clock():
    """Return a clock that a test sets."""
    return [1000.0]


@pytest.fixture
def outage(clock):
    return s3._Outage(lambda: clock[0])


def hang(outage, clock, seconds):
    with outage.attempt():
        clock[0] += seconds
        raise ServiceUnavailable("it hangs", hint="wait")


def fail(outage, clock, seconds):
    with pytest.raises(ServiceUnavailable, match="it hangs"):
        hang(outage, clock, seconds)


def test_nobody_waits_for_a_store_that_has_just_hung(outage, clock):
    fail(outage, clock, 30.0)
    with pytest.raises(ServiceUnavailable, match="it hangs") as caught, outage.attempt():
        raise AssertionError("it was tried")
    assert caught.value.hint == "wait"
    clock[0] += 6.0
    with outage.attempt(), pytest.raises(ServiceUnavailable), outage.attempt():
        raise AssertionError("two have tried it")
    with outage.attempt(), outage.attempt():
        pass  # It answers again, and everybody may use it.


def test_it_is_tried_again_after_each_pause(outage, clock):
    for _ in range(3):
        fail(outage, clock, 30.0)
        clock[0] += 6.0


def test_a_failure_that_comes_at_once_keeps_nobody_from_the_store(outage, clock):
    fail(outage, clock, 1.0)
    with outage.attempt():
        pass


def test_a_failure_of_another_kind_shows_that_it_answers(outage, clock):
    fail(outage, clock, 30.0)
    clock[0] += 6.0
    with pytest.raises(ValueError, match="odd"), outage.attempt():
        raise ValueError("odd")
    clock[0] += 6.0
    with outage.attempt():
        pass


def test_all_that_a_process_opens_of_a_store_know_it(bucket, clock, outage, monkeypatch):
    monkeypatch.setitem(s3._outages, f"{bucket}/hangs", outage)
    one, other = (s3.S3Objects(bucket.removeprefix("s3://"), "hangs") for _ in range(2))
    fail(outage, clock, 30.0)
    with pytest.raises(ServiceUnavailable, match="it hangs"):
        other.put("a", io.BytesIO(b"x"))
    clock[0] += 6.0
    other.put("a", io.BytesIO(b"x"))
    assert one.find("a").size == 1
