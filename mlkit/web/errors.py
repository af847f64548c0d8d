"""Errors of requests, which are answered as documents: `{"error": ..., "hint": ...}`."""

from __future__ import annotations

from typing import Annotated

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


class Error(msgspec.Struct, forbid_unknown_fields=True):
    """The body of every error."""

    error: Annotated[str, msgspec.Meta(description="What is wrong, and where.")]
    hint: Annotated[str, msgspec.Meta(description="What to do about it.")]


class RequestError(Exception):
    """A request that is answered with an error document.

    Args:
        status: The HTTP status.
        error: One line that names the problem and its place.
        hint: One line that names the remedy.
        headers: Further response headers.
    """

    def __init__(self, status: int, error: str, hint: str, headers: Headers = ()) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.headers = headers


def document(error: str, hint: str) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode(Error(error, hint))


def unavailable(error: str) -> RequestError:
    """Return the error of a request that may well succeed when it is sent again."""
    return RequestError(503, error, "try again in a moment", ((b"retry-after", b"1"),))
