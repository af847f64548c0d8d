"""Direct answers: the same on the wire as those of the application, whatever a request looks like.

Time passes only where a test moves the clock and sweeps.
"""

from __future__ import annotations

import asyncio

import pytest
from web.direct_service import CHUNKED, LIMITS, Service, request, served

CASES = [
    (request(b"usual"), 200, b'"direct 5"'),
    (request(b"usual", b"content-type: application/json; charset=utf-8"), 200, b'"direct 5"'),
    (request(b"unusual"), 200, b'"general 7"'),
    (request(b""), 200, b'"general 0"'),
    (request(b"defect"), 200, b'"general 6"'),
    (request(b"usual" * 20_000), 200, b'"general 100000"'),
    (request(b"usual", line=b"POST /echo?x=1 HTTP/1.1"), 200, b'"general 5"'),
    (request(b"usual", line=b"POST /echo HTTP/1.0"), 200, b'"general 5"'),
    (request(b"usual", b"connection: close"), 200, b'"general 5"'),
    # What follows is of the protocol that is asked for, and is not read.
    (request(b"usual", b"connection: upgrade", b"upgrade: h2c"), 200, b'"general 0"'),
]


@pytest.mark.parametrize(("data", "status", "body"), CASES)
def test_who_answers(data: bytes, status: int, body: bytes) -> None:
    async def test(service: Service) -> None:
        await service.send(data)
        assert await service.answer() == (status, body)

    served(test)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(b"usual", b"content-encoding: gzip"), 415),
        (request(b"usual", b"content-type: text/plain; charset=latin-1"), 415),
        (b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n", 413),
        (request(b"usual", line=b"GET /echo HTTP/1.1"), 405),
        (b"POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nusual", 400),
        (request(b"usual", b"host: y"), 400),
    ],
)
def test_what_is_refused_is_refused_as_ever(data: bytes, status: int) -> None:
    async def test(service: Service) -> None:
        await service.send(data)
        assert (await service.answer())[0] == status

    served(test)


def test_chunks_and_parts_make_one_body() -> None:
    async def test(service: Service) -> None:
        await service.send(CHUNKED + b"2\r\nus\r\n3\r\nual\r\n0\r\n\r\n")
        assert await service.answer() == (200, b'"direct 5"')
        for part in (b"POST /ec", b"ho HTTP/1.1\r\nhost: x\r\ncontent-le", b"ngth: 5\r\n\r\nus"):
            await service.send(part)
            await asyncio.sleep(0.01)
        await service.send(b"ual")
        assert await service.answer() == (200, b'"direct 5"')

    served(test)


def test_answers_leave_in_the_order_of_the_requests() -> None:
    async def test(service: Service) -> None:
        bodies = [b"usual1", b"unusual", b"usual22", b"", b"usual333", b"usual4444"]
        await service.send(b"".join(map(request, bodies)))
        found = [(await service.answer())[1] for _ in bodies]
        # While the application answers one, those behind it wait for the application too.
        assert [int(each.split()[1][:-1]) for each in found] == [len(each) for each in bodies]
        await service.send(request(b"usual"))
        assert await service.answer() == (200, b'"direct 5"')

    served(test)


def test_a_client_that_waits_to_send_its_body_is_asked_for_it() -> None:
    async def test(service: Service) -> None:
        head, _, body = request(b"usual", b"expect: 100-continue").partition(b"\r\n\r\n")
        await service.send(head + b"\r\n\r\n")
        assert await service.answer() == (100, b"")
        await service.send(body)
        assert await service.answer() == (200, b'"general 5"')

    served(test)


@pytest.mark.parametrize("sent", [5, 70_000])
def test_a_body_that_does_not_come_is_cut_off(sent: int) -> None:
    async def test(service: Service) -> None:
        data = request(b"u" * 80_000)
        await service.send(data[: sent - 80_000])
        await service.until(lambda: bool(service.state.connections))
        await service.until(lambda: service.connection._body_bytes == sent)
        service.sweep(31 + sent / LIMITS.body_rate)
        assert (await service.answer())[0] == 408
        assert await service.reader.read() == b""

    served(test)


def test_a_body_that_ends_early_is_refused() -> None:
    async def test(service: Service) -> None:
        await service.send(request(b"usual")[:-2])
        service.writer.write_eof()
        assert (await service.answer())[0] == 400

    served(test)


def test_a_request_before_the_end_of_the_stream_is_answered() -> None:
    async def test(service: Service) -> None:
        await service.send(request(b"usual"))
        service.writer.write_eof()
        assert await service.answer() == (200, b'"direct 5"')
        assert await service.reader.read() == b""

    served(test)


def test_a_stop_waits_for_the_body_of_a_request() -> None:
    async def test(service: Service) -> None:
        data = request(b"usual")
        await service.send(data[:-2])
        await service.until(lambda: bool(service.state.connections))
        await service.until(lambda: service.connection._body_bytes == 3)
        service.connection.shutdown()
        await service.send(data[-2:])
        assert await service.answer() == (200, b'"general 5"')
        assert await service.reader.read() == b""

    served(test)


def test_an_idle_connection_is_closed() -> None:
    async def test(service: Service) -> None:
        await service.send(request(b"usual"))
        await service.answer()
        service.sweep(70)
        await service.send(request(b"usual"))
        assert await service.answer() == (200, b'"direct 5"')
        service.sweep(70)
        service.sweep(10)
        assert await service.reader.read() == b""

    served(test)


def test_a_client_that_leaves_with_half_a_request_leaves_nothing() -> None:
    async def test(service: Service) -> None:
        await service.send(request(b"usual")[:-2])
        await service.until(lambda: bool(service.state.connections))
        service.writer.transport.abort()
        await service.until(lambda: not service.state.connections)
        assert not service.state.tasks

    served(test)


def test_direct_answers_are_counted_with_the_others() -> None:
    async def test(service: Service) -> None:
        for body in (b"usual", b"unusual", b"usual"):
            await service.send(request(body))
            await service.answer()
        start = service.counters.layout.routes["/echo"]
        assert service.counters.sums()[start] == 3

    served(test)
