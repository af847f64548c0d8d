"""librdkafka's mock cluster: brokers within the process that fail on demand."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
import pytest

PRODUCE, FETCH, FIND_COORDINATOR, TXN_OFFSET_COMMIT, END_TXN = 0, 1, 10, 28, 26
ADD_PARTITIONS = 24
NOT_LEADER, TIMED_OUT, LOADING, NO_COORDINATOR, TOO_FEW, CONCURRENT = 6, 7, 14, 15, 19, 51
DISCONNECT = -195
_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int


def _library() -> ctypes.CDLL:
    """Return the library that the wheel of the client brings."""
    package = Path(confluent_kafka.__file__).parent
    files = list((package.parent / "confluent_kafka.libs").glob("librdkafka-*.so*"))
    if not files:
        pytest.skip("the client's own librdkafka is needed: that of its wheels for Linux")
    library = ctypes.CDLL(str(files[0]))
    for name, result, *arguments in (
        ("new", _POINTER, _INT, _POINTER, _TEXT, ctypes.c_size_t),
        ("destroy", None, _POINTER),
        ("mock_cluster_new", _POINTER, _POINTER, _INT),
        ("mock_cluster_destroy", None, _POINTER),
        ("mock_cluster_bootstraps", _TEXT, _POINTER),
        ("mock_topic_create", _INT, _POINTER, _TEXT, _INT, _INT),
        ("mock_push_request_errors_array", None, _POINTER, ctypes.c_int16, ctypes.c_size_t,
         _POINTER),
        ("mock_partition_set_leader", _INT, _POINTER, _TEXT, ctypes.c_int32, ctypes.c_int32),
        ("mock_broker_set_down", _INT, _POINTER, ctypes.c_int32),
        ("mock_broker_set_up", _INT, _POINTER, ctypes.c_int32),
    ):  # fmt: skip
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Brokers:
    """Three brokers."""

    def __init__(self, library: ctypes.CDLL, cluster: int) -> None:
        self._library, self._cluster = library, cluster

    @property
    def servers(self) -> str:
        """Their addresses."""
        return self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic."""
        made = self._library.rd_kafka_mock_topic_create(
            self._cluster, topic.encode(), partitions, 3
        )
        assert made == 0

    def fail(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with errors."""
        given = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(errors), given
        )

    def lead(self, topic: str, broker: int) -> None:
        """Make a broker the leader of a topic's first partition."""
        done = self._library.rd_kafka_mock_partition_set_leader(
            self._cluster, topic.encode(), 0, broker
        )
        assert done == 0

    def stop(self, broker: int) -> None:
        """Let a broker drop its connections and take none."""
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, broker) == 0

    def start(self, broker: int) -> None:
        """Let a broker that was stopped take connections again."""
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, broker) == 0


@contextmanager
def brokers() -> Iterator[Brokers]:
    """Run three brokers while the block runs."""
    library = _library()
    message = ctypes.create_string_buffer(500)
    client = library.rd_kafka_new(0, None, message, len(message))
    assert client, message.value
    cluster = library.rd_kafka_mock_cluster_new(client, 3)
    try:
        yield Brokers(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)
