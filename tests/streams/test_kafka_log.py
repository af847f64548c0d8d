"""The Kafka back end where no broker answers; what it does with one is in tests/contract."""

from __future__ import annotations

import socket
import sys
from threading import Event

import pytest

from mlkit import streams
from mlkit.errors import ServiceUnavailable


def test_no_broker_is_a_missing_service(monkeypatch, capfd):
    pytest.importorskip("confluent_kafka")
    from mlkit.streams.kafka import log

    monkeypatch.setattr(log, "TIMEOUT", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        port = free.getsockname()[1]
        with pytest.raises(ServiceUnavailable, match=f"kafka://127.0.0.1:{port}: "):
            streams.open(f"kafka://127.0.0.1:{port}")
    assert capfd.readouterr().err == ""


def test_without_the_client_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ServiceUnavailable, match="needs the package confluent-kafka") as caught:
        streams.open("kafka://127.0.0.1:9092")
    assert caught.value.hint == "pip install 'mlkit[kafka]'"


def test_a_call_of_the_client_that_never_returns_is_given_up():
    from mlkit.streams.kafka.client import within

    with pytest.raises(ServiceUnavailable, match=r"no answer of the Kafka client in 0\.01 s"):
        within(0.01, Event().wait)
    within(60.0, Event().set)
    with pytest.raises(ZeroDivisionError):
        within(60.0, lambda: 1 / 0)
