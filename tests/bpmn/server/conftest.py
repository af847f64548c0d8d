"""A real server process on a free port of this machine, shared by the tests of a module."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests
from bpmn.server.remote import BODIES, TIMES, V1, Terminal, diagram_of
from commands import Mlkit, run_mlkit

PATIENCE = 180.0


class Server:
    """A server in a state folder of its own.

    Args:
        folder: Where the process runs; its state is in `state` below it.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.options = options
        self.log = folder / "server.log"
        self.http = requests.Session()
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            begins = log.tell()
            self.process = Mlkit(
                "bpmn", "serve", "--state", self.state, "--port", "0", "--workers", "2",
                *self.options, stderr=log, stdout=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.url = self.wait(lambda: self._url(begins))

    def _url(self, begins: int) -> str | None:
        text = self.log.read_text()[begins:]
        assert self.process.poll() is None, text
        found = re.search(r"serving .* at (http://\S+);", text)
        return found[1] if found else None

    @staticmethod
    def wait(condition):
        """Wait until a condition gives something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError("it did not happen")

    def kill(self) -> None:
        """End all processes of the server at once, as a crash of the machine does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask the server to stop; return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def mlkit(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command on the same state folder."""
        return run_mlkit("bpmn", *arguments, "--state", self.state)

    def post(self, path: str, body: object):
        """Send a body on a connection of its own, as another client."""
        return requests.post(self.url + path, json=body, timeout=PATIENCE)

    def __call__(self, method: str, path: str, **options):
        """Send a request."""
        return self.http.request(method, self.url + path, timeout=PATIENCE, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


@pytest.fixture
def own_server(tmp_path):
    """Return a server that a test may kill; options are those of `serve`."""
    made = []

    def start(*options: str) -> Server:
        made.append(Server(tmp_path, *options))
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.kill()
        each.http.close()


@pytest.fixture(scope="module")
def deployed(server, tmp_path_factory):
    for key in BODIES:
        xml = diagram_of(key)
        found = server("POST", f"{V1}/definitions", files=[("file", (f"{key}.bpmn", xml))])
        assert found.status_code == 201, found.text
    return server


@pytest.fixture
def terminal(deployed, capsys, monkeypatch):
    return Terminal(deployed, capsys, monkeypatch)


@pytest.fixture
def both(terminal):
    """Run a command that reads, by both ways; return what both say."""

    def run(*arguments):
        here, there = terminal.here(*arguments), terminal.there(*arguments)
        assert TIMES.sub("AT", here[1]) == TIMES.sub("AT", there[1])
        assert (here[0], here[2]) == (there[0], there[2])
        return there

    return run
