"""A host's part in a fleet: it appends what its workers send to the stream that all hosts follow.

Each host applies the entries of the stream in their order, to a state of its own: which event is a
repeat, which one conflicts, which decision gets zeros follows from the order alone, and is the same
on all hosts. So an entry that is appended twice, since an answer was lost, counts once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mlkit.bandit.server import metrics
from mlkit.bandit.server.feedback.event_batch import Rejection, preview
from mlkit.bandit.server.fleet.entries import Decoded, decode, runs
from mlkit.bandit.server.fleet.joining import Membership, position_facts, publish
from mlkit.bandit.server.fleet.outbox import Outbox
from mlkit.bandit.server.learning.applying import Applier, Batch
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.processes.protocol import (
    Accepted,
    Decided,
    Failed,
    Feedback,
    Kept,
    Reply,
    Request,
    Switch,
    frame,
)
from mlkit.bandit.stores.redis.snapshots import Snapshots
from mlkit.bandit.stores.redis.stream import Diverged, Entry, SharedStream
from mlkit.errors import MlkitError
from mlkit.storage.sqlite_file import SqliteFailure
from mlkit.web.metrics import Counters

_ENTRY = 1 << 20
"""Bytes of an entry; one message may be longer."""
_RETRY = 0.2, 2.0
"""The shortest and the longest pause before Redis is asked again, in seconds."""
_DRAIN = 0.2
_HOUSEKEEPING = 5.0
_AWAY = "the fleet's store does not take it now"
"""What clients hear: where the store is, and its answer, is for the log."""
_RECENT = 10.0
"""Seconds for which what was appended is kept, to be appended again after a failover lost it."""
_MOST_RECENT = 4096
logger = logging.getLogger("mlkit.bandit.server")


class Unapplied(Exception):
    """What is committed could not be applied to the tables."""


class Sender(Protocol):
    """Who waits for a reply."""

    def send(self, message: Reply) -> None:
        """Send the reply."""


class _Item(NamedTuple):
    """A message on its way to the stream."""

    sender: Sender
    request: Request
    message: bytes


@dataclass
class _Flight:
    """Messages of one entry, until they are both durable and applied."""

    items: list[_Item]
    replies: Sequence[Reply] | None = None
    is_durable: bool = False

    def body(self) -> bytes:
        return b"".join(item.message for item in self.items)

    def land(self) -> bool:
        """Send the replies, if all is done."""
        if self.replies is None or not self.is_durable:
            return False
        for item, reply in zip(self.items, self.replies, strict=True):
            item.sender.send(reply)
        return True


@dataclass
class _Recent:
    """What was acknowledged a moment ago."""

    appended: float
    body: bytes


@dataclass
class _Unsaved:
    """What a snapshot would save: bytes of entries, since which one; and the last one's size."""

    since: int
    size: int = 0
    snapshot: int = 0


class Member:
    """Appends messages to the fleet's stream, and applies the entries of all hosts.

    Args:
        membership: The fleet, and up to where this host knows its stream.
        model: The model.
        applier: Applies messages to it.
        counters: Where to note how current this host is.
        on_applied: Called after entries were applied.
    """

    def __init__(
        self,
        membership: Membership,
        model: Model,
        applier: Applier,
        counters: Counters,
        on_applied: Callable[[], None],
    ) -> None:
        self._fleet, self._settings = membership.fleet, membership.settings
        self._position, self._clock = membership.position, membership.clock
        self._model, self._applier = model, applier
        self._counters, self._on_applied = counters, on_applied
        self._outbox = Outbox(membership.state.path / "outbox.sqlite")
        self._state = membership.state
        self._reader, self._appender, self._drainer = (self._stream() for _ in range(3))
        self._tags = os.urandom(8)
        self._tagged = 0
        self._pending: deque[_Item] = deque()
        self._flights: dict[bytes, _Flight] = {}
        self._recent: deque[_Recent] = deque(maxlen=_MOST_RECENT)
        self._wake = asyncio.Event()
        self._complaint = ""
        self._is_lost: bool | None = None
        self._unsaved = _Unsaved(self._position.number)
        self._note(FLEET_CURRENT=0.0, FLEET_AWAY=1.0, FLEET_POSITION=self._position.number)

    def _stream(self) -> SharedStream:
        return SharedStream(self._settings.address, self._settings.name, self._settings.replicas)

    def _note(self, **values: float) -> None:
        places = self._counters.layout.counters
        for name, value in values.items():
            self._counters.values[places[getattr(metrics, name)]] = value
        self._counters.values[places[metrics.FLEET_QUEUED]] = self._outbox.length

    async def follow(self) -> bool:
        """Follow the stream and append to it, until cancelled.

        Returns:
            False: this host is not at the stream's end, and cannot get there: it must start again.
        """
        others = [self._append_often(), self._drain_often(), self._save_often()]
        tasks = [asyncio.create_task(each) for each in others]
        following = asyncio.create_task(self._follow())
        try:
            done, _ = await asyncio.wait([following, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Diverged:
            await self._append_again()
            return False
        finally:
            for task in [following, *tasks]:
                task.cancel()
            for each in (self._reader, self._appender, self._drainer, self._outbox):
                each.close()
        return True

    # From the workers

    def submit(self, group: Sequence[tuple[Sender, Request]]) -> None:
        """Append messages to the stream; each sender gets its reply when it is applied."""
        items = [_Item(sender, request, frame(request)) for sender, request in group]
        # A decision is answered without waiting for the network: the disk of this host is enough.
        decided = [each for each in items if isinstance(each.request, Decided)]
        if decided:
            self._queue(decided, [Kept(each.request.number) for each in decided])
        rest = [each for each in items if not isinstance(each.request, Decided)]
        if self._is_lost:  # A host that has just started tries.
            self._refuse(rest)
        else:
            self._pending.extend(rest)
            self._wake.set()

    def _refuse(self, items: Sequence[_Item]) -> None:
        """Queue what may be queued, and refuse the rest."""
        kept, receipts = [], []
        for item in items:
            reply = self._receipt(item.request) if self._settings.queue else None
            if isinstance(reply, Accepted):
                kept.append(item)
                receipts.append(reply)
            else:
                item.sender.send(reply or Failed(item.request.number, _AWAY))
        if kept:
            self._queue(kept, receipts)

    def _receipt(self, request: Request) -> Reply | None:
        """Return the reply to feedback that is queued, or why it is refused; None: it cannot be."""
        if not isinstance(request, Feedback) or any(each.amends for each in request.events):
            return None
        found = preview(self._model.journal, request.events, self._applier.is_known)
        if isinstance(found, Rejection):
            return self._applier.rejected(request, found)
        count, number = len(request.events), request.number
        return Accepted(number, found.repeats, [False] * count, found.replaced, is_queued=True)

    def _queue(self, items: Sequence[_Item], replies: Sequence[Reply]) -> None:
        try:
            self._outbox.add([each.message for each in items])
        except SqliteFailure as error:
            replies = [Failed(each.request.number, str(error)) for each in items]
        for item, reply in zip(items, replies, strict=True):
            item.sender.send(reply)
        self._note()

    # To the stream

    def _tag(self) -> bytes:
        self._tagged += 1
        return self._tags + self._tagged.to_bytes(8)

    async def _append_often(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                await self._append(_Flight(list(self._next())))

    def _next(self) -> Iterator[_Item]:
        """Yield the messages of the next entry; one about versions has an entry of its own."""
        size = 0
        while self._pending and (not size or size + len(self._pending[0].message) <= _ENTRY):
            is_alone = isinstance(self._pending[0].request, Switch)
            if size and is_alone:
                return
            size += len(self._pending[0].message)
            yield self._pending.popleft()
            if is_alone:
                return

    async def _append(self, flight: _Flight) -> None:
        tag, body = self._tag(), flight.body()
        self._flights[tag] = flight
        try:
            await asyncio.to_thread(self._appender.append, self._fleet, tag, body)
        except MlkitError as error:
            # Perhaps it is in the stream: then it is applied, and whoever sends it again hears so.
            del self._flights[tag]
            self._complain("feedback is not appended", error.message)
            self._refuse(flight.items)
            return
        self._complaint = ""
        self._remember(flight)
        flight.is_durable = True
        if flight.land():
            del self._flights[tag]

    def _remember(self, flight: _Flight) -> None:
        kept = [
            each.message for each in flight.items if isinstance(each.request, (Feedback, Switch))
        ]
        self._forget_old()
        if kept:
            self._recent.append(_Recent(time.monotonic(), b"".join(kept)))

    def _forget_old(self) -> None:
        while self._recent and self._recent[0].appended < time.monotonic() - _RECENT:
            self._recent.popleft()

    async def _append_again(self) -> None:
        """Append what was acknowledged a moment ago again, in case that a failover lost it."""
        self._forget_old()
        try:
            for each in self._recent:
                tag = self._tag()
                await asyncio.to_thread(self._appender.append, self._fleet, tag, each.body)
        except MlkitError as error:
            logger.error("what was acknowledged last may be lost: %s", error.message)

    async def _drain_often(self) -> None:
        """Append what is queued, in its order."""
        while True:
            await asyncio.sleep(_DRAIN)
            while self._outbox.length and self._is_lost is False:
                last, messages = self._outbox.first(_ENTRY)
                try:
                    body = b"".join(messages)
                    await asyncio.to_thread(self._drainer.append, self._fleet, self._tag(), body)
                    self._outbox.drop(last, len(messages))
                except (MlkitError, SqliteFailure) as error:
                    self._complain("queued feedback waits", str(error))
                    break
                self._note()

    # From the stream

    async def _follow(self) -> None:
        pause, longest = _RETRY
        while True:
            try:
                entries = decode(await asyncio.to_thread(self._read))
                self._apply(entries)
            except (MlkitError, SqliteFailure) as error:
                self._handle_loss(str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                pause = _RETRY[0]
                self._handle_recovery()

    def _read(self) -> list[Entry]:
        return self._reader.read(self._fleet, self._position)

    def _handle_loss(self, reason: str) -> None:
        """Serve on; refuse or queue feedback."""
        if self._is_lost is not True:
            logger.error("this host serves on without its fleet: %s", reason)
        self._is_lost = True
        self._note(FLEET_AWAY=1.0)
        waiting, self._pending = list(self._pending), deque()
        self._refuse(waiting)

    def _handle_recovery(self) -> None:
        if self._is_lost is not False:
            logger.info("this host follows the fleet %r", self._settings.name)
        self._is_lost = False
        number = self._position.number
        self._note(FLEET_CURRENT=time.monotonic(), FLEET_AWAY=0.0, FLEET_POSITION=number)

    def _complain(self, what: str, reason: str) -> None:
        """Report why the stream takes nothing, once for each reason until it does."""
        if not self._is_lost and self._complaint != reason:
            logger.error("%s: %s", what, reason)
        self._complaint = reason

    def _apply(self, entries: Sequence[Decoded]) -> None:
        """Apply entries.

        Raises:
            SqliteFailure: The disk of this host does not take them; those before are applied.
            Unapplied: The tables do not show what was committed: only a new start helps.
        """
        for run in runs(entries):
            self._apply_run(run)
        if entries:
            self._unsaved.size += sum(len(entry.body) for entry, _ in entries)
            self._on_applied()

    def _apply_run(self, run: Sequence[Decoded]) -> None:
        """Apply entries in one transaction, in which this host's position moves on, too."""
        batches, moment = [], self._clock()
        for entry, requests in run:
            moment = max(moment, entry.time)
            batches.append(Batch(requests, moment, entry.position.tag.startswith(self._tags)))
        last = run[-1][0].position
        try:
            replies = self._applier.commit(batches, position_facts(last, moment))
        except MlkitError as error:
            raise Unapplied(error.message) from error
        self._position = last
        for (entry, _), of_entry in zip(run, replies, strict=True):
            self._land(entry.position.tag, of_entry)

    def _land(self, tag: bytes, replies: Sequence[Reply]) -> None:
        flight = self._flights.get(tag)
        if flight is not None:
            flight.replies = replies
            if flight.land():
                del self._flights[tag]

    # Snapshots

    async def _save_often(self) -> None:
        """Make a snapshot when the stream has become long since the last one."""
        while True:
            # Hosts that apply the same entries take turns.
            await asyncio.sleep(_HOUSEKEEPING * random.uniform(0.5, 1.5))
            wanted = max(self._settings.snapshot_after, self._unsaved.snapshot)
            if self._unsaved.size >= wanted and not self._is_lost:
                await self.save()

    async def save(self) -> None:
        """Make a snapshot, unless another host has just made one."""
        unsaved, position = self._unsaved, self._position.number
        try:
            size = await asyncio.to_thread(self._save, unsaved)
            self._unsaved = _Unsaved(position, self._unsaved.size - unsaved.size, size)
        except (MlkitError, SqliteFailure, OSError) as error:
            logger.error("no snapshot of the fleet's state: %s", error)

    def _save(self, unsaved: _Unsaved) -> int:
        """Make a snapshot; return its size."""
        snapshots = Snapshots(self._settings.address, self._settings.name)
        try:
            if snapshots.number() > unsaved.since:
                return unsaved.snapshot
            return publish(self._state, snapshots)
        finally:
            snapshots.close()
