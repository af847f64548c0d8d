"""People whom an OpenID Connect provider knows: who they are here, and what they may do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from itsdangerous import BadSignature, URLSafeSerializer

from mlkit.bpmn.server.roles import ROLES
from mlkit.errors import BadData
from mlkit.web.access import Roles, read_roles
from mlkit.web.errors import Headers
from mlkit.web.oidc import Client, Flow, Provider, claim
from mlkit.web.sessions import Sessions
from mlkit.web.users import require_name

PREFIX = "mlkit-"
"""A group whose name is this before a right, such as `mlkit-operator@loans`, gives that right."""
PATIENCE = 600.0
"""Seconds that somebody has to log in at the provider."""
_MOST_GROUPS = 60
"""Groups that a session keeps: a cookie holds 4 kB."""
_AT_ONCE = 4
T = TypeVar("T")
logger = logging.getLogger("mlkit.bpmn")


@dataclass(frozen=True)
class Claims:
    """Which claims identify somebody.

    Attributes:
        name: Of their id; an e-mail address must be verified.
        groups: Of their groups; `realm_access.roles` is one inside another.
    """

    name: str = "preferred_username"
    groups: str = "groups"

    def name_of(self, claims: dict[str, Any]) -> str:
        """Return who somebody is.

        Raises:
            BadData: The provider does not state it, or it is not a name of a user.
        """
        found = claim(claims, self.name)
        if not isinstance(found, str):
            hint = "--oidc-name takes a claim whose values are unique"
            raise BadData(f"the token has no claim {self.name}", hint=hint)
        if self.name == "email" and claims.get("email_verified") is not True:
            raise BadData("the provider has not verified the e-mail address")
        return require_name(found)

    def groups_of(self, claims: dict[str, Any]) -> list[str]:
        """Return the groups of somebody; providers write some as paths (`/owners`)."""
        found = claim(claims, self.groups)
        listed = found if isinstance(found, list) else []
        return [each.removeprefix("/") for each in listed if isinstance(each, str)]


class Federation:
    """Logins at a provider.

    Args:
        client: What the provider knows this server as.
        claims: Which claims identify somebody.
        base_url: How browsers reach this server.
        key: The secret that signs what a browser keeps meanwhile.
    """

    def __init__(self, client: Client, claims: Claims, base_url: str, key: bytes) -> None:
        base = base_url.rstrip("/")
        self.provider = Provider(client, f"{base}/oidc")
        self._back = f"{base}/login?done="
        self._claims = claims
        self._serializer = URLSafeSerializer(key, salt="mlkit.oidc")
        self._threads = ThreadPoolExecutor(_AT_ONCE, "provider")

    async def begin(self, path: str) -> tuple[str, str]:
        """Return where a browser logs in, and what it keeps meanwhile.

        Raises:
            ServiceUnavailable: The provider does not answer.
        """
        url, flow = await self._wait(self.provider.begin)
        kept = self._serializer.dumps([*flow, path, int(time.time() + PATIENCE)])
        return url, str(kept)

    def flow(self, kept: str) -> tuple[Flow | None, str]:
        """Return the login that a browser has begun, and where it leads; None: none, or too old."""
        try:
            *flow, path, expires = self._serializer.loads(kept)
        except (BadSignature, ValueError, TypeError):
            return None, "/"
        return (Flow(*flow), str(path)) if expires > time.time() else (None, "/")

    async def session(
        self, sessions: Sessions, known: Iterable[str], code: str, flow: Flow, address: str
    ) -> Headers:
        """Return the header that begins the session of who comes back.

        Args:
            sessions: Makes it.
            known: The groups that have rights here.
            code: What the provider gave the browser.
            flow: What the browser has kept.
            address: Where it is, for the log.

        Raises:
            BadData: The provider refuses, or identifies nobody who is known here.
            ServiceUnavailable: It does not answer.
        """
        try:
            claims = await self._wait(lambda: self.provider.complete(code, flow))
            name, groups = self._claims.name_of(claims), self._claims.groups_of(claims)
        except BadData as error:
            logger.warning("failed login by %s from %s: %s", self.provider.name, address, error)
            raise
        wanted = set(known)
        kept = [each for each in groups if each in wanted or each.startswith(PREFIX)]
        logger.info("%s has logged in by %s from %s", name, self.provider.name, address)
        return sessions.begin(name, groups=kept[:_MOST_GROUPS])

    async def logout_url(self) -> str:
        """Return where a browser logs out at the provider; empty where it cannot."""
        return await self._wait(lambda: self.provider.logout_url(self._back))

    async def _wait(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def close(self) -> None:
        """Wait for the provider no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def rights_of(groups: Iterable[str]) -> Roles:
    """Return the rights that groups have by their names; those of none are left out."""
    found: set[str] = set()
    for each in groups:
        if each.startswith(PREFIX):
            try:
                found |= read_roles(each, each.removeprefix(PREFIX), tuple(ROLES))
            except BadData:
                continue
    return frozenset(found)
