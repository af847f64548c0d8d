"""What the log and the members of its groups share of the Kafka client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import Any

from mlkit.errors import ServiceUnavailable
from mlkit.streams.log import Partition, Record

TIMEOUT = 30.0
"""Seconds to wait for brokers."""
# The client reports every lost connection; a logger of its own lets applications decide.
logger = logging.getLogger("mlkit.streams.kafka")
logger.addHandler(logging.NullHandler())
logger.propagate = False


def is_end(message: Any, client: Any) -> bool:
    """Return whether a message only marks the end of a partition."""
    error = message.error()
    return error is not None and error.code() == client.KafkaError._PARTITION_EOF


def ready(client: Any, most: int, timeout: float) -> list[Any]:
    """Return messages as soon as there are any; `consume` alone waits until all have come."""
    first = client.poll(timeout)
    if first is None:
        return []
    return [first, *(client.consume(most - 1, 0) if most > 1 else ())]


def records(client: Any, servers: str, messages: Iterable[Any]) -> list[Record]:
    """Return the records of messages of the client; lost connections are tried again by it.

    Raises:
        ServiceUnavailable: The broker refused to answer.
    """
    found = []
    places: dict[tuple[str, int], Partition] = {}
    for each in messages:
        if (error := each.error()) is None:
            name = each.topic(), each.partition()
            place = places.get(name) or places.setdefault(name, Partition(*name))
            key, value = each.key() or b"", each.value() or b""
            found.append(Record(place, each.offset(), each.timestamp()[1], key, value))
        elif not is_end(each, client) and not error.retriable():
            raise ServiceUnavailable(f"kafka://{servers}: {error.str()}")
    return found


def within(seconds: float, call: Callable[..., None], *arguments: Any) -> None:
    """Call a function of the client that may never return, although it has a time limit.

    librdkafka waits for ever for a coordinator that has left the cluster (its issue 5511). The
    thread that waits is left behind with its client.

    Raises:
        ServiceUnavailable: It has not returned in time.
        KafkaException: What it raised.
    """
    done: Future[None] = Future()

    def settle() -> None:
        try:
            call(*arguments)
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    Thread(target=settle, daemon=True).start()
    try:
        done.result(seconds)
    except TimeoutError as error:
        raise ServiceUnavailable(f"no answer of the Kafka client in {seconds:g} s") from error


def describe(error: Exception) -> str:
    """Return the client's description of an error."""
    first = error.args[0]
    return str(first.str()) if hasattr(first, "str") else str(first)
