"""A worker's connection to the writer: it survives a restart of the writer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

from mlkit.bandit.server.learning.records import Change, Event, Shown
from mlkit.bandit.server.processes.protocol import (
    Announcement,
    ArmChange,
    Decided,
    Feedback,
    Frames,
    Reply,
    Request,
    Switch,
    TableInUse,
    TableReady,
    announcement_decoder,
    frame,
)

RETRY = 0.05
"""Seconds between attempts to connect."""


class WriterUnavailable(Exception):
    """The writer did not answer in time; whether it has accepted the message is not known."""


class WriterClient:
    """Sends changes to the writer and waits until they are on disk.

    A message that has no answer when the connection breaks is sent again on the next one. That
    is safe: events carry their ids, and arms are put and removed as a whole.

    Args:
        path: The writer's Unix socket.
        on_table: Called with each posterior table that the writer announces.
        timeout: Seconds to wait for an answer.
    """

    def __init__(
        self, path: str, on_table: Callable[[TableReady], None], *, timeout: float = 15.0
    ) -> None:
        self._path = path
        self._on_table = on_table
        self._timeout = timeout
        self._number = 0
        self._waiting: dict[int, tuple[bytes, asyncio.Future[Reply]]] = {}
        self._outbox: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None

    async def keep_connected(self) -> None:
        """Connect, and connect again whenever the writer goes away, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            lost: asyncio.Future[None] = loop.create_future()
            try:
                transport, _ = await loop.create_unix_connection(
                    partial(_Connection, self, lost), self._path
                )
            except OSError:
                await asyncio.sleep(RETRY)
                continue
            try:
                await lost
            finally:
                transport.close()

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Use a new connection."""
        self._transport = transport
        self._outbox = [message for message, _ in self._waiting.values()]
        self._flush()

    def detach(self) -> None:
        """Wait for the next connection."""
        self._transport = None

    async def feedback(self, events: list[Event]) -> Reply:
        """Send events and wait until they are on disk.

        Raises:
            WriterUnavailable: There was no answer in time.
        """
        return await self._ask(Feedback(self._next(), events))

    async def change_arm(self, change: Change) -> Reply:
        """Send a change of an arm and wait until it is on disk.

        Raises:
            WriterUnavailable: There was no answer in time.
        """
        return await self._ask(ArmChange(self._next(), change))

    async def commit_decisions(self, decisions: list[Shown]) -> Reply:
        """Send decisions that wait for rewards, and wait until they are on disk.

        Raises:
            WriterUnavailable: There was no answer in time.
        """
        return await self._ask(Decided(self._next(), decisions))

    async def switch(self, *, promote: bool) -> Reply:
        """Promote the candidate, or roll it back.

        Raises:
            WriterUnavailable: There was no answer in time.
        """
        return await self._ask(Switch(self._next(), promote))

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, request: Request | Switch) -> Reply:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Reply] = loop.create_future()
        message = frame(request)
        self._waiting[request.number] = message, answer
        if not self._outbox:
            loop.call_soon(self._flush)
        self._outbox.append(message)
        try:
            return await asyncio.wait_for(answer, self._timeout)
        except TimeoutError:
            raise WriterUnavailable from None
        finally:
            del self._waiting[request.number]

    def _flush(self) -> None:
        # Without a connection the messages stay in `_waiting`, from where the next one sends them.
        if self._transport is not None and self._outbox:
            self._transport.write(b"".join(self._outbox))
        self._outbox = []

    def receive(self, message: Announcement) -> None:
        """Hand a message of the writer to whom it concerns."""
        if isinstance(message, TableReady):
            self._on_table(message)
            if self._transport is not None:
                self._transport.write(frame(TableInUse(message.files)))
        elif message.number in self._waiting:
            answer = self._waiting[message.number][1]
            if not answer.done():
                answer.set_result(message)


class _Connection(asyncio.Protocol):
    """Hands over the messages of the writer."""

    def __init__(self, client: WriterClient, lost: asyncio.Future[None]) -> None:
        self._client = client
        self._lost = lost
        self._frames = Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._client.attach(cast("asyncio.WriteTransport", transport))

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._client.receive(announcement_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.detach()
        if not self._lost.done():
            self._lost.set_result(None)
