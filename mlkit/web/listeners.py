"""The sockets of a server, made before its processes are forked."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlkit.errors import ServiceUnavailable

BACKLOG = 2048
"""Connections that wait to be accepted, of each listener."""


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind sockets that share one port, so that the kernel spreads connections over them.

    Args:
        host: The address or name to listen at.
        port: The port; 0 takes a free one.
        count: How many sockets, at least 1.

    Raises:
        ServiceUnavailable: The port is in use, or the address is not one of this machine.
    """
    with _explain_errors(host, port):
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Another server of the same user could share the port too: only a plain bind notices.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            address = probe.getsockname()
        return [_open_shared(family, kind, protocol, address) for _ in range(count)]


def _open_shared(family: int, kind: int, protocol: int, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


@contextmanager
def _explain_errors(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "--port takes another one (0: any free port)"
            raise ServiceUnavailable(f"port {port} of {host} is in use", hint=hint) from error
        text = f"cannot listen on {host} port {port}: {error.strerror}"
        hint = "--host takes an address of this machine; ports below 1024 need privileges"
        raise ServiceUnavailable(text, hint=hint) from error


def url(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen_unix(directory: Path, name: str) -> tuple[socket.socket, str]:
    """Listen at a Unix socket in a directory, whose path may be of any length.

    Args:
        directory: The directory.
        name: The socket's file; one that is there is replaced.

    Returns:
        The socket, and the path at which this process and its children reach it.
    """
    (directory / name).unlink(missing_ok=True)
    # A Unix address has about 100 bytes; through the descriptor it is always short.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    path = f"/proc/self/fd/{descriptor}/{name}"
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener, path


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
