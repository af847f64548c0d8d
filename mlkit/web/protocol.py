"""The HTTP/1.1 protocol of a connection: uvicorn's, with limits and in one system call an answer.

What a client may take before anything is known of it is bounded here: the size of a head and the
time it takes (431, 408), the time of a body (408), the number of connections (503), the time in
which an answer is fetched. Errors of the protocol are documents like all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from mlkit.web import errors
from mlkit.web.bodies import CLIENT_ENDED
from mlkit.web.defaults import CONNECTIONS

_LINGER = 2.0
_MOST_DISCARDED = 1 << 20


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may take.

    Attributes:
        connections: Connections of one process; more are answered 503.
        head_bytes: Bytes of a request's line and headers.
        head_seconds: Time for a head, from its first byte, or from the connection.
        body_seconds: Time for a body, and then one second more for each `body_rate` bytes.
        body_rate: Bytes a second that a slow body has to reach.
        fetch_seconds: Time in which a client has to take some of an answer.
        idle_seconds: Time between two requests of a connection.
    """

    connections: int = CONNECTIONS
    head_bytes: int = 64 << 10
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    body_rate: float = 10_000.0
    fetch_seconds: float = 60.0
    idle_seconds: float = 75.0


class GatheredTransport:
    """A transport that keeps what is written until the event loop's next turn.

    uvicorn writes the head of an answer and its body apart, and uvloop sends each at once: two
    system calls and two packets, which wake the client twice. Here they leave together.
    All but what begins with `write`, and `close`, is the underlying transport's.

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

    def write_now(self, data: bytes) -> None:
        """Send data at once, if nothing before it waits: a whole answer has nothing to wait for."""
        if self._parts:
            self._parts.append(data)
        else:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Send what was written, then the end of the stream."""
        self._flush()
        if not self.is_closing():
            self._transport.write_eof()

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


class Refusal(Exception):
    """A request that does not reach the application."""

    def __init__(self, status: int, error: str, hint: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint


class Phase(Enum):
    """What a connection is doing."""

    HEAD = "reading the head of a request, or waiting for the first one"
    BODY = "reading the body of a request"
    COMPLETE = "answering, or waiting for the next request"
    ENDED = "nothing more is read"


HEAD, BODY, COMPLETE, ENDED = Phase  # a look-up less for each, several times a request
_MALFORMED = Refusal(400, "malformed HTTP request", "the request is HTTP/1.1 (RFC 9112)")
_INCOMPLETE = Refusal(400, "the request is incomplete", "send the whole request before closing")
_SLOW_HEAD = Refusal(408, "the request's head took too long", "send the request in one go")
_SLOW_BODY = Refusal(408, "the request's body took too long", "send the request in one go")
_FULL = Refusal(503, "too many connections", "close idle ones, or try again in a moment")
_NO_HOST = Refusal(400, "not one header `Host`", "HTTP/1.1 requests carry it once (RFC 9112)")
_PADDED = Refusal(400, "chunks that are too small", "send larger chunks, without extensions")


class Clock:
    """The time of the last sweep, on the event loop's clock: exact enough for limits."""

    now = 0.0


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 within limits.

    Args:
        limits: What a connection may take.
        clock: The time of the last sweep.
        on_refusal: Called with the status of a request that does not reach the application.
        uvicorn: What uvicorn hands to its protocols.
    """

    def __init__(
        self,
        *,
        limits: ConnectionLimits,
        clock: Clock,
        on_refusal: Callable[[int], None],
        **uvicorn: Any,
    ) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self._clock = clock
        self._on_refusal = on_refusal
        self._phase = HEAD
        self._since = clock.now
        self._raw_bytes = 0  # of the head or of the body, as they are on the wire
        self._body_bytes = 0
        self._hosts = 0
        self._refusal = _MALFORMED
        self._unfetched = 0

    # Bytes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        gathered = GatheredTransport(transport, self.loop)
        self._write_now = gathered.write_now
        super().connection_made(cast(asyncio.Transport, gathered))
        self._since = self._clock.now
        if len(self.connections) > self._limits.connections:
            self._refuse(_FULL)

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._phase is ENDED:
            self._discard(data)
            return
        if self._phase is COMPLETE:
            self._begin_head()
        self._unset_keepalive_if_required()
        self._raw_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No other protocol is spoken here: the request is answered, and nothing after it.
            self._end()
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            self._check_size()

    def _begin_head(self) -> None:
        self._phase = HEAD
        self._since = self._clock.now
        self._raw_bytes = 0

    def _check_size(self) -> None:
        if self._phase is HEAD and self._raw_bytes > self._limits.head_bytes:
            self._refuse(self._large_head())
        # Chunk extensions and trailers are not part of the body, and nobody else would count them.
        most = self._limits.head_bytes + 8 * self._body_bytes
        if self._phase is BODY and self._raw_bytes > most:
            self._refuse(_PADDED)

    def _large_head(self) -> Refusal:
        most = self._limits.head_bytes
        return Refusal(431, f"the request's head has more than {most} bytes", "send less in it")

    def _discard(self, data: bytes) -> None:
        """Read on for a while, since closing now could take the answer from the client."""
        self._raw_bytes += len(data)
        if self._raw_bytes > _MOST_DISCARDED:
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Take that the client sends nothing more; it still gets its answers.

        An answer that waits for something hears of it: most often the client has left.
        """
        if self._phase is BODY or (self._phase is HEAD and self._raw_bytes):
            self._refuse(_INCOMPLETE)
        if not self._is_answering():
            self.transport.close()
        else:
            self._end()
            cast(dict[str, Any], self.cycle.scope)[CLIENT_ENDED] = True
            self.cycle.message_event.set()
        return True

    # Requests

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._hosts = 0
        if self._phase is COMPLETE:  # it came with the one before
            self._begin_head()

    def on_headers_complete(self) -> None:
        """Check the head, and hand the request to the application.

        Raises:
            Refusal: The request does not reach the application.
        """
        self._check_head()
        self._start()
        self._phase = BODY
        self._since = self._clock.now
        self._raw_bytes = self._body_bytes = 0

    def _start(self) -> None:
        """Hand a request whose head is complete to the application."""
        super().on_headers_complete()

    def _check_head(self) -> None:
        if self._raw_bytes > self._limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._limits.head_bytes:
                self._stop_parsing(self._large_head())
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() == "1.1"):
            self._stop_parsing(_NO_HOST)

    def _stop_parsing(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise refusal

    # The following run for every request or header, and do all that uvicorn's do for a server
    # without WebSockets; what they add is paid for by what they leave out.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        self._phase = COMPLETE
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # Limits

    def sweep(self) -> None:
        """Cut off what takes too long; called about once a second."""
        age = self._clock.now - self._since
        match self._phase:
            case Phase.HEAD:
                if age > self._limits.head_seconds:
                    self._refuse(_SLOW_HEAD) if self._raw_bytes else self.transport.close()
            case Phase.BODY:
                earned = self._body_bytes / self._limits.body_rate
                if age > self._limits.body_seconds + earned:
                    self._refuse(_SLOW_BODY)
            case Phase.COMPLETE:
                self._check_fetching(age)
            case Phase.ENDED:
                self._check_end(age)

    def _check_end(self, age: float) -> None:
        if self._is_answering() or self.transport.get_write_buffer_size():
            self._check_fetching(age)
        elif age > _LINGER:
            self.transport.abort()

    def _check_fetching(self, age: float) -> None:
        """Abort a connection whose client takes nothing of its answer."""
        left = self.transport.get_write_buffer_size()
        if left == 0 or left != self._unfetched:
            self._since = self._clock.now
            self._unfetched = left
        elif age > self._limits.fetch_seconds:
            self.transport.abort()

    # Ends

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _end(self) -> None:
        """Read nothing more; what is being answered is the last."""
        self._phase = ENDED
        self._since = self._clock.now
        self._raw_bytes = 0
        if self._is_answering():
            self.cycle.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, unless an answer is on its way already."""
        reading_body = self._phase is BODY
        if reading_body and self._is_answering() and not self.cycle.response_started:
            # The application waits for the body, and learns that it does not come.
            self.cycle.disconnected = self.cycle.response_complete = True
            self.cycle.message_event.set()
        self._on_refusal(refusal.status)
        self._end()
        if self._is_answering() or (reading_body and self.pipeline):
            # A second answer must not come between the parts of the first, or before it.
            if reading_body:
                self.transport.close()
            return
        if not reading_body or self.cycle.disconnected:
            self.transport.write(_as_http(refusal))
        self.transport.write_eof()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP."""
        self._refuse(_MALFORMED)


def _as_http(refusal: Refusal) -> bytes:
    body = errors.document(refusal.error, refusal.hint)
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return STATUS_LINE[refusal.status] + head % len(body) + body
