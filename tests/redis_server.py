"""A Redis server for the tests: Debian's, in a temporary folder, on a socket of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

PATIENCE = 180.0


class RedisServer:
    """A `redis-server` on a Unix socket; its data outlive its process."""

    def __init__(self, *options: str) -> None:
        # Short: the path of a socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        self.socket = self.folder / "s"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        own = (
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.folder),
        )
        log = ("--appendonly", "yes", "--save", "", "--logfile", str(self.folder / "log"))
        place = ("--unixsocket", str(self.socket))
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [program, *own, *place, *log, *self.options], stdout=subprocess.DEVNULL
        )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(redis.exceptions.RedisError, OSError), self.client() as client:
                client.ping()
                return
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.02)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), **options)

    def ask(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def listen(self) -> int:
        """Listen on a free port of this host, too, and return it."""
        return self._listen("port")

    def listen_with_tls(self, certificate: Path, key: Path) -> int:
        """Listen on a free port with TLS, too, and return it."""
        self.ask("CONFIG", "SET", "tls-auth-clients", "no")
        self.ask("CONFIG", "SET", "tls-cert-file", str(certificate), "tls-key-file", str(key))
        return self._listen("tls-port")

    def _listen(self, setting: str) -> int:
        for _ in range(50):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                port: int = taken.getsockname()[1]
            with contextlib.suppress(redis.exceptions.ResponseError):  # Somebody was faster.
                self.ask("CONFIG", "SET", setting, port)
                return port
        raise AssertionError("no port is free")

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        self.process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
