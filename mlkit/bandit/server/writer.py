"""The writer process: it makes feedback durable, then visible, then acknowledges it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sqlite3
from collections.abc import Callable
from typing import cast

from mlkit.bandit.server import metrics
from mlkit.bandit.server.journal import Event, Kind, Rejection
from mlkit.bandit.server.model import Model
from mlkit.bandit.server.protocol import (
    Accepted,
    Announcement,
    ArmChange,
    ArmChanged,
    Conflict,
    Failed,
    Feedback,
    Frames,
    Message,
    Reply,
    Request,
    TableInUse,
    TableReady,
    UnknownArm,
    frame,
    message_decoder,
)
from mlkit.bandit.server.served_model import ServedModel
from mlkit.errors import MlkitError
from mlkit.web.metrics import Counters

COMPACT_AFTER = 50_000
"""Changes in the journal before they are compacted into the snapshot."""
_HOUSEKEEPING = 5.0
Outcome = list[bool] | Rejection | None
"""Of feedback: which events are repeats, or a rejection. None: there was no arm to remove."""
logger = logging.getLogger("mlkit.bandit.server")


class Writer:
    """Commits what the workers send in groups: one commit, one sync per group.

    A group is what has arrived while the one before was on its way to the disk.

    Args:
        model: The model, which nobody else changes.
        counters: Where to count.
        on_used: Called with the number of workers that answer from the present table.
        new_arms: Whether feedback may bring arms that were never added.
    """

    def __init__(
        self,
        model: Model,
        counters: Counters,
        on_used: Callable[[int], None],
        *,
        new_arms: bool,
    ) -> None:
        self._model = model
        self._new_arms = new_arms
        self._failing = False
        self._on_used = on_used
        self._counters = counters
        self._begun = counters.layout.counters[metrics.BEGUN]
        self._shown = counters.layout.counters[metrics.SHOWN]
        for place in (self._begun, self._shown):
            counters.values[place] = model.journal.seq
        self._connections: set[_Connection] = set()
        self._group: list[tuple[_Connection, Request]] = []
        self._announced = model.posteriors.path
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
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            await self._finished
        finally:
            housekeeping.cancel()
        server.close()
        self._model.compact()
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
            try:
                self._model.journal.keep_house()
            except sqlite3.Error as error:
                self._complain(error)

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
        posteriors = self._model.posteriors
        policy = posteriors.header.spec if isinstance(posteriors, ServedModel) else None
        base = str(self._model.journal.meta("posteriors_hash") or "")[:12]
        policy_text = None if policy is None else str(policy)
        return TableReady(str(posteriors.path), posteriors.header.model, policy_text, base)

    def _announce(self) -> None:
        self._announced = self._model.posteriors.path
        for connection in self._connections:
            connection.send(self._table_ready())

    def received(self, connection: _Connection, request: Message) -> None:
        """Put a message into the next group."""
        if isinstance(request, TableInUse):
            connection.table = request.path
            present = str(self._model.posteriors.path)
            self._on_used(sum(each.table == present for each in self._connections))
            return
        if not self._group:
            asyncio.get_running_loop().call_soon(self._commit_group)
        self._group.append((connection, request))

    # Groups

    def _commit_group(self) -> None:
        group, self._group = self._group, []
        try:
            self._commit(group)
        except Exception as error:
            if not self._finished.done():
                self._finished.set_exception(error)

    def _commit(self, group: list[tuple[_Connection, Request]]) -> None:
        replies = self._replies([request for _, request in group])
        if self._model.posteriors.path != self._announced:
            self._announce()
        for (connection, _), reply in zip(group, replies, strict=True):
            connection.send(reply)
        self._compact_if_long()

    def _replies(self, requests: list[Request]) -> list[Reply]:
        try:
            with self._model.journal.transaction():
                outcomes = [self._write(request) for request in requests]
        except sqlite3.Error as error:
            self._complain(error)
            return [Failed(request.number, str(error)) for request in requests]
        self._failing = False
        self._counters.add(metrics.COMMITS)
        pairs = zip(requests, outcomes, strict=True)
        self._counters.values[self._begun] = self._model.journal.seq
        replies = [self._apply(request, outcome) for request, outcome in pairs]
        self._model.posteriors.show()
        self._counters.values[self._shown] = self._model.journal.seq
        return replies

    def _complain(self, error: sqlite3.Error) -> None:
        """Report a journal that cannot be written, once until it can be again."""
        if not self._failing:
            logger.error("the journal cannot be written: %s", error)
        self._failing = True

    def _write(self, request: Request) -> Outcome:
        """Append a message to the journal."""
        if isinstance(request, Feedback):
            return self._model.journal.append_events(request.events, self._is_known)
        change = request.change
        if change.kind == Kind.REMOVE and not self._model.posteriors.has(change.arm):
            return None
        self._model.journal.append([change])
        return []

    def _is_known(self, arm: str) -> bool:
        posteriors = self._model.posteriors
        return posteriors.knows(arm) or (self._new_arms and posteriors.new_arms_learn)

    def _apply(self, request: Request, outcome: Outcome) -> Reply:
        """Apply a committed message to the table."""
        if outcome is None:
            return ArmChanged(request.number, existed=False)
        if isinstance(request, ArmChange):
            self._since_compaction += 1
            return ArmChanged(request.number, self._model.posteriors.apply(request.change))
        if isinstance(outcome, Rejection):
            return self._rejected(request, outcome)
        pairs = zip(request.events, outcome, strict=True)
        ignored = [not repeat and not self._reward(event) for event, repeat in pairs]
        self._count(outcome, ignored)
        return Accepted(request.number, outcome, ignored)

    def _rejected(self, request: Feedback, rejection: Rejection) -> Reply:
        if rejection.is_conflict:
            self._counters.add(metrics.CONFLICTS)
            return Conflict(request.number, rejection.place)
        self._counters.add(metrics.UNKNOWN_EVENTS)
        return UnknownArm(request.number, rejection.place)

    def _reward(self, event: Event) -> bool:
        return self._model.posteriors.apply(event.change())

    def _count(self, repeats: list[bool], ignored: list[bool]) -> None:
        duplicates, unused = sum(repeats), sum(ignored)
        self._since_compaction += len(repeats) - duplicates
        self._counters.add(metrics.DUPLICATES, duplicates)
        self._counters.add(metrics.IGNORED, unused)
        self._counters.add(metrics.EVENTS, len(repeats) - duplicates - unused)

    def _compact_if_long(self) -> None:
        if self._since_compaction < COMPACT_AFTER or self._reloading:
            return
        self._since_compaction = 0
        try:
            self._model.compact()
        except sqlite3.Error as error:
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
        try:
            new = await asyncio.to_thread(self._model.prepare_replacement, known)
            if new is None:
                logger.info("%s has not changed", self._model.source)
                return
            self._model.replace(new, keep_after=keep_after)
            self._announce()
            logger.info("swapped to the new %s", self._model.source)
        except (MlkitError, OSError, sqlite3.Error) as error:
            reason = error.message if isinstance(error, MlkitError) else str(error)
            logger.error("still on the old posteriors: %s", reason)
        finally:
            self._reloading = False


class _Connection(asyncio.Protocol):
    """A worker."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None
        self.table = ""

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
    on_used: Callable[[int], None],
) -> None:
    """Serve until SIGTERM or the supervisor's end; SIGHUP reads the posteriors file again.

    Args:
        model: The model.
        listener: The listening Unix socket.
        counters: Where to count.
        parent: The read end of the parent-death pipe.
        new_arms: Whether feedback may bring arms that were never added.
        on_used: Called with the number of workers that answer from the present table.
    """

    async def serve() -> None:
        writer = Writer(model, counters, on_used, new_arms=new_arms)
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
