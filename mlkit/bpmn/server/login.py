"""Logins: a name and a password become a session; a session becomes a caller of the interface."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.server.federation import Federation, rights_of
from mlkit.errors import one_line
from mlkit.web.access import Access, BearerToken, Caller, RawHeaders, require_own_page
from mlkit.web.application import Scope
from mlkit.web.errors import Headers, RequestError
from mlkit.web.passwords import matches
from mlkit.web.sessions import COOKIE, Session, Sessions, proof_of
from mlkit.web.throttle import Throttle
from mlkit.web.users import NOBODY, Users, UsersFile

_AT_ONCE = 2
"""Passwords that are checked at once, each in 64 MiB of memory."""
_MOST_WAITING = 16
logger = logging.getLogger("mlkit.bpmn")


class Login:
    """Who may log in, and who has.

    Args:
        users: The users and what they may do.
        sessions: Makes and reads sessions.
        people: The groups that people belong to.
        federation: The provider at which others log in; None: there is none.
    """

    def __init__(
        self,
        users: UsersFile | None,
        sessions: Sessions,
        people: PeopleFile,
        federation: Federation | None = None,
    ) -> None:
        self.sessions = sessions
        self.federation = federation
        self._users = users
        self._people = people
        self._throttle = Throttle()
        self._threads = ThreadPoolExecutor(_AT_ONCE, "passwords")
        self._waiting = 0
        # The first comparison without an account takes longer than the others.
        self._threads.submit(matches, None, "")

    async def begin(self, name: str, password: str, address: str) -> Headers:
        """Return the header that begins a session.

        Raises:
            RequestError: 401: the name or the password is wrong; 429: somebody has tried too
                often; 503: too many log in at once.
        """
        self._require_patience(name, address)
        known = self._known.users.get(name)
        stored = None if known is None else known.password
        if not await self._matches(stored, password):
            logger.warning("failed login as %r from %s", one_line(name)[:200], address)
            raise RequestError(401, "The name or the password is wrong.", "")
        assert stored is not None
        self._throttle.succeed(name, address)
        logger.info("%s has logged in from %s", name, address)
        return self.sessions.begin(name, proof_of(stored))

    def _require_patience(self, name: str, address: str) -> None:
        now = time.monotonic()
        seconds = self._throttle.wait(name, address, now)
        if seconds:
            retry = ((b"retry-after", b"%d" % seconds),)
            text = f"Too many attempts failed. Try again in {seconds} s."
            raise RequestError(429, text, "", retry)
        if self._waiting >= _MOST_WAITING:
            retry = ((b"retry-after", b"1"),)
            raise RequestError(
                503, "Too many people log in at once. Try again in a moment.", "", retry
            )
        self._throttle.begin(name, address, now)

    async def _matches(self, stored: str | None, password: str) -> bool:
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            return await loop.run_in_executor(self._threads, matches, stored, password)
        finally:
            self._waiting -= 1

    def caller(self, session: Session) -> Caller | None:
        """Return whose session it is, with what they may do now; None: it is good no more."""
        users, groups = self._known, self._people.directory.groups_of(session.user)
        if not session.proof and self.federation is None:
            return None
        if not session.proof:
            # They have logged in at the provider, which has named their groups.
            roles = users.roles(session.user, groups.union(session.groups))
            return Caller(session.user, roles | rights_of(session.groups), session.id)
        known = users.users.get(session.user)
        if known is None or known.password is None or proof_of(known.password) != session.proof:
            return None
        return Caller(session.user, users.roles(session.user, groups), session.id)

    @property
    def _known(self) -> Users:
        return NOBODY if self._users is None else self._users.users

    @property
    def has_passwords(self) -> bool:
        """Whether there are users with passwords, or were when the server began."""
        return self._users is not None

    @property
    def groups(self) -> Collection[str]:
        """The groups that have rights."""
        return self._known.groups

    @property
    def provider_name(self) -> str:
        """What the provider is called on pages; empty: there is none."""
        return "" if self.federation is None else self.federation.provider.name

    async def logout_url(self) -> str:
        """Return where a browser logs out at the provider; empty where it cannot."""
        return "" if self.federation is None else await self.federation.logout_url()

    def session(self, headers: RawHeaders) -> Session | None:
        """Return the session of a request; None where there is none that is still good."""
        found = self.sessions.read(headers)
        return None if found is None or self.caller(found) is None else found

    def close(self) -> None:
        """Wait for no more passwords."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.federation is not None:
            self.federation.close()


class LoginAccess:
    """Callers by their session; programs by a token, where there are some.

    Args:
        login: Who has logged in.
        tokens: The tokens of programs; None: there are none.
        proxies: Names of this server at proxies before it.
    """

    def __init__(self, login: Login, tokens: Access | None, proxies: Collection[str]) -> None:
        self._login = login
        self._tokens = tokens
        self._proxies = {each.lower() for each in proxies}
        cookie = {"type": "apiKey", "in": "cookie", "name": COOKIE}
        self.scheme = cookie if tokens is None else BearerToken.scheme
        self.description = (
            "Log in at `/login`." if tokens is None
            else f"{BearerToken.description} People log in at `/login`."
        )  # fmt: skip

    def caller(self, headers: RawHeaders) -> Caller:
        """Return who calls.

        Raises:
            RequestError: 401: it is not known; 403: a page of another site asks.
        """
        given = dict(headers)
        if self._tokens is not None and b"authorization" in given:
            return self._tokens.caller(headers)
        session = self._login.sessions.read(headers)
        caller = None if session is None else self._login.caller(session)
        if caller is None:
            hint = "log in at /login" + ("" if self._tokens is None else ", or send a token")
            raise RequestError(401, "a login is needed", hint)
        require_own_page(given, self._proxies)
        return caller


def address_of(scope: Scope) -> str:
    """Return the address of a login: what a proxy on this machine reports, else the peer."""
    client = scope.get("client")
    peer = str(client[0]) if client else "unknown"
    try:
        if not ipaddress.ip_address(peer).is_loopback:
            return peer
        forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")
        # What comes before the last one is what the proxy was told, by anybody.
        return str(ipaddress.ip_address(forwarded.rpartition(",")[2].strip()))
    except ValueError:
        return peer
