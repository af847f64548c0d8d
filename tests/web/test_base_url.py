"""The URL by which others reach a server."""

from __future__ import annotations

import pytest

from mlkit.errors import UsageError
from mlkit.web.base_url import parse


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://flows.example.org", "https://flows.example.org"),
        ("https://flows.example.org/", "https://flows.example.org"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_links_begin_with_it(text, base):
    assert parse(text) == base


@pytest.mark.parametrize(
    "text",
    [
        "flows.example.org", "ftp://h", "http://", "http://:80", "http://[bad", "http://h:99999",
        "http://h:x", "http://h:0", "http://h/path", "http://h?q", "http://h/#f", "http://u:p@h/",
        'http://h"><script>', "http://a b", "http://a\\b",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="expected a scheme and a host"):
        parse(text)
