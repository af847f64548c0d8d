"""Logs of topics: the embedded one, and any broker of the Kafka protocol.

`open` takes a folder, or `kafka://HOST:PORT[,...]`; both keep the protocol of `mlkit.streams.log`.
"""

from __future__ import annotations

from pathlib import Path

from mlkit.streams.errors import Fenced
from mlkit.streams.log import (
    EARLIEST,
    LATEST,
    Consumer,
    Log,
    Message,
    Output,
    Partition,
    Record,
    partition_of,
)

__all__ = [
    "EARLIEST", "LATEST", "Consumer", "Fenced", "Log", "Message", "Output", "Partition", "Record",
    "open", "partition_of",
]  # fmt: skip


def open(url: str | Path) -> Log:  # noqa: A001
    """Open a log: a folder, which is created, or `kafka://HOST:PORT[,HOST:PORT...]`.

    Raises:
        InputMissing: The folder cannot be written.
        BadData: A file of the log is damaged.
        ServiceUnavailable: No broker answers, or the Kafka client is not installed.
    """
    if str(url).startswith("kafka://"):
        from mlkit.streams.kafka import KafkaLog

        return KafkaLog(str(url).removeprefix("kafka://"))
    from mlkit.streams.embedded import EmbeddedLog

    return EmbeddedLog(Path(url))
