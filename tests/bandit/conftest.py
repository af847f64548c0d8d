"""Redis servers for the tests of a fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redis_server import RedisServer


@pytest.fixture
def start_redis(need_program: Callable[[str], str]) -> Iterator[Callable[..., RedisServer]]:
    """Start Redis servers with options; they are gone after the test."""
    need_program("redis-server")
    pytest.importorskip("redis")
    from redis_server import RedisServer

    started: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        started.append(RedisServer(*options))
        return started[-1]

    yield start
    for server in started:
        server.close()
