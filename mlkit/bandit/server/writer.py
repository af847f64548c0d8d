"""The writer process: it makes feedback durable, then visible, then acknowledges it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from typing import cast

from mlkit.bandit.server import metrics
from mlkit.bandit.server.attribution import settle_due
from mlkit.bandit.server.event_batch import Appended, Reason, Rejection, append_events
from mlkit.bandit.server.model import Model, Served
from mlkit.bandit.server.protocol import (
    Accepted,
    Announcement,
    ArmChange,
    ArmChanged,
    Conflict,
    Decided,
    Failed,
    Feedback,
    Frames,
    Kept,
    Message,
    Reply,
    Request,
    Switch,
    Switched,
    Table,
    TableInUse,
    TableReady,
    UnknownArm,
    UnknownEvent,
    frame,
    message_decoder,
)
from mlkit.bandit.server.records import Change, Kind
from mlkit.bandit.server.served_model import ServedModel
from mlkit.errors import MlkitError
from mlkit.storage.sqlite_file import SqliteFailure
from mlkit.web.metrics import Counters

COMPACT_AFTER = 50_000
"""Changes in the journal before they are compacted into the snapshot."""
_HOUSEKEEPING = 5.0
_SETTLING = 1.0
_SETTLED_AT_ONCE = 2000
Outcome = Appended | Rejection | bool
"""Of feedback what was appended, or a rejection; of the rest whether there was anything to do."""
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
    """

    def __init__(
        self,
        model: Model,
        counters: Counters,
        on_used: Callable[[int], None],
        *,
        new_arms: bool,
        settles: bool = False,
    ) -> None:
        self._model = model
        self._new_arms, self._settles = new_arms, settles
        self._failing = False
        self._on_used = on_used
        self._counters = counters
        self._begun = counters.layout.counters[metrics.BEGUN]
        self._shown = counters.layout.counters[metrics.SHOWN]
        for place in (self._begun, self._shown):
            counters.values[place] = model.journal.seq
        self._connections: set[_Connection] = set()
        self._group: list[tuple[_Connection, Request]] = []
        self._announced = model.files()
        self._since_compaction = 0
        self._reloading = False
        self._stopping = False
        self._finished = asyncio.get_running_loop().create_future()

    async def serve(self, listener: socket.socket) -> None:
        """Serve the workers until `stop`, and then until the last of them is gone.

        Raises:
            Exception: The table could not be changed as the journal says. Only a new start,
                which makes a new table, helps.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: _Connection(self), sock=listener)
        tasks = [asyncio.create_task(self._keep_house())]
        if self._settles:
            tasks.append(asyncio.create_task(self._settle_often()))
        try:
            await self._finished
        finally:
            for task in tasks:
                task.cancel()
        server.close()
        self._compact()
        self._model.journal.close()

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

    async def _settle_often(self) -> None:
        while True:
            while self._settle() == _SETTLED_AT_ONCE:
                await asyncio.sleep(0)
            await asyncio.sleep(_SETTLING)

    def _settle(self) -> int:
        """Count zeros of decisions whose time is over; return of how many decisions."""
        model, knows = self._model, self._model.knows
        try:
            with model.journal.transaction():
                settled = settle_due(model.journal, time.time(), _SETTLED_AT_ONCE, knows)
        except SqliteFailure as failure:
            self._complain(failure)
            return 0
        if settled.zeros:
            self._counters.add(metrics.COMMITS)
            self._counters.add(metrics.ZEROS, len(settled.zeros))
            self._since_compaction += len(settled.zeros)
            self._show(settled.zeros)
        return settled.decisions

    def _show(self, changes: list[Change]) -> None:
        """Apply committed changes, so that all workers see them."""
        try:
            self._counters.values[self._begun] = self._model.journal.seq
            for change in changes:
                self._model.apply(change)
            self._model.show()
            self._counters.values[self._shown] = self._model.journal.seq
            if self._model.files() != self._announced:
                self._announce()
            self._compact_if_long()
        except Exception as error:
            if not self._finished.done():
                self._finished.set_exception(error)

    # Connections

    def joined(self, connection: _Connection) -> None:
        """Announce the table to a new worker."""
        self._connections.add(connection)
        connection.send(self._table_ready())

    def left(self, connection: _Connection) -> None:
        """Forget a worker; what it has sent is still committed."""
        self._connections.discard(connection)
        self._check_idle()

    def _table_ready(self) -> TableReady:
        model, meta = self._model, self._model.journal.meta
        stable = _table(model.posteriors, meta("posteriors_hash"))
        other = model.candidate
        candidate = None if other is None else _table(other, meta("candidate_hash"))
        return TableReady(model.files(), stable, candidate)

    def _announce(self) -> None:
        self._announced = self._model.files()
        for connection in self._connections:
            connection.send(self._table_ready())

    def received(self, connection: _Connection, request: Message) -> None:
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
        self._commit_group()
        model = self._model
        try:
            existed = model.promote() if request.promote else model.roll_back()
        except SqliteFailure as error:
            self._complain(error)
            connection.send(Failed(request.number, str(error)))
            return
        if existed:
            logger.info("the candidate is %s", "promoted" if request.promote else "rolled back")
            self._announce()
        connection.send(Switched(request.number, existed))

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
        replies = self._replies([request for _, request in group])
        if self._model.files() != self._announced:
            self._announce()
        for (connection, _), reply in zip(group, replies, strict=True):
            connection.send(reply)
        self._compact_if_long()

    def _replies(self, requests: list[Request]) -> list[Reply]:
        try:
            with self._model.journal.transaction():
                outcomes = [self._write(request) for request in requests]
        except SqliteFailure as error:
            self._complain(error)
            return [Failed(request.number, str(error)) for request in requests]
        self._failing = False
        self._counters.add(metrics.COMMITS)
        pairs = zip(requests, outcomes, strict=True)
        self._counters.values[self._begun] = self._model.journal.seq
        replies = [self._apply(request, outcome) for request, outcome in pairs]
        self._model.show()
        self._counters.values[self._shown] = self._model.journal.seq
        return replies

    def _complain(self, error: SqliteFailure) -> None:
        """Report a journal that cannot be written, once until it can be again."""
        if not self._failing:
            logger.error("the journal cannot be written: %s", error)
        self._failing = True

    def _write(self, request: Request) -> Outcome:
        """Append a message to the journal."""
        if isinstance(request, Feedback):
            return append_events(self._model.journal, request.events, self._is_known)
        if isinstance(request, Decided):
            self._model.journal.keep(request.decisions)
            return True
        change = request.change
        if change.kind == Kind.REMOVE and not self._model.has(change.arm):
            return False
        self._model.journal.append([change])
        return True

    def _is_known(self, arm: str) -> bool:
        learn = self._new_arms and self._model.posteriors.new_arms_learn
        return learn or self._model.knows(arm)

    def _apply(self, request: Request, outcome: Outcome) -> Reply:
        """Apply a committed message to the table."""
        if isinstance(request, Decided):
            return Kept(request.number)
        if isinstance(request, ArmChange):
            self._since_compaction += bool(outcome)
            existed = bool(outcome) and self._model.apply(request.change)
            return ArmChanged(request.number, existed)
        if isinstance(outcome, Rejection):
            return self._rejected(request, outcome)
        assert isinstance(outcome, Appended)
        ignored = [self._is_ignored(changes) for changes in outcome.changes]
        self._count(outcome, ignored)
        return Accepted(request.number, outcome.repeats, ignored, outcome.replaced)

    def _rejected(self, request: Feedback, rejection: Rejection) -> Reply:
        if rejection.reason is Reason.CONFLICT:
            self._counters.add(metrics.CONFLICTS)
            return Conflict(request.number, rejection.place)
        if rejection.reason is Reason.UNKNOWN_EVENT:
            return UnknownEvent(request.number, rejection.place)
        self._counters.add(metrics.UNKNOWN_EVENTS)
        return UnknownArm(request.number, rejection.place)

    def _is_ignored(self, changes: list[Change]) -> bool:
        """Apply the changes of an event; return whether there were some, and none was of use."""
        applied = [self._model.apply(change) for change in changes]
        return bool(applied) and not any(applied)

    def _count(self, appended: Appended, ignored: list[bool]) -> None:
        duplicates, unused = sum(appended.repeats), sum(ignored)
        counted = len(ignored) - duplicates - unused
        amended = sum(replaced is not None for replaced in appended.replaced)
        self._since_compaction += sum(map(len, appended.changes))
        self._counters.add(metrics.DUPLICATES, duplicates)
        self._counters.add(metrics.IGNORED, unused)
        self._counters.add(metrics.EVENTS, counted)
        self._counters.add(metrics.AMENDED, amended)

    def _compact_if_long(self) -> None:
        if self._since_compaction < COMPACT_AFTER or self._reloading:
            return
        self._compact()

    def _compact(self) -> None:
        """Shorten the journal; on a full disk it stays as long as it is."""
        self._since_compaction = 0
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
        self._writer.joined(self)

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._writer.received(self, message_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writer.left(self)

    def send(self, message: Announcement) -> None:
        """Send a message, unless the worker is gone."""
        if self._transport is not None:
            self._transport.write(frame(message))


def run(
    model: Model,
    listener: socket.socket,
    counters: Counters,
    *,
    parent: int,
    new_arms: bool,
    settles: bool,
    on_used: Callable[[int], None],
) -> None:
    """Serve until SIGTERM or the supervisor's end; SIGHUP reads the posteriors file again.

    Args:
        model: The model.
        listener: The listening Unix socket.
        counters: Where to count.
        parent: The read end of the parent-death pipe.
        new_arms: Whether feedback may bring arms that were never added.
        settles: Whether decisions without a reward count as 0 when their time is over.
        on_used: Called with the number of workers that answer from the present table.
    """

    async def serve() -> None:
        writer = Writer(model, counters, on_used, new_arms=new_arms, settles=settles)
        _connect_signals(writer, parent)
        await writer.serve(listener)

    asyncio.run(serve())


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
