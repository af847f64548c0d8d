"""Who may do what: callers, their roles, and the ways to find out who calls.

An operation names the role that it needs; an `Access` returns the caller of a request with the
roles that it has. One token for everything is the simplest of them; users and single sign-on are
others. A role is had for everything (`operator`), or for a part of it that the workload
understands: for one name (`operator@loans`), or for what has a tag (`operator#finance`).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from mlkit.errors import BadData, InputMissing
from mlkit.web.errors import RequestError

_TOKENS_HINT = "a line is TOKEN, TOKEN ROLES or TOKEN ROLES NAME, of printable ASCII characters"
NONE = "-"
"""Stands for no roles in files."""
ANY = "*"
"""The role of an operation for every caller that is known, whatever they may do."""
RawHeaders = Iterable[tuple[bytes, bytes]]
Roles = frozenset[str]
_ROLE = re.compile(r"([a-z]+)(?:[@#][^\s,@#]{1,255})?")


class Caller(NamedTuple):
    """Who sent a request.

    Attributes:
        name: A name for logs and records; empty if it is not known.
        roles: What the caller may do; None: everything.
        session: The id of the session that the caller has logged in to; empty: none.
        aliases: Other names by which the caller may call themselves, in lower case.
    """

    name: str = ""
    roles: Roles | None = None
    session: str = ""
    aliases: frozenset[str] = frozenset()

    def may(self, role: str) -> bool:
        """Return whether the caller has a role for everything."""
        return self.roles is None or role == ANY or role in self.roles

    def may_somewhere(self, role: str) -> bool:
        """Return whether the caller has a role for everything, or for a part of it."""
        return self.may(role) or any(part_of(each).role == role for each in self.roles or ())

    def parts(self, role: str) -> tuple[set[str], set[str]]:
        """Return the names and the tags for which the caller has a role."""
        parts = [each for each in map(part_of, self.roles or ()) if each.role == role]
        return {e.name for e in parts if e.name}, {e.tag for e in parts if e.tag}


class Part(NamedTuple):
    """A role, and what it is had for: everything, where there is neither a name nor a tag."""

    role: str
    name: str = ""
    tag: str = ""


def part_of(role: str) -> Part:
    """Return what a role such as `operator@loans` or `operator#finance` is had for."""
    found, _, name = role.partition("@")
    found, _, tag = found.partition("#")
    return Part(found, name, tag)


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
        raise _token_needed()


class Tokens:
    """Several tokens, each with a name and roles; a client sends its own as `BearerToken` has it.

    Args:
        callers: Token -> whose it is.
    """

    scheme = BearerToken.scheme
    description = BearerToken.description

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._callers = {b"Bearer " + token: caller for token, caller in callers.items()}

    def caller(self, headers: RawHeaders) -> Caller:
        """Return whose token it is.

        Raises:
            RequestError: 401: the token is missing or wrong.
        """
        for name, value in headers:
            if name == b"authorization":
                for expected, caller in self._callers.items():
                    if hmac.compare_digest(value, expected):
                        return caller
        raise _token_needed()


class Loopback:
    """Everybody on this machine, and no page of another site in their browsers.

    A browser may be led to send requests here; it states in `Host` where it believes to be and in
    `Origin` whose page sends them.

    Args:
        hosts: Further names of this server, such as that of a proxy before it.
        name: The caller's name.
    """

    scheme: dict[str, str] = {}  # noqa: RUF012
    description = "No login is needed on this machine."

    def __init__(self, hosts: Iterable[str] = (), name: str = "") -> None:
        self._proxies = {each.lower() for each in hosts}
        self._hosts = {"localhost", "127.0.0.1", "::1", *self._proxies}
        self._caller = Caller(name)

    def caller(self, headers: RawHeaders) -> Caller:
        """Return the caller, who may do everything.

        Raises:
            RequestError: 403: a page of another site sends the request.
        """
        given = dict(headers)
        host = given.get(b"host", b"").decode("latin-1")
        if _host_name(host) not in self._hosts:
            hint = "use http://127.0.0.1, or start the server with --base-url"
            raise RequestError(403, f"host {host!r:.80} is not this server", hint)
        require_own_page(given, self._proxies)
        return self._caller


def require_own_page(headers: Mapping[bytes, bytes], proxies: Collection[str]) -> None:
    """Refuse what a page of another site sends; a proxy may ask by another name.

    Browsers send `Origin` with everything that may change something, and pages cannot forge it.

    Args:
        headers: The request's headers.
        proxies: Names of this server at proxies before it, in lower case.

    Raises:
        RequestError: 403.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return
    text = origin.decode("latin-1")
    asked = text.partition("://")[2]
    host = headers.get(b"host", b"").decode("latin-1")
    if asked != host and _host_name(asked) not in proxies:
        hint = "only pages of this server may send requests to it"
        raise RequestError(403, f"origin {text!r:.80} is another site", hint)


def _host_name(host: str) -> str:
    """Return a `Host` header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _token_needed() -> RequestError:
    return RequestError(
        401,
        "a bearer token is needed",
        "send the header `Authorization: Bearer TOKEN` with the token of --token-file",
        ((b"www-authenticate", b"Bearer"),),
    )


def require(caller: Caller, role: str, for_a_part: bool = False) -> None:
    """Refuse a caller without a role.

    Args:
        caller: Who calls.
        role: The role.
        for_a_part: Whether it is enough to have it for a part.

    Raises:
        RequestError: 403.
    """
    if not (caller.may_somewhere(role) if for_a_part else caller.may(role)):
        hint = f"the role {role!r} is needed: ask who runs the server"
        raise RequestError(403, f"{caller.name or 'the caller'} may not do this", hint)


def read_token(path: Path, option: str = "--token-file") -> bytes:
    """Read a bearer token from a file, without the white space around it.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It holds no token.
    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}", hint=f"{option} names a file") from error
    if not token or not all(33 <= byte <= 126 for byte in token):
        hint = "the file holds one token of printable ASCII characters without spaces"
        raise BadData(f"{path}: no bearer token", hint=hint)
    return token


def read_tokens(path: Path, roles: Collection[str], *, in_parts: bool = True) -> Tokens:
    """Read the tokens of a file: `TOKEN`, `TOKEN ROLES` or `TOKEN ROLES NAME` in each line.

    Roles are separated by commas; a token without them may do everything. Lines that begin with
    `#` are comments.

    Args:
        path: The file.
        roles: The roles that there are.
        in_parts: Whether a role may be had for a part of everything.

    Raises:
        InputMissing: It cannot be read.
        BadData: It holds no token, one twice, or an unknown role.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}", hint="--token-file names a file") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8", hint=_TOKENS_HINT) from error
    found: dict[bytes, Caller] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            token, caller = _token(f"{path}:{number}", words, roles, in_parts)
            if token in found:
                raise BadData(f"{path}:{number}: the token appears twice", hint=_TOKENS_HINT)
            found[token] = caller
    if not found:
        raise BadData(f"{path}: no bearer token", hint=_TOKENS_HINT)
    return Tokens(found)


def _token(
    place: str, words: list[str], roles: Collection[str], in_parts: bool
) -> tuple[bytes, Caller]:
    token, given, name = (*words, *[""] * 3)[:3]
    named = read_roles(place, given, roles, in_parts=in_parts) if given else None
    if len(words) > 3 or not all(33 <= ord(each) <= 126 for each in token):
        raise BadData(f"{place}: no bearer token", hint=_TOKENS_HINT)
    return token.encode(), Caller(name, named)


def read_roles(place: str, text: str, roles: Collection[str], *, in_parts: bool = True) -> Roles:
    """Read roles that are separated by commas; `-` stands for none.

    Args:
        place: Where they are, for messages.
        text: Such as `viewer,operator@loans,operator#finance`.
        roles: The roles that there are.
        in_parts: Whether a role may be had for a part of everything.

    Raises:
        BadData: One is none.
    """
    found = frozenset() if text == NONE else frozenset(text.split(","))
    for each in sorted(found):
        match = _ROLE.fullmatch(each)
        is_part = match is not None and match[1] != each
        if match is None or match[1] not in roles or (is_part and not in_parts):
            parts = "; for a part: ROLE@DEFINITION, ROLE#TAG" if in_parts else ""
            hint = f"roles: {', '.join(roles)}{parts}"
            raise BadData(f"{place}: no such role: {each:.80}", hint=hint)
    return found
