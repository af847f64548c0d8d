"""What the log and the members of its groups share of the Kafka client."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
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


def records(client: Any, servers: str, messages: Iterable[Any]) -> Iterator[Record]:
    """Yield the records of messages of the client; lost connections are tried again by it.

    Raises:
        ServiceUnavailable: The broker refused to answer.
    """
    for each in messages:
        if (error := each.error()) is None:
            place = Partition(each.topic(), each.partition())
            key, value = each.key() or b"", each.value() or b""
            yield Record(place, each.offset(), each.timestamp()[1], key, value)
        elif not is_end(each, client) and not error.retriable():
            raise ServiceUnavailable(f"kafka://{servers}: {error.str()}")


def described(error: Exception) -> str:
    """Return what the client says of an error."""
    first = error.args[0]
    return str(first.str()) if hasattr(first, "str") else str(first)
