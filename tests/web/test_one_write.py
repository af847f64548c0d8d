"""What an answer looks like on the wire."""

from __future__ import annotations

import asyncio
from typing import cast

from mlkit.web.protocol import GatheredTransport


class Recorder:
    """A transport that remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def close(self) -> None:
        self.calls.append("close")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


async def gathered() -> tuple[Recorder, GatheredTransport]:
    recorder = Recorder()
    loop = asyncio.get_running_loop()
    return recorder, GatheredTransport(cast(asyncio.Transport, recorder), loop)


def test_head_and_body_leave_in_one_piece() -> None:
    async def exchange() -> list[bytes | str]:
        recorder, transport = await gathered()
        transport.write(b"head ")
        transport.write(b"body")
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)
        return recorder.calls

    assert asyncio.run(exchange()) == [b"head body", b"next"]


def test_closing_sends_what_was_written_before() -> None:
    async def exchange() -> list[bytes | str]:
        recorder, transport = await gathered()
        transport.write(b"last words")
        transport.close()
        await asyncio.sleep(0)
        return recorder.calls

    assert asyncio.run(exchange()) == [b"last words", "close"]


def test_a_connection_that_the_client_closed_gets_nothing_more() -> None:
    async def exchange() -> list[bytes | str]:
        recorder, transport = await gathered()
        transport.write(b"too late")
        recorder.closing = True
        await asyncio.sleep(0)
        return recorder.calls

    assert asyncio.run(exchange()) == []


def test_the_rest_is_the_transport_s_own() -> None:
    async def ask() -> object:
        _, transport = await gathered()
        return transport.get_extra_info("peer")

    assert asyncio.run(ask()) == "the peer"
