"""Wake-up calls between connections to a PostgreSQL database: LISTEN, on one of its own."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from psycopg import OperationalError, errors, pq

if TYPE_CHECKING:
    from psycopg import Connection


class Listener:
    """What others announce on a channel; it connects when it is first waited for.

    Args:
        connect: Makes a connection.
        channel: The channel.
    """

    def __init__(self, connect: Callable[[], Connection[Any]], channel: str) -> None:
        self._connect = connect
        self._channel = channel
        self._listener: Connection[Any] | None = None

    def wait(self, timeout: float, own: int) -> bool:
        """Wait, at most `timeout` seconds, until another connection announces something.

        The first call, and the first one after a loss of the connection, returns at once: what
        was announced before was not heard.

        Args:
            timeout: In seconds.
            own: The number of the server's process whose announcements are our own.
        """
        deadline = time.monotonic() + timeout
        descriptor = self.descriptor()
        if descriptor is None:
            self._listen()
            return True
        try:
            while not self._poll(own):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                select.select([descriptor], [], [], left)
        except OperationalError:
            self._listen()
        return True

    def descriptor(self) -> int | None:
        """Return what can be read when `wait` would return, once it listens."""
        listener = self._listener
        return None if listener is None or listener.closed else listener.fileno()

    def close(self) -> None:
        """Close the connection."""
        if self._listener is not None:
            self._listener.close()

    def _listen(self) -> None:
        self.close()
        self._listener = self._connect()
        self._listener.execute(f"LISTEN {self._channel}".encode())

    def _poll(self, own: int) -> bool:
        assert self._listener is not None
        connection, heard = self._listener.pgconn, False
        connection.consume_input()
        while (found := connection.notifies()) is not None:
            heard |= found.be_pid != own
        if connection.status != pq.ConnStatus.OK:
            raise errors.ConnectionFailure("the connection was lost")
        return heard
