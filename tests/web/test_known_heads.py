"""Requests whose head came before: they are answered as those whose head is new."""

from __future__ import annotations

import asyncio
import random

import pytest
from web.direct_service import CHUNKED, Service, request, served

from mlkit.web.access import Caller
from mlkit.web.errors import RequestError
from mlkit.web.protocol import BODY


async def learned(service: Service, *headers: bytes) -> None:
    """Answer a request, so that its head is known."""
    await service.send(request(b"usual", *headers))
    assert await service.answer() == (200, b'"direct 5"')
    assert len(service.answers.heads) == 1


def test_a_known_head_is_known_on_other_connections_too() -> None:
    async def test(service: Service) -> None:
        for _ in range(3):
            await learned(service)
            await service.connect()

    served(test)


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ([b"unusu"], [b'"general 5"']),
        ([b"usua", b"l"], [b'"direct 5"']),
        ([b"usual" + request(b"usual")], [b'"direct 5"', b'"direct 5"']),
        ([b"usual" + request(b"usual")[:20], request(b"usual")[20:]], [b'"direct 5"'] * 2),
        ([b"unusu" + request(b"usual")], [b'"general 5"', b'"general 5"']),
        ([b"defec", request(b"usual")], [b'"general 5"', b'"direct 5"']),
    ],
)
def test_what_follows_a_known_head(pieces: list[bytes], answers: list[bytes]) -> None:
    async def test(service: Service) -> None:
        await learned(service)
        head = request(b"usual")[:-5]
        for piece in (head + pieces[0], *pieces[1:]):
            await service.send(piece)
            await asyncio.sleep(0.01)
        assert [(await service.answer())[1] for _ in answers] == answers

    served(test)


def test_what_is_left_to_the_application_is_asked_for_once() -> None:
    async def test(service: Service) -> None:
        await learned(service)
        del service.asked[:]
        for body in (b"unusu", b"usual"):
            await service.send(request(body))
            await service.answer()
        assert service.asked == [b"unusu", b"usual"]

    served(test)


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED + b"5\r\nusual\r\n0\r\n\r\n",
        request(b"usual") + request(b"usual"),
        request(b"usual", b"expect: 100-continue"),
        request(b"usual", b"connection: close"),
        request(b"usual", b"x: " + b"x" * 2000),
        request(b"unusual"),
    ],
)
def test_heads_that_are_not_remembered(data: bytes) -> None:
    async def test(service: Service) -> None:
        await service.send(data)
        assert (await service.answer())[0] in (100, 200)
        assert not service.answers.heads

    served(test)


def test_a_head_in_two_parts_is_not_remembered() -> None:
    async def test(service: Service) -> None:
        data = request(b"usual", b"x: y\r\n\r\n")
        await service.send(data[:10])
        await service.until(lambda: bool(service.state.connections))
        await service.until(lambda: service.connection._raw_bytes == 10)
        await service.send(data[10:])
        await service.until(lambda: not service.state.connections or bool(service.asked))
        assert not service.answers.heads

    served(test)


def test_many_heads_do_not_take_memory_without_end() -> None:
    async def test(service: Service) -> None:
        for number in range(5000):
            found = service.answers
            data = request(b"usual", b"x: %d" % number)
            found.learn(data, found.operation(b"/echo"), [], b"usual")
            assert 0 < len(found.heads) <= 4096

    served(test)


class Revocable:
    """Lets everybody in until it is told otherwise."""

    scheme: dict[str, str] = {}  # noqa: RUF012
    description = ""
    is_open = True

    def caller(self, headers: object) -> Caller:
        if not self.is_open:
            raise RequestError(401, "who are you?", "say it")
        return Caller()


def test_who_may_ask_no_more_is_refused_also_with_a_known_head() -> None:
    access = Revocable()

    async def test(service: Service) -> None:
        await learned(service)
        access.is_open = False
        await service.send(request(b"usual"))
        assert (await service.answer())[0] == 401
        access.is_open = True
        await service.send(request(b"usual"))
        assert await service.answer() == (200, b'"direct 5"')

    served(test, access)


def test_a_connection_with_known_heads_only_is_not_idle() -> None:
    async def test(service: Service) -> None:
        await learned(service)
        for _ in range(3):
            service.sweep(70)
            await service.send(request(b"usual"))
            assert await service.answer() == (200, b'"direct 5"')
        service.sweep(80)
        assert await service.reader.read() == b""

    served(test)


BODIES = [b"usual", b"usual2", b"unusu", b"defect", b"", b"usual" * 2000]
HEADERS: list[tuple[bytes, ...]] = [(), (), (b"a: b",), (b"transfer-encoding: chunked",)]
HEADERS += [(b"connection: keep-alive",), (b"host: y",), (b"content-length: 5",), (b"broken",)]


def conversation(draw: random.Random) -> list[bytes]:
    """Return pieces of requests, right and wrong ones, cut anywhere."""
    found: list[bytes] = []
    for _ in range(draw.randint(1, 12)):
        data = request(draw.choice(BODIES), *draw.choice(HEADERS))
        if draw.random() < 0.05:
            data = data.replace(b"\r\n", b"\n", draw.randint(0, 9))
        if draw.random() < 0.2 and found:
            found[-1] += data
        elif draw.random() < 0.3:
            at = draw.randint(0, len(data))
            found += [data[:at], data[at:]]
        else:
            found.append(data)
    return found


class Wire(asyncio.Transport):
    """A transport that remembers what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    abort = write_eof = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0


async def talk(service: Service, pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Return what a server says to pieces, and what the direct operation was asked."""
    wire, protocol = Wire(), service.protocol()
    protocol.connection_made(wire)
    for piece in pieces:
        if wire.is_closed:
            break
        protocol.data_received(piece)
        await asyncio.sleep(0)
        while protocol._is_answering() and protocol._phase is not BODY:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire.sent, service.asked


@pytest.mark.parametrize("seed", range(100))
def test_any_conversation_is_the_same_as_one_without_memory(seed: int) -> None:
    pieces = conversation(random.Random(seed))
    found = []

    async def remembering(service: Service) -> None:
        found.append(await talk(service, pieces))

    async def forgetting(service: Service) -> None:
        service.answers.known = lambda head: None
        found.append(await talk(service, pieces))

    served(remembering)
    served(forgetting)
    assert found[0] == found[1]
    assert found[0][0]
