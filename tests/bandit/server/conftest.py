"""A server as users run it: processes, HTTP, signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
from commands import Mlkit

POSTERIORS = """\
context,arm,a,b,pulls
,c1,2,30,30
,c2,3,50,51
,a/b é,1,50,49
u1,c1,5,50,53
"""


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Server:
    """A running `mlkit bandit serve`."""

    max_candidates = 200

    def __init__(self, directory: Path, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.directory = directory
        model = directory / "posteriors.parquet"
        self.posteriors = model if model.exists() else directory / "posteriors.csv"
        if not self.posteriors.exists():
            self.posteriors.write_text(POSTERIORS, encoding="utf-8")
        self.state = directory / "state"
        words = ["bandit", "serve", str(self.posteriors), "--state", str(self.state)]
        words += ["--port", "0", *options]
        given: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "cwd": directory}
        self.process: subprocess.Popen[str] = (
            subprocess.Popen([*prefix, sys.executable, "-m", "mlkit", *words], **given)
            if prefix
            else Mlkit(*words, **given)
        )
        self.lines: list[str] = []
        self.port = 0
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self._read_lines(stream)
        self._listening.set()

    def _read_lines(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.append(line)
            if found := re.search(r"serving at http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                self._listening.set()

    def wait_until_ready(self) -> Server:
        assert self._listening.wait(300), self.stderr
        assert self.port, self.stderr
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        return "".join(self.lines)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=180)

    def raw(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()

    def call(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        body = None if document is None else json.dumps(document).encode()
        status, text, found = self.raw(method, path, body, **headers)
        return Answer(status, json.loads(text) if text else None, found)

    def get(self, path: str) -> Any:
        return self.call("GET", path).body

    def post(self, path: str, document: Any) -> Any:
        answer = self.call("POST", path, document)
        assert answer.status == 200, answer
        return answer.body

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def writers(self) -> list[int]:
        """The child that has the journal open; none while it starts again."""
        return [pid for pid in self.children() if _has_open(pid, "journal.sqlite")]

    def workers(self) -> list[int]:
        writers = self.writers()
        return [pid for pid in self.children() if pid not in writers]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended and all that it wrote is read; return its exit code."""
        code = self.process.wait(180)
        self._reader.join(180)
        return code

    def close(self) -> None:
        children = self.children() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait(180)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._reader.join(180)


def _has_open(pid: int, name: str) -> bool:
    try:
        links = (each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir())
        return any(str(link).endswith(name) for link in links)
    except (FileNotFoundError, ProcessLookupError):
        return False


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers in the test's directory; they are gone after it."""
    started: list[Server] = []

    def start_one(
        *options: str, ready: bool = True, prefix: tuple[str, ...] = (), folder: str = "."
    ) -> Server:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        started.append(Server(place, *options, prefix=prefix))
        return started[-1].wait_until_ready() if ready else started[-1]

    yield start_one
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return one server with two workers to the tests of a module, which share its state."""
    directory = tmp_path_factory.mktemp("server")
    options = (
        "--workers",
        "2",
        "--max-body",
        "20000",
        "--max-candidates",
        str(Server.max_candidates),
        "--max-k",
        "20",
    )
    running = Server(directory, *options)
    try:
        yield running.wait_until_ready()
    finally:
        running.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds; fail after a generous time."""

    def wait(condition: Callable[[], bool], seconds: float = 180) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it never came true"
            time.sleep(0.02)

    return wait
