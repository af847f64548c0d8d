"""Runs of `mlkit`: each a process of its own, forked where the imports have been made before."""

from __future__ import annotations

import atexit
import os
import pkgutil
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import mlkit

# What commands import when they need it. Nothing here starts a thread when it is imported.
LIBRARIES = ["typer._adapters", "numpy", "scipy.stats", "scipy.special", "scipy.linalg", "pandas",
             "pyarrow.csv", "pyarrow.pandas_compat", "pyarrow.parquet", "lxml.etree", "rich.table",
             "rich.progress", "uvicorn", "starlette.applications"]  # fmt: skip
HERE = Path(__file__).parent
PATIENCE = 300.0
# What is tested is what was installed: `python -m mlkit` must not find the folder `mlkit` of the
# project's root, which lacks the extensions.
os.environ["PYTHONSAFEPATH"] = "1"
_ENVIRONMENT = dict(os.environ)


class Mlkit(subprocess.Popen[Any]):
    """`mlkit`, started as `subprocess.Popen` does, but forked by the server of `fork_server.py`.

    It has a process id, which signals reach; how it ended is told by the server.

    Args:
        arguments: The command's words.
        options: The standard streams, cwd, env, start_new_session, and how text is read.
    """

    _connection: socket.socket | None = None

    def __init__(self, *arguments: object, **options: Any) -> None:
        super().__init__([sys.executable, "-m", "mlkit", *map(str, arguments)], **options)

    def _execute_child(self, args: Any, executable: Any, *rest: Any) -> None:
        cwd, env, pipes, is_session = rest[3], rest[4], rest[8:14], rest[19]
        given, _, _, out, _, err = pipes
        streams = [own if each < 0 else each for own, each in enumerate((given, out, err))]
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(server_address())
        body = _request(args[3:], str(cwd or Path.cwd()), env or dict(os.environ), is_session)
        socket.send_fds(self._connection, [len(body).to_bytes(4, "big")], streams)
        self._connection.sendall(body)
        self.pid = self._receive()
        if self.pid:
            self._child_created = True
            self._close_pipe_fds(*pipes)
        else:  # its environment needs an interpreter of its own
            self._connection.close()
            self._connection = None
            super()._execute_child(args, executable, *rest)

    def _receive(self) -> int:
        assert self._connection is not None
        number = self._connection.recv(4, socket.MSG_WAITALL)
        if len(number) < 4:
            raise RuntimeError("the server that forks commands has ended")
        return int.from_bytes(number, "big", signed=True)

    def _internal_poll(self, *rest: Any, **options: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*rest, **options)
        with self._waitpid_lock:
            if self.returncode is None and wait([self._connection], 0):
                self.returncode = self._receive()
                self._connection.close()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._connection is None:
            return super()._wait(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        while self._internal_poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            wait([self._connection], left)
        return self.returncode


def _request(words: list[str], folder: str, variables: dict[str, str], is_session: bool) -> bytes:
    parts = [folder, str(int(is_session)), str(len(words)), *words]
    parts += [f"{name}={value}" for name, value in variables.items()]
    return b"\0".join(map(os.fsencode, parts))


def run_mlkit(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `mlkit`, as `subprocess.run` with captured text would.

    Args:
        arguments: The command's words.
        options: Those of `subprocess.run`.
    """
    usual = {"capture_output": True, "text": True, "check": False}
    if not options.keys() <= {"cwd", "env", "input", "timeout", "check"}:
        command = [sys.executable, "-m", "mlkit", *map(str, arguments)]
        return subprocess.run(command, **(usual | options))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    place = {name: options.get(name) for name in ("cwd", "env")}
    with Mlkit(*arguments, **pipes, **place, encoding="utf-8") as process:
        try:
            out, err = process.communicate(options.get("input"), options.get("timeout"))
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if options.get("check"):
        done.check_returncode()
    return done


@cache
def server_address() -> str:
    """Return the socket of the server that forks commands for this process, and start it."""
    folder = Path(tempfile.mkdtemp(prefix="mlkit-commands-"))
    address = str(folder / "socket")
    found = pkgutil.walk_packages(mlkit.__path__, "mlkit.", onerror=lambda name: None)
    own = [each.name for each in found if not each.name.endswith("__main__")]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        number = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, HERE / "fork_server.py", str(number), *own, *LIBRARIES],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=_ENVIRONMENT,
            start_new_session=True, pass_fds=[number],
        )  # fmt: skip

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(PATIENCE)
        shutil.rmtree(folder)

    atexit.register(end)
    return address


@cache
def program_folder() -> Path:
    """Return a folder for the PATH of shells: its `mlkit` asks the server for a command."""
    folder = Path(server_address()).parent / "bin"
    folder.mkdir()
    program = folder / "mlkit"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -IS {HERE}/shell_command.py {server_address()} "$@"\n'
    )
    program.chmod(0o755)
    return folder
