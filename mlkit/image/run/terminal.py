"""A command of a container at the terminal, or in the pipe, of the caller."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import termios
import threading
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO

from mlkit.errors import BadData
from mlkit.image.run.engine.container import Container
from mlkit.image.run.tunnel import ERROR, Tunnel

CHUNK = 1 << 16


@dataclass(frozen=True)
class Streams:
    """Where a command reads and writes.

    Attributes:
        input: A file descriptor; a terminal if the command has one.
        output: Standard output; of a command with a terminal, all output.
        error: Standard error.
    """

    input: int
    output: BinaryIO
    error: BinaryIO


def run(container: Container, streams: Streams, terminal: bool) -> int:
    """Start a container, pass bytes until it ends, and return its exit code.

    Args:
        container: Created, with its input open.
        streams: Those of the caller.
        terminal: The container has a terminal, and the caller's is its other end.

    Raises:
        BadData: The container cannot be started.
    """
    tunnel = container.attach()
    tunnel.settimeout(None)  # a person may think for an hour
    try:
        problem = container.start()
        if problem:
            raise BadData(f"the container cannot be started: {problem}")
        with _raw(container, streams.input) if terminal else contextlib.nullcontext():
            threading.Thread(target=_send, args=(tunnel, streams.input), daemon=True).start()
            _receive(tunnel, streams, terminal)
        return container.wait()
    finally:
        tunnel.hang_up()


def _send(tunnel: Tunnel, source: int) -> None:
    """Pass what is read until it ends; the command may have ended before."""
    with contextlib.suppress(OSError):
        while data := os.read(source, CHUNK):
            tunnel.sendall(data)
        tunnel.finish()


def _receive(tunnel: Tunnel, streams: Streams, terminal: bool) -> None:
    parts = tunnel.plain() if terminal else tunnel.frames()
    for stream, data in parts:
        target = streams.error if stream == ERROR else streams.output
        target.write(data)
        target.flush()


@contextlib.contextmanager
def _raw(container: Container, descriptor: int) -> Iterator[None]:
    """Let a terminal pass each key as it is, and tell the container the terminal's size."""

    def resize(_number: int = 0, _frame: FrameType | None = None) -> None:
        size = shutil.get_terminal_size()
        container.resize(size.lines, size.columns)

    settings = termios.tcgetattr(descriptor)
    before = signal.signal(signal.SIGWINCH, resize)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead stays
        resize()
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
        signal.signal(signal.SIGWINCH, before)
