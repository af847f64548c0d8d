"""A log that a broker of the Kafka protocol keeps, by the confluent-kafka client.

Appends are idempotent and wait for all replicas. A commit is a transaction of the output, the
group's offsets and its states; readers see only what was committed. States are records of the
compacted topic `GROUP.state`, keyed by partition.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlkit.errors import PackageMissing, ServiceUnavailable, UsageError
from mlkit.streams.kafka.client import TIMEOUT, describe, is_end, logger, ready, records
from mlkit.streams.log import (
    EARLIEST,
    Message,
    Moved,
    Partition,
    Record,
    partition_of,
    require_name,
)

if TYPE_CHECKING:
    from mlkit.streams.kafka.member import KafkaMember


_ELECTION = 0.05
"""Seconds between two looks for the leader of a partition."""


class KafkaLog:
    """A log on Kafka brokers; see `mlkit.streams.log.Log`.

    Args:
        servers: `HOST:PORT[,HOST:PORT...]`.
        settings: More settings of librdkafka, such as those of authentication.
        replication: Replicas of topics that are created; None takes the broker's default.

    Raises:
        ServiceUnavailable: No broker answers, or confluent-kafka is not installed.
    """

    def __init__(
        self,
        servers: str,
        settings: Mapping[str, Any] | None = None,
        replication: int | None = None,
    ) -> None:
        try:
            import confluent_kafka
            import confluent_kafka.admin
        except ImportError as error:
            problem = "kafka:// needs the package confluent-kafka"
            raise PackageMissing.of(problem, "kafka") from error
        self.client = confluent_kafka
        self.servers = servers
        self.settings = {"bootstrap.servers": servers, **(settings or {})}
        self._replication = -1 if replication is None else replication
        self._admin = confluent_kafka.admin.AdminClient(self.settings, logger=logger)
        self._reader: Any = None
        self._writer: Any = None
        self._known: dict[str, int] = {}
        self.topics()

    def unavailable(self, error: Exception) -> ServiceUnavailable:
        """Return what a failure of the broker is to the user."""
        return ServiceUnavailable(f"kafka://{self.servers}: {describe(error)}")

    def topics(self) -> dict[str, int]:
        """Return the topics with their numbers of partitions."""
        try:
            found = self._admin.list_topics(timeout=TIMEOUT).topics
        except self.client.KafkaException as error:
            raise self.unavailable(error) from error
        return {
            name: len(each.partitions) for name, each in found.items() if not name.startswith("__")
        }

    def create(self, topic: str, partitions: int = 1, retention_ms: int | None = None) -> None:
        """Create a topic; see `Log.create`."""
        kept = -1 if retention_ms is None else retention_ms
        self._create(topic, partitions, {"retention.ms": str(kept)})

    def _create(self, topic: str, partitions: int, settings: dict[str, str]) -> None:
        require_name("topic", topic)
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        new = NewTopic(topic, partitions, replication_factor=self._replication, config=settings)
        try:
            self._admin.create_topics([new], operation_timeout=TIMEOUT)[topic].result()
        except self.client.KafkaException as error:
            if error.args[0].code() != self.client.KafkaError.TOPIC_ALREADY_EXISTS:
                raise self.unavailable(error) from error
        self._wait_for(topic, partitions)

    def _wait_for(self, topic: str, partitions: int) -> None:
        """Wait until the brokers know a topic that was created."""
        deadline = time.monotonic() + TIMEOUT
        while (there := self.topics().get(topic, 0)) == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        if there != partitions:
            raise UsageError(f"topic '{topic}' has {there} partitions, not {partitions}")
        self._known[topic] = partitions

    def partitions(self, topic: str) -> int:
        """Return the number of a topic's partitions.

        Raises:
            UsageError: There is no such topic.
        """
        if topic not in self._known:
            self._known |= self.topics()
        if topic not in self._known:
            raise UsageError(f"kafka://{self.servers}: no topic '{topic}'", hint="create it first")
        return self._known[topic]

    def append(self, topic: str, messages: Sequence[Message]) -> None:
        """Write messages; see `Log.append`."""
        self.partitions(topic)
        if self._writer is None:
            self._writer = self.producer({"enable.idempotence": True, "acks": "all"})
        try:
            self.produce(self._writer, {topic: messages})
        except BaseException as error:
            # What is queued must not arrive later, beside what the caller tries again.
            self._writer.purge()
            self._writer = None
            if isinstance(error, self.client.KafkaException):
                raise self.unavailable(error) from error
            raise

    def producer(self, own: Mapping[str, Any]) -> Any:
        """Return a client that writes, and reports what failed only."""
        settings = {**self.settings, "linger.ms": 1, "delivery.report.only.error": True, **own}
        return self.client.Producer(settings, logger=logger)

    def produce(
        self, producer: Any, messages: Mapping[str, Sequence[Message]], timeout: float = TIMEOUT
    ) -> None:
        """Send messages and wait until the brokers have all of them."""
        failed: list[Any] = []

        def report(error: Any, _: Any) -> None:
            failed.append(error)

        for topic, some in messages.items():
            count = self.partitions(topic)
            now = int(time.time() * 1000)
            for value, key, timestamp in some:
                place = partition_of(key, count) if count > 1 else 0
                moment = now if timestamp is None else timestamp
                message = topic, value, key, place, report  # by position: a quarter less time
                try:
                    producer.produce(*message, timestamp=moment)
                except BufferError:
                    _send_later(producer, message, moment)
        left = producer.flush(timeout)
        if failed or left:
            reason = failed[0].str() if failed else f"{left} messages were not acknowledged"
            raise ServiceUnavailable(f"kafka://{self.servers}: {reason}")

    def reader(self) -> Any:
        """Return a client that reads partitions without a group."""
        if self._reader is None:
            own = {
                "group.id": f"reader-{uuid.uuid4().hex}", "enable.auto.commit": False,
                "isolation.level": "read_committed", "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }  # fmt: skip
            self._reader = self.client.Consumer({**self.settings, **own}, logger=logger)
        return self._reader

    def read(self, partition: Partition, offset: int, most: int = 1000) -> list[Record]:
        """Return records of a partition; see `Log.read`."""
        self.partitions(partition.topic)
        reader = self.reader()
        first, _ = self.bounds(partition)
        reader.assign([self.client.TopicPartition(*partition, max(offset, first))])
        try:
            found: list[Record] = []
            while len(found) < most:
                ended, some = self._some(reader, most - len(found))
                found += some
                if ended:
                    break
            return found
        finally:
            reader.unassign()

    def _some(self, reader: Any, most: int) -> tuple[bool, list[Record]]:
        messages = ready(reader, most, TIMEOUT)
        if not messages:
            raise ServiceUnavailable(f"kafka://{self.servers}: no answer in {TIMEOUT:g} s")
        ended = any(is_end(each, self.client) for each in messages)
        return ended, records(self.client, self.servers, messages)

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the first offset that is kept, and the one that the next record gets."""
        place = self.client.TopicPartition(*partition)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                low, high = self.reader().get_watermark_offsets(place, timeout=TIMEOUT)
                return int(low), int(high)
            except self.client.KafkaException as error:
                if not self._is_electing(error) or time.monotonic() > deadline:
                    raise self.unavailable(error) from error
                time.sleep(_ELECTION)

    def _is_electing(self, error: Any) -> bool:
        """Return whether a partition has no leader yet: it is new, or its leader has gone."""
        kinds = self.client.KafkaError
        waits = (kinds.NOT_LEADER_FOR_PARTITION, kinds.LEADER_NOT_AVAILABLE)
        first = error.args[0]
        return hasattr(first, "code") and first.code() in waits

    def offset_at(self, partition: Partition, timestamp: int) -> int:
        """Return the offset of the first record with at least this timestamp, else the end."""
        asked = self.client.TopicPartition(*partition, timestamp)
        try:
            found = self.reader().offsets_for_times([asked], timeout=TIMEOUT)[0].offset
        except self.client.KafkaException as error:
            raise self.unavailable(error) from error
        return int(found) if found >= 0 else self.bounds(partition)[1]

    def committed(self, group: str, partition: Partition) -> int | None:
        """Return the offset that a group has committed."""
        own = {"group.id": group, "enable.auto.commit": False}
        client = self.client.Consumer({**self.settings, **own}, logger=logger)
        try:
            place = self.client.TopicPartition(*partition)
            offset = client.committed([place], timeout=TIMEOUT)[0].offset
        except self.client.KafkaException as error:
            raise self.unavailable(error) from error
        finally:
            client.close()
        return int(offset) if offset >= 0 else None

    def consume(
        self,
        group: str,
        topics: Sequence[str],
        *,
        start: int = EARLIEST,
        gained: Moved | None = None,
        lost: Moved | None = None,
    ) -> KafkaMember:
        """Join a consumer group; see `Log.consume`."""
        from mlkit.streams.kafka.member import KafkaMember

        for topic in topics:
            self.partitions(topic)
        return KafkaMember(self, group, topics, start, gained, lost)

    def create_state(self, topic: str) -> None:
        """Create the topic of a group's states."""
        if topic not in self._known:
            self._create(topic, 1, {"cleanup.policy": "compact"})

    def close(self) -> None:
        """Close the connections."""
        if self._writer is not None:
            self._writer.flush(TIMEOUT)
        if self._reader is not None:
            self._reader.close()
        self._writer = self._reader = None


def _send_later(producer: Any, message: tuple[Any, ...], moment: int) -> None:
    """Hand a message to the client, which queues a limited number, once there is room."""
    while True:
        producer.poll(0.1)
        try:
            producer.produce(*message, timestamp=moment)
        except BufferError:
            continue
        return
