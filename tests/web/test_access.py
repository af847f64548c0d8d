"""Who may use a server without a login: this machine, and no page of another site."""

from __future__ import annotations

import pytest

from mlkit.web.access import Loopback
from mlkit.web.errors import RequestError


def asked(host: str, origin: str | None = None) -> list[tuple[bytes, bytes]]:
    found = [(b"host", host.encode())]
    return found if origin is None else [*found, (b"origin", origin.encode())]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", None),
        ("localhost", None),
        ("[::1]:8080", "http://[::1]:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("Flows.Example.org", "https://flows.example.org"),
        ("127.0.0.1:8080", "https://flows.example.org"),
    ],
)
def test_pages_of_the_server_may_ask_it(host, origin):
    access = Loopback(["flows.example.org"], "ann")
    assert access.caller(asked(host, origin)).name == "ann"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("", None),
        ("evil.example", None),
        ("127.0.0.1.evil.example", None),
        ("127.0.0.1:8080", "http://127.0.0.1:3000"),
        ("127.0.0.1:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://evil.example"),
        ("127.0.0.1:8080", "null"),
        ("127.0.0.1:8080", ""),
    ],
)
def test_other_pages_may_not(host, origin):
    with pytest.raises(RequestError) as refused:
        Loopback(["flows.example.org"]).caller(asked(host, origin))
    assert refused.value.status == 403
