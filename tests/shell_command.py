"""The `mlkit` of shells under test: it has a server fork the command, and waits for its end.

    python -IS shell_command.py SOCKET WORD...

It imports next to nothing. Signals are passed on, and it ends as the command does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

PASSED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def main(address: str, *words: str) -> None:
    """Run a command, and end with its exit code."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    variables = [b"=".join(each) for each in os.environb.items()]
    named = [os.fsencode(each) for each in words]
    folder = os.getcwdb()  # noqa: PTH109 - pathlib would be imported for it
    body = b"\0".join([folder, b"0", b"%d" % len(words), *named, *variables])
    socket.send_fds(connection, [len(body).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(body)
    if not _number(connection):  # the environment needs an interpreter of its own
        os.execv(sys.executable, [sys.executable, "-m", "mlkit", *words])
    for each in PASSED:
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, lambda number, frame: connection.sendall(bytes([number])))
    code = _number(connection)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _number(connection: socket.socket) -> int:
    number = connection.recv(4, socket.MSG_WAITALL)
    return int.from_bytes(number, "big", signed=True) if number else -signal.SIGKILL


if __name__ == "__main__":
    main(*sys.argv[1:])
