"""What a connection may take: heads, bodies, time, their number, and how it ends.

Time passes only where a test moves the clock and sweeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mlkit.web.protocol import Clock, ConnectionLimits, LimitedProtocol

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
LIMITS = ConnectionLimits(connections=3, head_bytes=1000, head_seconds=10, body_seconds=30)


class Service:
    """A server with an application that answers with the size of what it got."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = ServerState()
        self.refused: list[int] = []
        self.heads = 0
        self.gone = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._open: list[asyncio.StreamWriter] = []

    async def application(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.heads += 1
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            size, more = size + len(message["body"]), message.get("more_body", False)
        await self.go_on.wait()
        body = f"{size} bytes".encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def __aenter__(self) -> Service:
        config = uvicorn.Config(
            self.application,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        config.load()
        protocol = partial(
            LimitedProtocol,
            limits=LIMITS,
            clock=self.clock,
            on_refusal=self.refused.append,
            config=config,
            server_state=self.state,
            app_state={},
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        for writer in self._open:
            writer.close()
        self._server.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def connect(self) -> Client:
        before = len(self.state.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open.append(writer)
        await eventually(lambda: len(self.state.connections) > before)
        return Client(reader, writer)

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for connection in list(self.state.connections):
            assert isinstance(connection, LimitedProtocol)
            connection.sweep()
        await asyncio.sleep(0)

    async def until_read(self, size: int) -> None:
        """Wait until the only connection has read so much of its head or body."""
        (connection,) = self.state.connections
        await eventually(lambda: connection._raw_bytes >= size)  # type: ignore[union-attr]


class Client:
    """The other end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 30)

    async def answer(self) -> bytes:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 180)
        (length,) = (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return head + await self.reader.readexactly(length)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(180):
        while not condition():
            await asyncio.sleep(0.005)


def refused(text: bytes, status: int) -> str:
    """Check that an answer is one error document, and the last."""
    head, _, body = text.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), text
    assert b"connection: close" in head
    assert b"content-type: application/json" in head
    document = json.loads(body)
    assert set(document) == {"error", "hint"}
    return str(document["error"])


def run(scenario: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with Service() as service:
            await scenario(service)

    asyncio.run(main())


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X: " + b"a" * 2000,
        HEAD + b"X: " + b"a" * 2000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * 500,
        b"GET /" + b"a" * 2000,
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G" * 5 + b" / HTTP/1.1\r\n" + b"A" * 3000,
    ],
)
def test_a_large_head_is_refused_before_the_application_sees_it(head: bytes) -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(head)
        text = await client.rest()
        status = 400 if head.startswith(b"GGGGG") else 431  # no method begins so
        refused(text, status)
        assert service.refused == [status]
        assert service.heads == 0

    run(scenario)


def test_a_head_that_comes_for_ever_is_cut_off() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(HEAD + b"X: ")
        with contextlib.suppress(OSError):  # whether it comes depends on who is faster
            for _ in range(1000):
                await client.send(b"a" * 65536)
                await asyncio.sleep(0)
        await eventually(lambda: not service.state.connections)
        assert service.refused == [431]

    run(scenario)


def test_a_head_of_almost_the_limit_and_one_after_it_are_read() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        request = HEAD + b"X: " + b"a" * 900 + b"\r\nContent-Length: 3\r\n\r\nabc"
        for _ in range(3):
            await client.send(request)
            assert (await client.answer()).endswith(b"3 bytes")
        await client.send(request * 2)  # in one packet
        assert (await client.answer()).endswith(b"3 bytes")
        assert (await client.answer()).endswith(b"3 bytes")

    run(scenario)


def test_a_slow_head_is_408_and_a_silent_connection_is_closed() -> None:
    async def scenario(service: Service) -> None:
        slow = await service.connect()
        await slow.send(HEAD)
        await service.until_read(len(HEAD))
        silent = await service.connect()
        await service.pass_time(9)
        assert len(service.state.connections) == 2
        await service.pass_time(2)
        refused(await slow.rest(), 408)
        assert await silent.rest() == b""
        assert service.refused == [408]

    run(scenario)


def test_the_time_of_a_head_counts_anew_for_each_request() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        for _ in range(3):
            await client.send(HEAD + b"Content-Length: 0\r\n")
            await service.pass_time(8)
            await client.send(b"\r\n")
            assert (await client.answer()).endswith(b"0 bytes")
            await service.pass_time(40)  # idle, which has a limit of its own

    run(scenario)


def test_a_slow_body_is_408_and_the_application_learns_that_it_does_not_come() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(HEAD + b"Content-Length: 100\r\n\r\nab")
        await eventually(lambda: service.heads == 1)
        await service.pass_time(29)
        await client.send(b"c")
        await service.pass_time(2)
        assert "body" in refused(await client.rest(), 408)
        await eventually(lambda: service.gone == 1)

    run(scenario)


def test_a_body_that_comes_fast_enough_may_take_longer() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        size = 1_000_000
        await client.send(HEAD + b"Content-Length: %d\r\n\r\n" % (size + 1))
        await client.send(b"a" * size)
        (connection,) = service.state.connections
        await eventually(lambda: connection._body_bytes == size)  # type: ignore[union-attr]
        await service.pass_time(100)
        await client.send(b"b")
        assert (await client.answer()).endswith(b"1000001 bytes")

    run(scenario)


@pytest.mark.parametrize(
    "padding",
    [b"1;" + b"x" * 30_000 + b"\r\na\r\n", b"0\r\n" + b"X: y\r\n" * 5_000],
    ids=["extensions", "trailers"],
)
def test_what_is_no_body_of_a_chunked_one_is_limited(padding: bytes) -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await eventually(lambda: service.heads == 1)
        await client.send(padding)
        text = await client.rest()
        assert text.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), text
        await eventually(lambda: service.gone == 1)

    run(scenario)


def test_small_chunks_are_read() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        chunks = b"1\r\na\r\n" * 3000 + b"0\r\n\r\n"
        await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert (await client.answer()).endswith(b"3000 bytes")

    run(scenario)


def test_more_connections_than_allowed_are_503() -> None:
    async def scenario(service: Service) -> None:
        clients = [await service.connect() for _ in range(3)]
        fourth = await service.connect()
        refused(await fourth.rest(), 503)
        fourth.writer.close()
        clients[0].writer.close()
        await eventually(lambda: len(service.state.connections) < 3)
        again = await service.connect()
        await again.send(HEAD + b"Content-Length: 0\r\n\r\n")
        assert (await again.answer()).endswith(b"0 bytes")

    run(scenario)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nhOsT: a\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_a_request_names_its_host_once(head: bytes, status: int) -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(head)
        assert (await client.answer()).startswith(b"HTTP/1.1 %d " % status)
        assert service.heads == (status == 200)

    run(scenario)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"no http\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_by_a_document(data: bytes) -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(data)
        refused(await client.rest(), 400)

    run(scenario)


def test_an_error_does_not_come_before_the_answer_of_the_request_before_it() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        service.go_on.clear()
        await client.send(HEAD + b"Content-Length: 1\r\n\r\na" + b"no http\r\n\r\n")
        await eventually(lambda: bool(service.refused))
        service.go_on.set()
        text = await client.rest()
        assert text.startswith(b"HTTP/1.1 200")
        assert text.endswith(b"1 bytes")

    run(scenario)


def test_a_client_that_has_closed_its_half_gets_its_answers() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        service.go_on.clear()
        request = HEAD + b"Content-Length: 2\r\n\r\nab"
        await client.send(request * 2)
        client.writer.write_eof()
        await eventually(lambda: service.heads == 1)
        await asyncio.sleep(0.05)
        service.go_on.set()
        assert (await client.rest()).count(b"2 bytes") == 2

    run(scenario)


@pytest.mark.parametrize("part", [HEAD, HEAD + b"Content-Length: 9\r\n\r\nabc"])
def test_half_a_request_and_the_end_are_answered_by_an_error(part: bytes) -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        await client.send(part)
        client.writer.write_eof()
        assert "incomplete" in refused(await client.rest(), 400)
        await eventually(lambda: not service.state.connections)

    run(scenario)


def test_an_upgrade_is_answered_as_the_request_that_it_is() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + wish)
        assert (await client.rest()).startswith(b"HTTP/1.1 200")

    run(scenario)


def test_a_client_that_takes_nothing_of_its_answers_is_cut_off() -> None:
    async def scenario(service: Service) -> None:
        client = await service.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        (connection,) = service.state.connections
        connection.transport.write(b"a" * (32 << 20))
        await asyncio.sleep(0.05)
        await client.send(b"")
        connection._phase = type(connection._phase).COMPLETE  # type: ignore[union-attr]
        left = connection.transport.get_write_buffer_size()
        assert left > 0
        await service.pass_time(1)
        await service.pass_time(59)
        assert service.state.connections
        await service.pass_time(2)
        await eventually(lambda: not service.state.connections)

    run(scenario)
