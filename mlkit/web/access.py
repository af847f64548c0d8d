"""Who may do what: callers, their roles, and the ways to find out who calls.

An operation names the role that it needs; an `Access` returns the caller of a request with the
roles that it has. One token for everything is the simplest of them; users and single sign-on are
others.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from mlkit.errors import BadData, InputMissing
from mlkit.web.errors import RequestError

RawHeaders = Iterable[tuple[bytes, bytes]]


class Caller(NamedTuple):
    """Who sent a request.

    Attributes:
        name: A name for logs and records; empty if it is not known.
        roles: What the caller may do; None: everything.
    """

    name: str = ""
    roles: frozenset[str] | None = None

    def may(self, role: str) -> bool:
        """Return whether the caller has a role."""
        return self.roles is None or role in self.roles


class Access(Protocol):
    """A way to find out who calls."""

    scheme: dict[str, str]
    """The security scheme, as OpenAPI describes it."""
    description: str
    """What a client has to send, in one sentence."""

    def caller(self, headers: RawHeaders) -> Caller:
        """Return the caller of a request.

        Args:
            headers: The request's headers, names in lower case.

        Raises:
            RequestError: 401: it is not known who calls.
        """


class BearerToken:
    """One token that all clients send as `Authorization: Bearer TOKEN`.

    Args:
        token: The token.
        roles: What its bearer may do; None: everything.
    """

    scheme = {"type": "http", "scheme": "bearer"}  # noqa: RUF012
    description = "Send `Authorization: Bearer TOKEN`."

    def __init__(self, token: bytes, roles: frozenset[str] | None = None) -> None:
        self._expected = b"Bearer " + token
        self._caller = Caller(roles=roles)

    def caller(self, headers: RawHeaders) -> Caller:
        """Return the bearer of the token.

        Raises:
            RequestError: 401: the token is missing or wrong.
        """
        for name, value in headers:
            if name == b"authorization" and hmac.compare_digest(value, self._expected):
                return self._caller
        raise RequestError(
            401,
            "a bearer token is needed",
            "send the header `Authorization: Bearer TOKEN` with the token of --token-file",
            ((b"www-authenticate", b"Bearer"),),
        )


def require(caller: Caller, role: str) -> None:
    """Refuse a caller without a role.

    Raises:
        RequestError: 403.
    """
    if not caller.may(role):
        hint = f"the role {role!r} is needed: ask who runs the server"
        raise RequestError(403, f"{caller.name or 'the caller'} may not do this", hint)


def read_token(path: Path) -> bytes:
    """Read a bearer token from a file, without the white space around it.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It holds no token.
    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}", hint="--token-file names a file") from error
    if not token or not all(33 <= byte <= 126 for byte in token):
        hint = "the file holds one token of printable ASCII characters without spaces"
        raise BadData(f"{path}: no bearer token", hint=hint)
    return token
