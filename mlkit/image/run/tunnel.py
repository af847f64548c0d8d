"""Standard input and output of a command in a container, as a socket."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any

OUTPUT, ERROR = 1, 2
"""The numbers of the streams."""


class Tunnel:
    """Standard input and output of a command in a container, as a socket of `http.client`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._socket = getattr(raw, "_sock", raw)
        self._buffer = b""

    def settimeout(self, seconds: float | None) -> None:
        """Bound each wait; None: wait as long as it takes."""
        self._socket.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def finish(self) -> None:
        """Signal that no more is sent; an encrypted connection to an engine cannot."""
        if not isinstance(self._socket, ssl.SSLSocket):
            self._socket.shutdown(socket.SHUT_WR)

    def receive(self) -> bytes:
        """Return the next bytes of standard output; none: it has ended."""
        return next((data for stream, data in self.frames() if stream == OUTPUT), b"")

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Return what a command without a terminal writes: which stream, and the bytes."""
        while len(head := self._exactly(8)) == 8:
            stream, size = struct.unpack(">BxxxL", head)
            yield stream, self._exactly(size)

    def plain(self) -> Iterator[tuple[int, bytes]]:
        """Return what a command with a terminal writes, all of it standard output."""
        while data := self._socket.recv(1 << 16):
            yield OUTPUT, data

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """Return what is received as a file."""
        return io.BufferedReader(_Received(self))

    def close(self) -> None:
        """Do nothing: `http.client` closes a socket that its answer is still read from."""

    def hang_up(self) -> None:
        """Close it."""
        self._raw.close()
        if self._socket is not self._raw:
            self._socket.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self._socket.recv(size - len(data))):
            data += part
        return data


class _Received(io.RawIOBase):
    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._left or self._tunnel.receive()
        size = min(len(data), len(buffer))
        buffer[:size], self._left = data[:size], data[size:]
        return size


def over(tunnel: Tunnel, seconds: float) -> http.client.HTTPConnection:
    """Speak HTTP through a tunnel."""
    connection = http.client.HTTPConnection("localhost", timeout=seconds)
    connection.sock = tunnel
    return connection
