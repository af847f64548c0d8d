"""A process that has imported what `mlkit` imports, and forks a command for each who asks.

    python fork_server.py LISTENING MODULE...

Most of what a command costs is imports; here, it pays none of them. LISTENING is the number of an
inherited file, a UNIX socket that listens. Who connects to it sends a request with the files for
its standard streams, and receives two numbers of 4 bytes: the id of the process, then how it ended,
as `subprocess.Popen.returncode` says it. Who goes away takes the command along; when standard input
ends, all ends.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from typing import NamedTuple, NoReturn

# Read when something is imported: where a command's differ, it gets a new interpreter.
AT_IMPORT = (b"PYTHON", b"LD_", b"OPENBLAS_", b"OMP_", b"MALLOC_", b"FORCE_COLOR", b"PY_COLORS",
             b"GITHUB_ACTIONS", b"TERMINAL_WIDTH", b"MLKIT_SIMD", b"LANG", b"LC_",
             b"TZ")  # fmt: skip
STREAMS = ("stdin", "stdout", "stderr")
REFUSED = 0
"""In the place of a process id: this command needs an interpreter of its own."""


class Request(NamedTuple):
    """A command: all as the system has it, in bytes."""

    words: list[bytes]
    folder: bytes
    environment: dict[bytes, bytes]
    is_session: bool
    """Whether it leads a session of its own, as with `start_new_session`."""


class Server:
    """Forks commands until its own standard input ends."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._ends = False

    def serve(self) -> None:
        """Answer requests; commands that still run at the end are killed."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(0, selectors.EVENT_READ, self._end)
        while not self._ends:
            for key, _ in self._selector.select():
                key.data()

    def _end(self) -> None:
        self._ends = True
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Command):
                key.data.signal(signal.SIGKILL)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            request, streams = _received(connection)
        except (OSError, ValueError):  # it has gone
            connection.close()
            return
        if _at_import(request.environment) != _at_import(os.environb):
            _send_number(connection, REFUSED)
            connection.close()
        elif pid := os.fork():
            command = Command(pid, connection, self._selector)
            self._selector.register(connection, selectors.EVENT_READ, command)
            self._selector.register(command.pidfd, selectors.EVENT_READ, command.reap)
            _send_number(connection, pid)
        else:
            _become(request, streams)
        for each in streams:
            os.close(each)


class Command:
    """A forked command and who asked for it."""

    def __init__(
        self, pid: int, connection: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        self.pidfd = os.pidfd_open(pid)
        self._pid, self._connection, self._selector = pid, connection, selector
        self._is_wanted = True

    def __call__(self) -> None:
        """Pass signals on, or kill the command of one who has gone."""
        if not self._is_wanted:  # it has ended at the same moment
            return
        try:
            numbers = self._connection.recv(64)
        except OSError:
            numbers = b""
        for number in numbers:
            self.signal(number)
        if not numbers:
            self._forget()
            self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send the process a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def _forget(self) -> None:
        self._is_wanted = False
        self._selector.unregister(self._connection)

    def reap(self) -> None:
        """Tell how it has ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._selector.unregister(self.pidfd)
        os.close(self.pidfd)
        if self._is_wanted:
            self._forget()
            with contextlib.suppress(OSError):
                _send_number(self._connection, code)
        self._connection.close()


def _send_number(connection: socket.socket, number: int) -> None:
    connection.sendall(number.to_bytes(4, "big", signed=True))


def _received(connection: socket.socket) -> tuple[Request, list[int]]:
    size, streams, _, _ = socket.recv_fds(connection, 4, len(STREAMS))
    with connection.makefile("rb") as file:
        body = file.read(int.from_bytes(size, "big"))
    folder, session, count, *rest = body.split(b"\0")
    words, variables = rest[: int(count)], rest[int(count) :]
    environment = dict(each.split(b"=", 1) for each in variables)
    return Request(words, folder, environment, session == b"1"), streams


def _at_import(environment: os._Environ[bytes] | dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in environment.items() if name.startswith(AT_IMPORT)}


def _become(request: Request, streams: list[int]) -> NoReturn:
    """Do in a forked child what `python -m mlkit` does, and end."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(len(streams), os.sysconf("SC_OPEN_MAX"))
        if request.is_session:
            os.setsid()
        os.environb.clear()
        os.environb.update(request.environment)
        os.chdir(request.folder)
        code = _run([os.fsdecode(each) for each in request.words])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _run(words: list[str]) -> int:
    import mlkit
    import mlkit.cli.main

    for number, name in enumerate(STREAMS):
        errors, lines = ("backslashreplace", 1) if name == "stderr" else ("strict", -1)
        mode = "w" if number else "r"
        made = open(number, mode, lines, errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    sys.argv = [str(mlkit.__file__).replace("__init__", "__main__"), *words]
    try:
        mlkit.cli.main.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return code & 0xFF


def main(listening: str, *modules: str) -> None:
    """Import modules, and serve."""
    with socket.socket(fileno=int(listening)) as listener:
        for each in modules:
            with contextlib.suppress(ImportError):  # some are made for other interpreters
                importlib.import_module(each)
        gc.collect()
        gc.freeze()  # a child that collects garbage must not touch, and so copy, all of this
        Server(listener).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
