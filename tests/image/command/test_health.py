"""Health checks without curl and wget: the prober, and what it may stand in for."""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import subprocess
import threading

import pytest

from mlkit.image.command.health import health, health_command, health_words
from mlkit.image.run.trace import tool


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer with the status that the path names."""

    def do_GET(self):
        status = int(re.search(r"\d+|$", self.path)[0] or 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200" if "good" in self.path else "/500")
        self.end_headers()

    def log_message(self, *arguments):
        """Keep quiet."""


@pytest.fixture(scope="module")
def port():
    """Return the port of a server without HEAD."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prober(tmp_path_factory):
    """Return the prober."""
    path = tmp_path_factory.mktemp("health") / "health"
    path.write_bytes(tool("health"))
    path.chmod(0o755)
    return path


def shell(line, **config):
    return config | {"Healthcheck": {"Test": ["CMD-SHELL", line]}}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("curl -f http://localhost:{port}/200 || exit 1", 0),
        ("curl -f http://localhost:{port}/404 || exit 1", 1),
        ("curl -s http://127.0.0.1:{port}/404", 0),
        ("curl -fsS -o /dev/null -m 5 localhost:{port} >/dev/null 2>&1 || exit 1", 0),
        ("curl --fail --silent --max-time=2.5 'http://localhost:{port}/302?a=b&c'", 0),
        ("curl -fL http://localhost:{port}/302", 1),
        ("curl -fL http://localhost:{port}/302/good", 0),
        ("curl -fI http://localhost:{port}/200", 1),
        ("wget -qO- http://localhost:{port}/200", 0),
        ("wget -q -O /dev/null -T 5 http://localhost:{port}/500 || exit 1", 1),
        ("wget --no-verbose --tries=1 --spider http://localhost:{port}/302/good || exit 1", 0),
        ("wget -q --spider http://localhost:{port}/302", 1),
        ("curl -f http://localhost:1/", 1),
    ],
)
def test_the_prober_says_what_curl_and_wget_say(prober, port, line, code):
    found = health(shell(line.format(port=port)))
    assert found.test[:2] == ("CMD", "/mlkit-health"), found
    done = subprocess.run([prober, *found.test[2:]], check=False, timeout=60)
    assert done.returncode == code


def test_a_variable_is_resolved_when_the_check_runs():
    found = health(shell("curl -f http://localhost:${PORT:-80}/a || exit 1", Env=["PORT=1"]))
    assert found.test == (
        *("CMD", "/mlkit-launch"),
        '/mlkit-health "http://localhost:${PORT:-80}/a"',
    )
    assert found.programs == {"mlkit-launch", "mlkit-health"}


def test_an_exec_form_is_replaced_too_and_other_programs_lose_the_shell():
    test = ["CMD", "curl", "-f", "http://localhost/"]
    found = health({"Healthcheck": {"Test": test}})
    assert found.test == ("CMD", "/mlkit-health", "http://localhost/")
    ready = shell("pg_isready -q || exit 1")
    assert health(ready).test == ("CMD", "pg_isready", "-q")
    assert health_words(ready) == ["pg_isready"]


@pytest.mark.parametrize(
    "line",
    [
        "curl -f https://localhost/",
        "curl -f http://db/",
        "curl -f http://$HOST/",
        "curl -fk -H 'A: b' http://localhost/",
        "curl -f -o page http://localhost/",
        "curl -f http://localhost/a http://localhost/b",
        "curl -f -X POST http://localhost/",
        "wget http://localhost/",
        "curl -f",
    ],
)
def test_what_the_prober_cannot_do_keeps_its_program(line):
    found = health(shell(f"{line} || exit 1"))
    assert "mlkit-health" not in found.programs
    assert {"curl", "wget"} & set(health_words(shell(f"{line} || exit 1")))


@pytest.mark.parametrize("line", ["curl -s http://localhost/ | grep ok", "test -f /x && a"])
def test_what_needs_the_shell_keeps_it(line):
    assert health(shell(line)).test == ("CMD-SHELL", line)
    assert "/bin/sh" in health_words(shell(line))


def test_a_proxy_keeps_curl():
    line = "curl -f http://localhost/"
    assert not health(shell(line, Env=["http_proxy=http://proxy"])).programs


@pytest.mark.parametrize("test", [None, [], ["NONE"], ["CMD"]])
def test_no_check_stays_no_check(test):
    assert health({"Healthcheck": {"Test": test}} if test else {}) is None


def test_a_server_that_never_answers_is_not_well(prober):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        done = subprocess.run([prober, "-time", "1", url], check=False, timeout=60)
    assert done.returncode != 0


def test_a_line_is_for_the_shell_of_the_image():
    config = {"Healthcheck": {"Test": ["CMD-SHELL", "[[ -f /x ]] && probe"]}}
    assert health_command(config)[:2] == ["/bin/sh", "-c"]
    config["Shell"] = ["/bin/bash", "-o", "pipefail", "-c"]
    assert health_command(config) == [*config["Shell"], "[[ -f /x ]] && probe"]
    assert {"/bin/bash", "probe"} <= set(health_words(config))
