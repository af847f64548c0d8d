"""The writer process: it makes feedback durable, then visible, then acknowledges it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from mlkit.bandit.server.candidates.tally import Tally
from mlkit.bandit.server.candidates.versions import note_promotion
from mlkit.bandit.server.dashboard.observer import Observer
from mlkit.bandit.server.fleet.decision_reports import DecisionReports
from mlkit.bandit.server.fleet.joining import Membership
from mlkit.bandit.server.learning.applying import SETTLED_AT_ONCE, Applier, Batch
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.served_model import ServedModel
from mlkit.bandit.server.learning.version_files import Served
from mlkit.bandit.server.processes.protocol import (
    Announcement,
    Failed,
    Frames,
    Message,
    Reply,
    Request,
    Switch,
    Switched,
    Table,
    TableInUse,
    TableReady,
    Tick,
    frame,
    message_decoder,
)
from mlkit.errors import MlkitError
from mlkit.storage.sqlite_file import DamagedRow, SqliteFailure
from mlkit.web.collection import collect_seldom
from mlkit.web.metrics import Counters, SharedCounters
from mlkit.web.shared_document import SharedDocument

if TYPE_CHECKING:
    from mlkit.bandit.server.fleet.member import Member
    from mlkit.bandit.server.fleet.roster import Roster

COMPACT_AFTER = 200_000
"""Changes in the journal before they are compacted into the snapshot."""
_MOST_TOUCHED = 20_000
"""Posteriors that they may have changed: nothing else is done while these are written."""
_CHECKPOINT_EVERY = 2.0
_HOUSEKEEPING = 5.0
_SETTLING = 1.0
_REPORTED_EVERY = 1.0
_PUBLISHED_EVERY = 1.0
logger = logging.getLogger("mlkit.bandit.server")


class Writer:
    """Commits what the workers send in groups: one commit, one sync per group.

    A group is what has arrived while the one before was on its way to the disk.

    Args:
        model: The model, which nobody else changes.
        counters: Where to count.
        on_used: Called with the number of workers that answer from the present table.
        new_arms: Whether feedback may bring arms that were never added.
        settles: Whether decisions without a reward count as 0 when their time is over.
        membership: The fleet that this host is one of: its stream orders what is committed; None:
            the host is alone.
        shared: The counters of all processes.
    """

    def __init__(
        self,
        model: Model,
        counters: Counters,
        on_used: Callable[[int], None],
        *,
        new_arms: bool,
        settles: bool = False,
        membership: Membership | None = None,
        shared: SharedCounters,
    ) -> None:
        self._model = model
        self._counters, self._shared = counters, shared
        self._settles = settles
        self._failing = False
        self._on_used = on_used
        clock, tally = None, None
        if membership is not None:
            clock, tally = membership.clock.set, Tally(model.journal.meta("tally"))
        self._applier = Applier(model, counters, new_arms=new_arms, clock=clock, tally=tally)
        self._applier.on_switched = self._show_switched
        self._reports = None if tally is None else DecisionReports(tally, counters, shared)
        self._member: Member | None = None
        if membership is not None:
            self._member = _member(membership, model, self._applier, counters, self._finish_commit)
        self._connections: set[_Connection] = set()
        self._group: list[tuple[_Connection, Request]] = []
        self._announced = model.files()
        self._reloading = False
        self._stopping = False
        self._finished = asyncio.get_running_loop().create_future()

    async def serve(self, listener: socket.socket) -> None:
        """Serve the workers until `stop`, and then until the last of them is gone.

        Raises:
            Exception: The table could not be changed as the journal records. Only a new start,
                which makes a new table, helps.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Connection(self), sock=listener)
        tasks = [asyncio.create_task(each()) for each in (self._keep_house, self._checkpoint_often)]
        if self._settles:
            tasks.append(asyncio.create_task(self._settle_often()))
        if self._member is not None:
            tasks.append(asyncio.create_task(self._follow(self._member)))
            tasks.append(asyncio.create_task(self._report_often(self._member)))
        try:
            await self._finished
        finally:
            for task in tasks:
                task.cancel()
        server.close()
        self._compact()
        self._model.journal.close()

    async def _follow(self, member: Member) -> None:
        """Follow the fleet; a host that knows what the fleet does not starts again."""
        try:
            if await member.follow():
                return
            logger.warning("this host and the stream differ: it starts from the fleet's snapshot")
            if not self._finished.done():
                self._finished.set_result(None)
        except Exception as error:
            if not self._finished.done():
                self._finished.set_exception(error)

    async def _report_often(self, member: Member) -> None:
        """Report decisions to the fleet, as long as its versions are compared."""
        while True:
            await asyncio.sleep(_REPORTED_EVERY)
            found = None if self._reports is None else self._reports.make()
            if found is not None:
                member.submit([(self, found)])

    def stop(self) -> None:
        """Leave when the last worker has gone."""
        self._stopping = True
        self._check_idle()

    def _check_idle(self) -> None:
        if self._stopping and not self._connections and not self._finished.done():
            self._finished.set_result(None)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING)
            self._model.expire()
            if self._model.files() != self._announced:
                self._announce()
            try:
                self._model.journal.keep_house()
            except SqliteFailure as error:
                self._complain(error)

    async def _checkpoint_often(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_EVERY)
            try:
                await asyncio.to_thread(self._model.journal.checkpoint)
            except SqliteFailure as error:
                self._complain(error)

    async def _settle_often(self) -> None:
        while True:
            while self._settle() == SETTLED_AT_ONCE:
                await asyncio.sleep(0)
            await asyncio.sleep(_SETTLING)

    def _settle(self) -> int:
        """Count zeros of decisions whose time is over; return of how many decisions."""
        tick, now = Tick(), time.time()
        try:
            if not self._model.journal.due(now, 1):
                return 0
            if self._member is not None:
                self._member.submit([(self, tick)])
                return 0
            [[reply]] = self._applier.commit([Batch([tick], now)])
        except SqliteFailure as failure:
            self._complain(failure)
            return 0
        self._finish_commit()
        return reply.number

    def send(self, message: Announcement) -> None:
        """Take the reply to a message of the writer itself, which needs none."""

    def _finish_commit(self) -> None:
        """Announce a table that has grown, and compact the journal if it is long."""
        if self._model.files() != self._announced:
            self._announce()
        self._compact_if_long()

    # Connections

    def add_worker(self, connection: _Connection) -> None:
        """Announce the table to a new worker."""
        self._connections.add(connection)
        connection.send(self._table_ready())

    def remove_worker(self, connection: _Connection) -> None:
        """Forget a worker; what it has sent is still committed."""
        self._connections.discard(connection)
        self._check_idle()

    def _table_ready(self) -> TableReady:
        model, meta = self._model, self._model.journal.meta
        stable = _table(model.posteriors, meta("posteriors_hash"))
        other = model.candidate
        candidate = None if other is None else _table(other, meta("candidate_hash"))
        return TableReady(model.files(), stable, candidate, model.share)

    def _announce(self) -> None:
        self._announced = self._model.files()
        for connection in self._connections:
            connection.send(self._table_ready())

    def receive(self, connection: _Connection, request: Message) -> None:
        """Put a message into the next group."""
        if isinstance(request, TableInUse):
            connection.files = request.files
            present = self._model.files()
            self._on_used(sum(each.files == present for each in self._connections))
            return
        if isinstance(request, Switch):
            self._switch(connection, request)
            return
        if not self._group:
            asyncio.get_running_loop().call_soon(self._commit_group)
        self._group.append((connection, request))

    def _switch(self, connection: _Connection, request: Switch) -> None:
        """Promote the candidate or roll it back, after all that came before."""
        if self._reloading:  # What is read would take the place of what is promoted.
            failed = Failed(request.number, "the posteriors file is being read: try again")
            connection.send(failed)
            return
        candidate = self._model.course.candidate
        if candidate is None:
            connection.send(Switched(request.number, existed=False))
            return
        self._commit_group()
        self._group.append((connection, Switch(request.number, request.promote, candidate)))
        self._commit_group()

    def _show_switched(self, is_promoted: bool) -> None:
        """Let workers answer from the versions that there are now."""
        if is_promoted:
            note_promotion(self._counters, self._shared, time.time())
        if self._reports is not None:
            self._reports.align()
        what = "answers beside the first version" if self._model.candidate else "is rolled back"
        logger.info("the candidate %s", "is promoted" if is_promoted else what)
        self._announce()

    # Groups

    def _commit_group(self) -> None:
        group, self._group = self._group, []
        if not group:
            return
        try:
            self._commit(group)
        except Exception as error:
            if not self._finished.done():
                self._finished.set_exception(error)

    def _commit(self, group: list[tuple[_Connection, Request]]) -> None:
        if self._member is not None:
            self._member.submit(group)
            return
        replies = self._replies([request for _, request in group])
        if self._model.files() != self._announced:
            self._announce()
        for (connection, _), reply in zip(group, replies, strict=True):
            connection.send(reply)
        self._compact_if_long()

    def _replies(self, requests: list[Request]) -> list[Reply]:
        try:
            [replies] = self._applier.commit([Batch(requests, time.time())])
        except SqliteFailure as error:
            self._complain(error)
            return [Failed(request.number, str(error)) for request in requests]
        self._failing = False
        return replies

    def _complain(self, error: SqliteFailure) -> None:
        """Report a journal that cannot be used, once until it can be again."""
        if not self._failing:
            what = "is damaged" if isinstance(error, DamagedRow) else "cannot be written"
            logger.error("the journal %s: %s", what, error)
        self._failing = True

    def _compact_if_long(self) -> None:
        is_long = self._applier.since_compaction >= COMPACT_AFTER
        if (is_long or self._model.journal.touched >= _MOST_TOUCHED) and not self._reloading:
            self._compact()

    def _compact(self) -> None:
        """Shorten the journal; on a full disk it stays as long as it is."""
        self._applier.since_compaction = 0
        try:
            self._model.compact()
        except SqliteFailure as error:
            self._complain(error)

    # Another posteriors file

    async def reload(self) -> None:
        """Swap to the present content of the posteriors file, if it is another one.

        What was learned before this call is forgotten; feedback that arrives while the file is
        read counts in the new posteriors.
        """
        if self._member is not None:
            logger.error("a fleet keeps its posteriors file: give another one to a new --fleet")
            return
        if self._reloading:
            return
        self._reloading = True
        journal = self._model.journal
        keep_after, known = journal.seq, journal.meta("posteriors_hash")
        over = journal.meta("superseded")
        try:
            new = await asyncio.to_thread(self._model.prepare_replacement, known, over)
            if new is None:
                logger.info("%s has not changed", self._model.source)
                return
            self._model.replace(new, keep_after=keep_after)
            self._announce()
            logger.info("swapped to the new %s", self._model.source)
        except (MlkitError, OSError, SqliteFailure) as error:
            reason = error.message if isinstance(error, MlkitError) else str(error)
            logger.error("still on the old posteriors: %s", reason)
        finally:
            self._reloading = False


def _member(
    membership: Membership,
    model: Model,
    applier: Applier,
    counters: Counters,
    on_applied: Callable[[], None],
) -> Member:
    from mlkit.bandit.server.fleet.member import Member  # It needs the optional package redis.

    return Member(membership, model, applier, counters, on_applied)


def _roster(membership: Membership, counters: Counters, hosts: SharedDocument) -> Roster:
    from mlkit.bandit.server.fleet.roster import Roster  # It needs the optional package redis.

    return Roster(membership, counters, hosts)


def _table(version: Served, digest: str | None) -> Table:
    policy = str(version.header.spec) if isinstance(version, ServedModel) else None
    return Table(str(version.path), version.header.model, policy, str(digest or "")[:12])


class _Connection(asyncio.Protocol):
    """A worker."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None
        self.files = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._writer.add_worker(self)

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._writer.receive(self, message_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writer.remove_worker(self)

    def send(self, message: Announcement) -> None:
        """Send a message, unless the worker is gone."""
        if self._transport is not None:
            self._transport.write(frame(message))


def run(
    model: Model,
    listener: socket.socket,
    counters: Counters,
    observer: Observer,
    *,
    parent: int,
    new_arms: bool,
    settles: bool,
    on_used: Callable[[int], None],
    membership: Membership | None = None,
    hosts: SharedDocument | None = None,
    shared: SharedCounters,
) -> None:
    """Serve until SIGTERM or the supervisor's end; SIGHUP reads the posteriors file again.

    Args:
        model: The model.
        listener: The listening Unix socket.
        counters: Where to count.
        observer: Follows what is learned, for the dashboard.
        parent: The read end of the parent-death pipe.
        new_arms: Whether feedback may bring arms that were never added.
        settles: Whether decisions without a reward count as 0 when their time is over.
        on_used: Called with the number of workers that answer from the present table.
        membership: The fleet that this host is one of; None: it is alone.
        hosts: Where to publish what its hosts report; None: nowhere.
        shared: The counters of all processes.
    """

    async def serve() -> None:
        model.on_learned = observer.observe
        writer = Writer(
            model,
            counters,
            on_used,
            new_arms=new_arms,
            settles=settles,
            membership=membership,
            shared=shared,
        )
        publishing = [asyncio.create_task(_publish_often(observer))]
        if membership is not None and hosts is not None:
            publishing.append(asyncio.create_task(_roster(membership, counters, hosts).keep()))
        _connect_signals(writer, parent)
        collect_seldom()
        try:
            await writer.serve(listener)
        finally:
            for each in publishing:
                each.cancel()

    asyncio.run(serve())


async def _publish_often(observer: Observer) -> None:
    while True:
        observer.publish()
        await asyncio.sleep(_PUBLISHED_EVERY)


def _connect_signals(writer: Writer, parent: int) -> None:
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def supervisor_gone() -> None:
        loop.remove_reader(parent)
        writer.stop()

    def reload() -> None:
        reloads.add(task := loop.create_task(writer.reload()))
        task.add_done_callback(reloads.discard)

    loop.add_reader(parent, supervisor_gone)
    loop.add_signal_handler(signal.SIGTERM, writer.stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
