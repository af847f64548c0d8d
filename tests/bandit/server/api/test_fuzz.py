"""Whatever arrives, the answer is a documented one, and the server lives."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
OPERATIONS = [
    ("POST", "/predict"),
    ("POST", "/feedback"),
    ("GET", "/health"),
    ("GET", "/arms"),
    ("GET", "/arms/{id}"),
    ("PUT", "/arms/{id}"),
    ("DELETE", "/arms/{id}"),
    ("GET", "/metrics"),
    ("GET", "/overview"),
]
PATHS = st.sampled_from(["/predict", "/feedback", "/arms/x"])
NAMES = st.sampled_from(
    ["context", "candidates", "k", "seed", "decision_id", "event_id", "arm", "reward", "a", "b"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=300)
    | st.just("c1")
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner),
    max_leaves=12,
)


def send(server, path, body):
    method = "PUT" if path.startswith("/arms") else "POST"
    status, text, _ = server.raw(method, path, body)
    assert status < 500, text
    if status >= 400:
        assert set(json.loads(text)) == {"error", "hint"}
    assert b"Traceback" not in text


@FEW
@given(path=PATHS, body=st.binary(max_size=400))
def test_any_bytes_as_a_body(server, path, body):
    send(server, path, body)


@FEW
@given(path=PATHS, document=DOCUMENTS)
def test_any_document_as_a_body(server, path, document):
    send(server, path, json.dumps(document).encode())


@FEW
@given(data=st.binary(max_size=400))
def test_any_bytes_on_a_connection(server, data):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
        stream.sendall(data)
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_WR)
            stream.recv(4096)
    assert server.call("GET", "/health").status == 200


def test_nothing_was_restarted_or_reported(server):
    """The last of the tests with bytes: they all used this server."""
    assert "Traceback" not in server.stderr
    assert "starts again" not in server.stderr


@pytest.fixture(scope="module")
def description(server):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")


def test_the_description_has_the_operations(description):
    found = {
        (each.ok().method.upper(), each.ok().path) for each in description.get_all_operations()
    }
    assert set(OPERATIONS) <= found


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_the_description_says(server, description, method, path):
    operation = description[path][method]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def check(case):
        case.call_and_validate(
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ]
        )

    check()
