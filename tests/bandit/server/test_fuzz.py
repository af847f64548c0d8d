"""Whatever is sent: never a 500, never a traceback, and the server stays healthy."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import string
import subprocess
import sys
import urllib.parse

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PATHS = st.sampled_from(["/predict", "/feedback", "/arms/c1", "/arms", "/arms/", "/health", "/x"])
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
FIELDS = st.sampled_from(
    ["context", "candidates", "k", "seed", "decision_id", "event_id", "arm", "reward", "a", "b"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.sampled_from([2**64, -1, 1e300, 5e-324, "c1", "\ud800", "\0"])
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(FIELDS, inner),
    max_leaves=9,
)


@pytest.fixture(autouse=True)
def stays_healthy(server):
    children = server.children()
    yield
    assert server.get("/health")["status"] == "ok"
    assert server.children() == children, "a process died"
    assert "Traceback" not in server.stderr


def answered(server, method, path, body=None, **headers):
    status, text, found = server.raw(method, path, body, **headers)
    assert status != 500, (method, path, body)
    if status >= 400 and method != "HEAD":
        assert set(json.loads(text)) == {"error", "hint"}, text
    assert b"Traceback" not in text
    return status, found


@FUZZ
@given(METHODS, PATHS, st.binary(max_size=200))
def test_any_body(server, method, path, body):
    answered(server, method, path, body)


@FUZZ
@given(st.sampled_from(["/predict", "/feedback", "/arms/fuzz"]), DOCUMENTS)
@example("/feedback", {"event_id": "x", "arm": "\ud800", "reward": 1})
@example("/predict", {"context": "\ud800", "candidates": ["\udfff"]})
@example("/feedback", {"event_id": "\ud800", "arm": "a", "reward": 1})
@example("/feedback", {"event_id": "-0", "arm": "a", "reward": -0.0})
@example("/predict", {"seed": 2**64})
@example("/predict", {"k": 10**400})
def test_any_document(server, path, document):
    body = json.dumps(document).encode()
    answered(server, "PUT" if path == "/arms/fuzz" else "POST", path, body)


@FUZZ
@given(st.binary(min_size=1, max_size=300), st.sampled_from(["GET", "PUT", "DELETE"]))
def test_any_arm_in_the_path(server, raw, method):
    status, _ = answered(server, method, "/arms/" + urllib.parse.quote(raw, safe="/"))
    if len(raw) > 256:
        assert status in (400, 422)


@FUZZ
@given(st.text(string.printable.replace("#", "").strip().replace(" ", ""), max_size=60))
def test_any_query(server, query):
    answered(server, "GET", "/arms?" + query)


@settings(FUZZ, max_examples=80)
@given(st.text(min_size=1, max_size=90).filter(lambda t: t.isprintable()))
def test_any_unicode_id_goes_round(server, name):
    path = "/arms/" + urllib.parse.quote(name, safe="")
    assert answered(server, "PUT", path)[0] in (200, 201)
    assert server.get(path)["arm"] == name
    assert server.post("/predict", {"candidates": [name]})["arms"] == [name]


@FUZZ
@given(st.binary(max_size=400), st.booleans())
@example(b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", False)
@example(b"GET / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", False)
@example(b"POST /predict HTTP/1.1\r\ncontent-length: 1_0\r\n\r\n0123456789", False)
@example(b"POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", False)
@example(b"GET /arms/%zz HTTP/1.1\r\nhost: x\r\n\r\n", False)
@example(b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n", False)
@example(b"GET http://x/arms HTTP/1.1\r\nhost: x\r\n\r\n", False)
@example(b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", False)
@example(b"GET /health HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", False)
def test_any_bytes_on_the_wire(server, data, after_a_request):
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\n" if after_a_request else b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + data)
        connection.shutdown(socket.SHUT_WR)
        text = b""
        try:
            while part := connection.recv(65536):
                text += part
        except ConnectionResetError:
            pass
    assert b"HTTP/1.1 500" not in text
    assert b"Traceback" not in text


def test_ids_have_up_to_256_bytes(server):
    for name in ("x" * 256, "é" * 128, "😀" * 64):
        path = "/arms/" + urllib.parse.quote(name)
        assert server.call("PUT", path).status in (200, 201)
        event = {"event_id": name, "context": name, "arm": name, "reward": 1}
        server.post("/feedback", event)
        found = server.post("/predict", {"context": name, "candidates": [name]})
        assert found["arms"] == [name]
        assert found["unknown"] == {"contexts": 0, "arms": 0}
    for name in ("x" * 257, "é" * 129, ""):
        assert server.call("POST", "/predict", {"context": name}).status == 422
        assert server.call("POST", "/predict", {"candidates": [name]}).status in (200, 422)
        event = {"event_id": "i", "arm": name, "reward": 1}
        assert server.call("POST", "/feedback", event).status == 422


def test_a_client_that_leaves_half_way_harms_nobody(server):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.raw("GET", "/health" + "x" * 200_000)
    assert server.call("GET", "/health").status == 200


def test_schemathesis_finds_nothing_that_contradicts_the_openapi_document(server, tmp_path):
    """Run it as users do, in a process of its own: its pytest plug-in warns of deprecations."""
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", url, "--max-examples", "25"),
            *("--seed", "1", "--no-color", "--generation-database", "none"),
            *("--exclude-checks", "unsupported_method,positive_data_acceptance"),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": ""},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
