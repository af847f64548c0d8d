"""The HTTP protocol of a worker: uvicorn's, with one system call for an answer.

uvicorn writes the head of an answer and its body apart, and uvloop sends each at once: two system
calls and two packets, which wake the client twice. Here what is written in one turn of the event
loop leaves together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class GatheredTransport:
    """A transport that keeps what is written until the event loop's next turn.

    All but `write` and `close` is the underlying transport's.

    Args:
        transport: Where to write.
        loop: The event loop that the transport belongs to.
    """

    __slots__ = ("_loop", "_parts", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send data, in order, no later than in the loop's next turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts and not self.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose answers leave in one piece."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(cast(asyncio.Transport, GatheredTransport(transport, self.loop)))
