"""Members of consumer groups on Kafka brokers."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlkit.errors import MlkitError
from mlkit.streams.errors import Fenced
from mlkit.streams.kafka.client import TIMEOUT, describe, is_end, logger, ready, records, within
from mlkit.streams.log import LATEST, Message, Moved, Output, Partition, Record

if TYPE_CHECKING:
    from mlkit.streams.kafka.log import KafkaLog

SESSION = 10_000
"""Milliseconds after which brokers give the partitions of a silent member to others."""
OPEN_TRANSACTION = 15_000
"""Milliseconds after which brokers abort what a killed member has left open: others wait for it."""
STEP = 10.0
"""Seconds to wait for brokers within a transaction: they would abort one that waited longer."""


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
        self._ended: set[Partition] = set()
        self._stale = False
        self._producer: Any = None
        own = {
            "group.id": group, "enable.auto.commit": False, "isolation.level": "read_committed",
            "auto.offset.reset": "latest" if start == LATEST else "earliest",
            "session.timeout.ms": SESSION, "fetch.wait.max.ms": 10, "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 10,  # a full queue is taken at once, and not after a second
        }  # fmt: skip
        self._client = log.client.Consumer({**log.settings, **own}, logger=logger)
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
        self._ended -= set(leaving)
        for place in leaving:
            self._next.pop(place, None)

    def poll(self, most: int = 1000, timeout: float = 1.0) -> list[Record]:
        """Return the next records; see `Consumer.poll`."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                messages = ready(self._client, most, left)
            except self._log.client.KafkaException as error:
                raise self._log.unavailable(error) from error
            found = self._records(messages)
            # What only marks the end of a partition is no reason to return.
            if found or not messages or left == 0.0:
                return found

    def _records(self, messages: Sequence[Any]) -> list[Record]:
        found = records(self._log.client, self._log.servers, messages)
        after: dict[Partition, int] = {}
        for place, some in groupby(found, attrgetter("partition")):
            after[place] = deque(some, 1)[0].offset + 1
        if not self._held.issuperset(after):
            found = [each for each in found if each.partition in self._held]
        self._next |= {place: each for place, each in after.items() if place in self._held}
        ends = (each for each in messages if is_end(each, self._log.client))
        reached = {Partition(each.topic(), each.partition()): each.offset() for each in ends}
        self._ended -= after.keys()
        self._ended |= {place for place, end in reached.items() if after.get(place, 0) <= end}
        self._ended &= self._held
        return found

    def is_at_end(self, partition: Partition) -> bool:
        """Return whether `poll` has returned all records; see `Consumer.is_at_end`."""
        return partition in self._ended

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
            name = f"{self._group}-{uuid.uuid4().hex}"
            producer = self._log.producer(
                {"transactional.id": name, "transaction.timeout.ms": OPEN_TRANSACTION}
            )
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
        self._log.produce(producer, messages, STEP)
        if offsets := self._offsets():
            # With the group's generation, so that a member that was replaced commits nothing.
            group = self._client.consumer_group_metadata()
            within(STEP, producer.send_offsets_to_transaction, offsets, group, STEP)
        producer.commit_transaction(TIMEOUT)

    def _offsets(self) -> list[Any]:
        """Return what to commit; without new records the same again, as a proof of membership."""
        place = self._log.client.TopicPartition
        if self._next:
            return [place(*each, offset) for each, offset in self._next.items()]
        held = [place(*each) for each in self._held]
        found = self._client.committed(held, timeout=TIMEOUT) if held else []
        return [each for each in found if each.offset >= 0]

    def _abort(self, producer: Any) -> None:
        self._producer = None  # a failed one may be fenced for good
        try:
            producer.abort_transaction(STEP)
        except self._log.client.KafkaException as error:
            logger.info("abort: %s", error)
        self._rewind()

    def _rewind(self) -> None:
        """Read again what was not committed."""
        self._ended.clear()
        places = [self._log.client.TopicPartition(*each) for each in self._held]
        try:
            for each in self._client.committed(places, timeout=TIMEOUT) if places else ():
                if each.offset < 0:
                    each.offset = self._log.client.OFFSET_BEGINNING
                self._client.seek(each)
        except self._log.client.KafkaException as error:
            logger.info("rewind: %s", error)
        self._next.clear()

    def _refused(self, error: Exception) -> MlkitError:
        code, kind = error.args[0].code(), self._log.client.KafkaError
        fenced = {
            kind.ILLEGAL_GENERATION, kind.UNKNOWN_MEMBER_ID, kind.FENCED_INSTANCE_ID,
            kind.REBALANCE_IN_PROGRESS, kind._FENCED,
        }  # fmt: skip
        if code in fenced or error.args[0].txn_requires_abort():
            return Fenced(f"{self._group}: nothing was committed: {describe(error)}")
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
