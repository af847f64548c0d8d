"""A server of direct answers, and a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from mlkit.web.access import Access
from mlkit.web.application import Application, Operation, Request, Response, Route
from mlkit.web.direct import DirectAnswers
from mlkit.web.direct_protocol import DirectProtocol
from mlkit.web.metrics import Layout, SharedCounters
from mlkit.web.protocol import Clock, ConnectionLimits

LIMITS = ConnectionLimits(body_seconds=30, idle_seconds=75)
MAX_BODY = 200_000
CHUNKED = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


def request(body: bytes, *headers: bytes, line: bytes = b"POST /echo HTTP/1.1") -> bytes:
    length = b"content-length: %d" % len(body)
    return b"\r\n".join((line, b"host: x", length, *headers, b"", body))


class Service:
    """A server whose application and direct operation say who answers what."""

    def __init__(self, access: Access | None = None) -> None:
        self.clock = Clock()
        self.state = ServerState()
        self.counters = SharedCounters(Layout(("/echo", "/other", "other")), 1)
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.access = access
        self.writer: asyncio.StreamWriter = None  # type: ignore[assignment]
        self.asked: list[bytes] = []

    async def general(self, request: Request) -> Response:
        await self.go_on.wait()
        return Response(b'"general %d"' % len(request.body))

    def direct(self, body: bytes) -> bytes | None:
        self.asked.append(body)
        if body == b"defect":
            raise ZeroDivisionError
        return b'"direct %d"' % len(body) if body.startswith(b"usual") else None

    async def __aenter__(self) -> Service:
        role = None if self.access is None else "reader"
        echo = Operation(self.general, id="echo", summary="", tag="", role=role, direct=self.direct)
        other = Operation(self.general, id="other", summary="", tag="")
        routes = {
            "/echo": Route("/echo", {"POST": echo}),
            "/other": Route("/other", {"GET": other}),
        }
        application = Application(
            routes, self.counters.row(0), max_body=MAX_BODY, access=self.access
        )
        self.answers = DirectAnswers(application.direct_operations())
        config = uvicorn.Config(application, lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        self.state.default_headers = [(b"date", b"today, 100 %d")]
        protocol = partial(
            DirectProtocol,
            direct=self.answers,
            limits=LIMITS,
            clock=self.clock,
            on_refusal=lambda status: None,
            config=config,
            server_state=self.state,
            app_state={},
        )
        self.protocol = protocol
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "127.0.0.1", 0)
        await self.connect()
        return self

    async def connect(self) -> None:
        """Use a new connection in place of the one before."""
        if self.writer is not None:
            self.writer.close()
            await self.writer.wait_closed()
        address = self._server.sockets[0].getsockname()
        self.reader, self.writer = await asyncio.open_connection(*address[:2])

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()
        self._server.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Read an answer: its status and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            return 100, b""
        assert b"date: today, 100 %d\r\n" in head or b"400" in head or b"408" in head
        length = next(x for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
        body = await self.reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1]), body

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await asyncio.sleep(0.001)

    @property
    def connection(self) -> DirectProtocol:
        (found,) = self.state.connections
        assert isinstance(found, DirectProtocol)
        return found

    def sweep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.connection.sweep()


def served(
    test: Callable[[Service], Coroutine[Any, Any, None]], access: Access | None = None
) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), Service(access) as service:
            await test(service)

    asyncio.run(run())
