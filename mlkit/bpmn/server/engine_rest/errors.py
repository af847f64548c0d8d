"""Errors as Camunda 7 answers them: a status and `{type, message, code}`."""

from __future__ import annotations

from typing import Any

import msgspec


class RestError(Exception):
    """An answer that is an error.

    Args:
        status: The HTTP status.
        kind: What clients see as `type`.
        message: What is wrong.
        code: 0 where the engine found it, None where the REST layer did.
    """

    def __init__(self, status: int, kind: str, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code

    @property
    def body(self) -> bytes:
        """The document."""
        found: dict[str, Any] = {"type": self.kind, "message": self.message, "code": self.code}
        return msgspec.json.encode(found)


def invalid(message: str, status: int = 400) -> RestError:
    """Return the error of a request that the REST layer refuses."""
    return RestError(status, "InvalidRequestException", message)


def within(what: str, error: RestError) -> RestError:
    """Return an error of a variable as that of the request around it."""
    message = f"{what}: {error.message}"
    if error.status == 400:
        return invalid(message)
    named = error.kind == "RestException"
    return RestError(error.status, error.kind, message if named else error.message, error.code)


def refused(status: int, message: str) -> RestError:
    """Return the error of a request that the engine refuses."""
    return RestError(status, "RestException", message, 0)


def missing(name: str) -> RestError:
    """Return the error of a value that is not given."""
    return RestError(500, "NullValueException", f"{name} is null", 0)
