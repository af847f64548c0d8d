from __future__ import annotations

import http.server
import json
import socket
import socketserver
import threading

import pytest

from mlkit import _simd, environment


def component(name):
    return next(each for each in environment.survey() if each.name == name)


def test_the_widest_instruction_set_is_chosen(monkeypatch):
    monkeypatch.delenv("MLKIT_SIMD", raising=False)
    assert _simd.available()[0] == "baseline"
    assert component("kernel in use").found == _simd.available()[-1]


def test_an_instruction_set_can_be_forced(monkeypatch):
    monkeypatch.setenv("MLKIT_SIMD", "baseline")
    assert component("kernel in use").found == "baseline"


def test_an_unknown_instruction_set_is_named(monkeypatch):
    monkeypatch.setenv("MLKIT_SIMD", "sse9")
    with pytest.raises(ValueError, match="sse9"):
        _simd.selected()
    assert "unset MLKIT_SIMD" in component("kernel in use").hint


@pytest.fixture
def engine_socket(tmp_path):
    """A stand-in for the Docker Engine that answers GET /version."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"Version": "20.10.24"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "unix"

        def log_message(self, *_):
            pass

    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_a_running_engine_is_found_with_its_version(engine_socket, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine_socket}")
    assert component("Docker Engine").found.startswith("20.10.24")


def test_an_engine_that_does_not_answer_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    found = component("Docker Engine")
    assert found.state == "missing"
    assert found.hint


def test_whatever_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert all(each.hint for each in environment.survey() if each.state == "missing")
    assert component("R").state == "missing"
