"""Errors of requests, which are answered as documents: `{"error": ..., "hint": ...}`.

A server may answer them as problem documents (RFC 9457) in place of these.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"content-type", b"application/json"),)


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
        exit_code: The exit code of the error on the command line; 0: it has none.
    """

    def __init__(
        self, status: int, error: str, hint: str, headers: Headers = (), exit_code: int = 0
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.headers = headers
        self.exit_code = exit_code


class ErrorDocuments:
    """How errors are answered: their documents, and which exceptions are errors of requests."""

    type: Any = Error
    headers: Headers = JSON
    media = "application/json"

    def body(self, error: RequestError) -> bytes:
        """Return the body of an error."""
        return msgspec.json.encode(Error(error.error, error.hint))

    def translate(self, error: Exception) -> RequestError | None:
        """Return the error of a request that an exception stands for; None: it is a defect."""
        return None


class Problem(msgspec.Struct, omit_defaults=True):
    """A problem document (RFC 9457)."""

    title: Annotated[str, msgspec.Meta(description="The meaning of the status.")]
    status: int
    detail: Annotated[str, msgspec.Meta(description="What is wrong, and where.")]
    hint: Annotated[str, msgspec.Meta(description="What to do about it.")] = ""
    exit_code: Annotated[
        int, msgspec.Meta(description="With which the command line reports the same error.")
    ] = 0


class ProblemDocuments(ErrorDocuments):
    """Errors as problem documents."""

    type = Problem
    headers: Headers = ((b"content-type", b"application/problem+json"),)
    media = "application/problem+json"

    def body(self, error: RequestError) -> bytes:
        """Return the body of an error."""
        title = HTTPStatus(error.status).phrase
        return msgspec.json.encode(
            Problem(title, error.status, error.error, error.hint, error.exit_code)
        )


def document(error: str, hint: str) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode(Error(error, hint))


def unavailable(error: str) -> RequestError:
    """Return the error of a request that may well succeed when it is sent again."""
    return RequestError(503, error, "try again in a moment", ((b"retry-after", b"1"),))
