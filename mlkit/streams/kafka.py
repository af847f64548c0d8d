"""A log that a broker of the Kafka protocol keeps, by the confluent-kafka client.

Appends are idempotent and wait for all replicas. A commit is a transaction of the output, the
group's offsets and its states; readers see only what was committed. States are records of the
compacted topic `GROUP.state`, keyed by partition.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from mlkit.errors import MlkitError, ServiceUnavailable, UsageError
from mlkit.streams.errors import Fenced
from mlkit.streams.log import (
    EARLIEST,
    LATEST,
    Message,
    Moved,
    Output,
    Partition,
    Record,
    partition_of,
    require_name,
)

TIMEOUT = 30.0
"""Seconds to wait for brokers."""
# The client reports every lost connection; a logger of its own lets applications decide.
_logger = logging.getLogger("mlkit.streams.kafka")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


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
            hint = "pip install 'mlkit[kafka]'"
            raise ServiceUnavailable("kafka:// needs confluent-kafka", hint=hint) from error
        self.client = confluent_kafka
        self.servers = servers
        self.settings = {"bootstrap.servers": servers, **(settings or {})}
        self._replication = -1 if replication is None else replication
        self._admin = confluent_kafka.admin.AdminClient(self.settings, logger=_logger)
        self._reader: Any = None
        self._writer: Any = None
        self._known: dict[str, int] = {}
        self.topics()

    def unavailable(self, error: Exception) -> ServiceUnavailable:
        """Return what a failure of the broker is to the user."""
        return ServiceUnavailable(f"kafka://{self.servers}: {_said(error)}")

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
            own = {"enable.idempotence": True, "acks": "all", "linger.ms": 1}
            self._writer = self.client.Producer({**self.settings, **own}, logger=_logger)
        self.produce(self._writer, {topic: messages})

    def produce(self, producer: Any, messages: Mapping[str, Sequence[Message]]) -> None:
        """Send messages and wait until the brokers have all of them."""
        failed: list[Any] = []

        def report(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(error)

        for topic, some in messages.items():
            count = self.partitions(topic)
            for value, key, timestamp in some:
                now = int(time.time() * 1000) if timestamp is None else timestamp
                place = partition_of(key, count) if count > 1 else 0
                self._send(producer, topic, value, key, place, now, report)
        left = producer.flush(TIMEOUT)
        if failed or left:
            reason = failed[0].str() if failed else f"{left} messages were not acknowledged"
            raise ServiceUnavailable(f"kafka://{self.servers}: {reason}")

    def _send(self, producer: Any, topic: str, value: bytes, key: bytes, place: int, now: int,
              report: Any) -> None:  # fmt: skip
        while True:
            try:
                producer.produce(
                    topic, value, key, partition=place, on_delivery=report, timestamp=now
                )
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                return

    def reader(self) -> Any:
        """Return a client that reads partitions without a group."""
        if self._reader is None:
            own = {
                "group.id": f"reader-{uuid.uuid4().hex}", "enable.auto.commit": False,
                "isolation.level": "read_committed", "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }  # fmt: skip
            self._reader = self.client.Consumer({**self.settings, **own}, logger=_logger)
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
        ended = any(_is_end(each, self.client) for each in messages)
        return ended, list(records(self, messages))

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the first offset that is kept, and the one that the next record gets."""
        try:
            place = self.client.TopicPartition(*partition)
            low, high = self.reader().get_watermark_offsets(place, timeout=TIMEOUT)
        except self.client.KafkaException as error:
            raise self.unavailable(error) from error
        return int(low), int(high)

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
        client = self.client.Consumer({**self.settings, **own}, logger=_logger)
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


class KafkaMember:
    """A member of a group on Kafka brokers; see `mlkit.streams.log.Consumer`."""

    def __init__(
        self, log: KafkaLog, group: str, topics: Sequence[str], start: int,
        gained: Moved | None, lost: Moved | None,
    ) -> None:  # fmt: skip
        self._log, self._group = log, group
        self._gained, self._lost = gained, lost
        self._next: dict[Partition, int] = {}
        self._held: set[Partition] = set()
        self._stale = False
        self._producer: Any = None
        own = {
            "group.id": group, "enable.auto.commit": False, "isolation.level": "read_committed",
            "auto.offset.reset": "latest" if start == LATEST else "earliest",
            "session.timeout.ms": 10_000, "fetch.wait.max.ms": 10,
        }  # fmt: skip
        self._client = log.client.Consumer({**log.settings, **own}, logger=_logger)
        self._client.subscribe(
            list(topics), on_assign=self._take, on_revoke=self._give_up, on_lost=self._give_up
        )

    @property
    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member reads."""
        return frozenset(self._held)

    def _take(self, _: Any, places: Iterable[Any]) -> None:
        taken = [Partition(each.topic, each.partition) for each in places]
        self._held |= set(taken)
        if self._gained is not None and taken:
            self._gained(taken)

    def _give_up(self, _: Any, places: Iterable[Any]) -> None:
        leaving = [Partition(each.topic, each.partition) for each in places]
        if self._lost is not None and leaving:
            self._lost(leaving)
        # What was read of them and not committed goes to another member, so it must not count.
        self._stale = self._stale or any(place in self._next for place in leaving)
        self._held -= set(leaving)
        for place in leaving:
            self._next.pop(place, None)

    def poll(self, most: int = 1000, timeout: float = 1.0) -> list[Record]:
        """Return the next records; see `Consumer.poll`."""
        try:
            messages = ready(self._client, most, timeout)
        except self._log.client.KafkaException as error:
            raise self._log.unavailable(error) from error
        found = [each for each in records(self._log, messages) if each.partition in self._held]
        for record in found:
            self._next[record.partition] = record.offset + 1
        return found

    def state(self, partition: Partition) -> bytes | None:
        """Return the state that was committed last for a partition of this group."""
        topic = f"{self._group}.state"
        if topic not in self._log.topics():
            return None
        wanted, found, offset = _key(partition), None, 0
        while some := self._log.read(Partition(topic, 0), offset):
            found = next((each.value for each in reversed(some) if each.key == wanted), found)
            offset = some[-1].offset + 1
        return found

    def commit(self, output: Output | None = None) -> None:
        """Commit offsets with output and states; see `Consumer.commit`."""
        stale, self._stale = self._stale, False
        if stale or (output is not None and not set(output.states) <= self._held):
            self._rewind()
            raise Fenced(f"{self._group}: a partition has gone to another member")
        if not self._next and output is None:
            return
        producer = self._transactional(output or Output())
        try:
            self._transact(producer, output or Output())
        except (self._log.client.KafkaException, MlkitError) as error:
            self._abort(producer)
            if isinstance(error, MlkitError):
                raise
            raise self._refused(error) from error
        self._next.clear()

    def _transactional(self, output: Output) -> Any:
        if output.states:
            self._log.create_state(f"{self._group}.state")
        if self._producer is None:
            own = {"transactional.id": f"{self._group}-{uuid.uuid4().hex}", "linger.ms": 1}
            producer = self._log.client.Producer({**self._log.settings, **own}, logger=_logger)
            try:
                producer.init_transactions(TIMEOUT)
            except self._log.client.KafkaException as error:
                raise self._log.unavailable(error) from error
            self._producer = producer
        return self._producer

    def _transact(self, producer: Any, output: Output) -> None:
        states = [Message(state, _key(place)) for place, state in output.states.items()]
        messages = dict(output.messages)
        if states:
            messages[f"{self._group}.state"] = states
        producer.begin_transaction()
        self._log.produce(producer, messages)
        offsets = [self._log.client.TopicPartition(*each, self._next[each]) for each in self._next]
        if offsets:
            # With the group's generation, so that a member that was replaced commits nothing.
            group = self._client.consumer_group_metadata()
            producer.send_offsets_to_transaction(offsets, group, TIMEOUT)
        producer.commit_transaction(TIMEOUT)

    def _abort(self, producer: Any) -> None:
        self._producer = None  # a failed one may be fenced for good
        try:
            producer.abort_transaction(TIMEOUT)
        except self._log.client.KafkaException as error:
            _logger.info("abort: %s", error)
        self._rewind()

    def _rewind(self) -> None:
        """Read again what was not committed."""
        places = [self._log.client.TopicPartition(*each) for each in self._held]
        try:
            for each in self._client.committed(places, timeout=TIMEOUT) if places else ():
                if each.offset < 0:
                    each.offset = self._log.client.OFFSET_BEGINNING
                self._client.seek(each)
        except self._log.client.KafkaException as error:
            _logger.info("rewind: %s", error)
        self._next.clear()

    def _refused(self, error: Exception) -> MlkitError:
        code, kind = error.args[0].code(), self._log.client.KafkaError
        fenced = {
            kind.ILLEGAL_GENERATION, kind.UNKNOWN_MEMBER_ID, kind.FENCED_INSTANCE_ID,
            kind.REBALANCE_IN_PROGRESS, kind._FENCED,
        }  # fmt: skip
        if code in fenced or error.args[0].txn_requires_abort():
            return Fenced(f"{self._group}: nothing was committed: {_said(error)}")
        return self._log.unavailable(error)

    def close(self) -> None:
        """Leave the group."""
        self._client.close()

    def __enter__(self) -> Self:
        """Return the member."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Leave the group."""
        self.close()


def _key(place: Partition) -> bytes:
    return f"{place.topic}-{place.number}".encode()


def _is_end(message: Any, client: Any) -> bool:
    error = message.error()
    return error is not None and error.code() == client.KafkaError._PARTITION_EOF


def ready(client: Any, most: int, timeout: float) -> list[Any]:
    """Return messages as soon as there are any; `consume` alone waits until all have come."""
    first = client.poll(timeout)
    if first is None:
        return []
    return [first, *(client.consume(most - 1, 0) if most > 1 else ())]


def records(log: KafkaLog, messages: Iterable[Any]) -> Iterator[Record]:
    """Yield the records of messages of the client; lost connections are tried again by it.

    Raises:
        ServiceUnavailable: The broker refused to answer.
    """
    for each in messages:
        if (error := each.error()) is None:
            place = Partition(each.topic(), each.partition())
            key, value = each.key() or b"", each.value() or b""
            yield Record(place, each.offset(), each.timestamp()[1], key, value)
        elif not _is_end(each, log.client) and not error.retriable():
            raise ServiceUnavailable(f"kafka://{log.servers}: {error.str()}")


def _said(error: Exception) -> str:
    first = error.args[0]
    return str(first.str()) if hasattr(first, "str") else str(first)
