"""Sessions of a browser: who has logged in is in a signed cookie.

A session is what its cookie states until it expires, unless it was ended, its user is gone, or the
password was changed since. Each login makes a new one, whatever cookies came with it.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple

from itsdangerous import BadSignature, URLSafeSerializer

from mlkit.web.defaults import SESSION_HOURS
from mlkit.web.errors import Headers

LIFETIME = SESSION_HOURS * 3600
"""Seconds for which a session is good."""
COOKIE = "mlkit-session"
_SECURE = "__Host-"
"""Browsers take a cookie of this prefix from this host alone, and over TLS alone."""


class Session(NamedTuple):
    """Who has logged in.

    Attributes:
        id: Names the session.
        user: Their name.
        expires: When it ends, in seconds since 1970.
        proof: What the password was, as `proof_of` has it; empty: they logged in elsewhere.
        groups: The groups that another system has named.
    """

    id: str
    user: str
    expires: float
    proof: str = ""
    groups: tuple[str, ...] = ()


class Cookies:
    """How the cookies of a server are written.

    Args:
        secure: Whether browsers reach the server by TLS.
    """

    def __init__(self, secure: bool) -> None:
        self._prefix, self._flags = (_SECURE, "; Secure") if secure else ("", "")

    def set(self, name: str, value: str, seconds: float) -> Headers:
        """Return the header that sets a cookie; scripts cannot read it."""
        text = (
            f"{self._prefix}{name}={value}; Path=/; Max-Age={int(seconds)}; HttpOnly; SameSite=Lax"
        )
        return ((b"set-cookie", f"{text}{self._flags}".encode("ascii")),)

    def clear(self, name: str) -> Headers:
        """Return the header that removes a cookie."""
        return self.set(name, "", 0)

    def read(self, headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
        """Return a cookie of a request; empty where there is none."""
        for key, value in headers:
            if key != b"cookie":
                continue
            try:
                found = SimpleCookie(value.decode("latin-1")).get(f"{self._prefix}{name}")
            except CookieError:
                continue
            if found is not None:
                return found.value
        return ""


class Ended:
    """The sessions that were ended before they expired, as far as this process knows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expiry: dict[str, float] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._expiry

    def learn(self, ended: Mapping[str, float]) -> None:
        """Add sessions, with the times when they expire; what has expired is forgotten."""
        now = time.time()
        with self._lock:
            known = {**self._expiry, **ended}
            self._expiry = {each: at for each, at in known.items() if at > now}


class Sessions:
    """Makes, reads and ends sessions.

    Args:
        key: The secret that signs them.
        ended: The sessions that were ended before they expired.
        cookies: How cookies are written.
        lifetime: Seconds for which a session is good.
    """

    def __init__(
        self, key: bytes, ended: Ended, cookies: Cookies, lifetime: float = LIFETIME
    ) -> None:
        self.ended = ended
        self.cookies = cookies
        self._serializer = URLSafeSerializer(key, salt="mlkit.session")
        self._lifetime = lifetime

    def begin(self, user: str, proof: str = "", groups: Iterable[str] = ()) -> Headers:
        """Return the header that begins a session."""
        expires = int(time.time() + self._lifetime)
        fields = [secrets.token_urlsafe(16), user, expires, proof, list(groups)]
        return self.cookies.set(COOKIE, str(self._serializer.dumps(fields)), self._lifetime)

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> Session | None:
        """Return the session of a request; None where there is none that is still good."""
        text = self.cookies.read(headers, COOKIE)
        if not text:
            return None
        try:
            identifier, user, expires, proof, groups = self._serializer.loads(text)
        except (BadSignature, ValueError, TypeError):
            return None
        if expires <= time.time() or identifier in self.ended:
            return None
        return Session(identifier, user, expires, proof, tuple(groups))

    def end(self, session: Session) -> Headers:
        """End a session wherever its cookie is; return the header that removes it."""
        self.ended.learn({session.id: session.expires})
        return self.cookies.clear(COOKIE)


def proof_of(password: str) -> str:
    """Return a short digest of a password's hash: it changes when the password does."""
    return hashlib.sha256(password.encode()).hexdigest()[:24]
