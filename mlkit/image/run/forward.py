"""Ports of a container on this machine's loopback, carried by the engine's API alone.

A published port would need the engine to run here, and an app that listens on all addresses.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from mlkit.image.run.engine.container import Container
from mlkit.image.run.tunnel import Tunnel

HOST = "127.0.0.1"
BACKLOG = 128
CHUNK = 65536


@contextlib.contextmanager
def forward(relay: Container, ports: Sequence[int]) -> Iterator[dict[int, int]]:
    """Listen for each port of a container while the block runs.

    Args:
        relay: A container in its network namespace that holds our relay.
        ports: Its ports.

    Yields:
        Its port to ours.
    """
    with contextlib.ExitStack() as stack:
        listeners = {port: stack.enter_context(_Listener(relay, port)) for port in ports}
        yield {port: listener.port for port, listener in listeners.items()}


class _Listener:
    """One port; each connection to it gets threads of its own."""

    def __init__(self, relay: Container, port: int) -> None:
        self._relay = relay
        self._theirs = port
        self._socket = socket.create_server((HOST, 0), backlog=BACKLOG)
        self._open = True
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> _Listener:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or accept() goes on waiting
        self._socket.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                tunnel = self._relay.tunnel(["/relay", str(self._theirs)])
            except ConnectionError:
                return
            with contextlib.closing(_Closing(tunnel)), contextlib.suppress(OSError):
                tunnel.settimeout(None)
                if tunnel.receive() == b"+":
                    threading.Thread(target=_send, args=(client, tunnel), daemon=True).start()
                    _receive(client, tunnel)


class _Closing:
    """A tunnel that `contextlib.closing` hangs up."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.close = tunnel.hang_up


def _send(client: socket.socket, tunnel: Tunnel) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(CHUNK):
            tunnel.sendall(data)
        tunnel.finish()


def _receive(client: socket.socket, tunnel: Tunnel) -> None:
    while data := tunnel.receive():
        client.sendall(data)
    client.shutdown(socket.SHUT_RDWR)
