"""Logins at an OpenID Connect provider: the authorization code flow with PKCE.

The provider's token is believed when one of its keys has signed it, and when it is of this issuer,
for this client, for this login (its nonce) and not expired. Keys are fetched again when a token
names one that is not known: providers change them.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from mlkit.errors import BadData, PackageMissing, ServiceUnavailable, UsageError
from mlkit.web.listeners import is_loopback

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

_SIGNED = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519"
ALGORITHMS = _SIGNED.split()
"""Signatures that are accepted: by a key of the provider's, never by a shared secret or none."""
_PATIENCE = 10.0
"""Seconds that the provider has to answer."""
_LEEWAY = 30
"""Seconds by which its clock may differ."""
_REFRESH = 10.0
"""Seconds between two looks for new keys, at least: a forged token must not make many."""
_DISCOVERY = "/.well-known/openid-configuration"


class Client(NamedTuple):
    """What a provider knows a server as.

    Attributes:
        issuer: The URL of the provider, or of the realm.
        id: The client's id.
        secret: Its secret; empty: a public client.
        scope: What is asked for.
    """

    issuer: str
    id: str
    secret: str = ""
    scope: str = "openid profile email"


class Flow(NamedTuple):
    """A login that has begun, as its browser keeps it."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """A provider, which is first asked when somebody logs in.

    Args:
        client: What it knows this server as.
        redirect: The URL to which it sends browsers back.

    Raises:
        UsageError: The issuer is not https URL.
        PackageMissing: The packages are not installed.
    """

    def __init__(self, client: Client, redirect: str) -> None:
        require_issuer(client.issuer)
        _require_packages()
        self.client = client
        self._redirect = redirect
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._fetched = float("-inf")

    @property
    def name(self) -> str:
        """What the provider is called on pages: its host."""
        return urlsplit(self.client.issuer).hostname or self.client.issuer

    def begin(self) -> tuple[str, Flow]:
        """Return the URL at which a browser logs in, and what it keeps until it is back.

        Raises:
            ServiceUnavailable: The provider does not answer.
        """
        flow = Flow(*(secrets.token_urlsafe(length) for length in (24, 24, 48)))
        with self._session() as session:
            url, _ = session.create_authorization_url(
                self._endpoint("authorization_endpoint"), state=flow.state, nonce=flow.nonce,
                code_verifier=flow.verifier,
            )  # fmt: skip
        return str(url), flow

    def complete(self, code: str, flow: Flow) -> dict[str, Any]:
        """Return the claims of who has logged in.

        Raises:
            BadData: The provider refuses the code, or its token is not to be believed.
            ServiceUnavailable: It does not answer.
        """
        from authlib.common.errors import AuthlibBaseError
        from requests import RequestException

        try:
            with self._session() as session:
                token = session.fetch_token(
                    self._endpoint("token_endpoint"), grant_type="authorization_code", code=code,
                    code_verifier=flow.verifier, timeout=_PATIENCE,
                )  # fmt: skip
        except RequestException as error:
            raise self._silent(error) from error
        except (AuthlibBaseError, ValueError) as error:
            raise BadData(f"the provider refuses the login: {error}") from error
        return self.claims(str(token.get("id_token", "")), flow.nonce)

    def claims(self, token: str, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token.

        Raises:
            BadData: It is not to be believed.
            ServiceUnavailable: The provider's keys cannot be read.
        """
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            decoded = self._decode(token)
            registry = jwt.JWTClaimsRegistry(
                leeway=_LEEWAY,
                iss={"essential": True, "value": self.client.issuer},
                aud={"essential": True, "value": self.client.id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(decoded)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise BadData(f"the token of the provider is not valid: {error}") from error
        if decoded.get("azp", self.client.id) != self.client.id:
            raise BadData("the token of the provider is for another client")
        return decoded

    def logout_url(self, back: str) -> str:
        """Return where a browser logs out at the provider; empty where it cannot.

        Args:
            back: Where it comes back to.
        """
        try:
            place = str(self._read_metadata().get("end_session_endpoint", ""))
        except ServiceUnavailable:
            return ""
        if not place:
            return ""
        query = urlencode({"client_id": self.client.id, "post_logout_redirect_uri": back})
        return f"{place}{'&' if '?' in place else '?'}{query}"

    def _decode(self, token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            return dict(jwt.decode(token, self._key_set(), algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, KeyError):
            # A key that the provider has since its keys were read, or a forged token.
            if not self._refresh():
                raise
        return dict(jwt.decode(token, self._key_set(), algorithms=ALGORITHMS).claims)

    def _key_set(self) -> KeySet:
        if self._keys is None:
            self._refresh()
        assert self._keys is not None
        return self._keys

    def _refresh(self) -> bool:
        """Read the provider's keys, unless they have just been read; return whether they were."""
        from joserfc.jwk import KeySet

        with self._lock:
            if self._keys is not None and time.monotonic() - self._fetched < _REFRESH:
                return False
            found = self._get(self._endpoint("jwks_uri"))
            # Keys of kinds that nobody knows here are no reason to know none.
            kept = [each for each in found.get("keys", ()) if each.get("use", "sig") == "sig"]
            self._keys = KeySet.import_key_set(
                {"keys": [e for e in kept if e.get("kty") in _KINDS]}
            )
            self._fetched = time.monotonic()
            return True

    def _endpoint(self, name: str) -> str:
        found = self._read_metadata().get(name)
        if not isinstance(found, str):
            raise ServiceUnavailable(f"{self.client.issuer}: its description has no {name}")
        return found

    def _read_metadata(self) -> Mapping[str, Any]:
        """Return the provider's metadata, which are read once."""
        if not self._metadata:
            found = self._get(self.client.issuer.rstrip("/") + _DISCOVERY)
            if found.get("issuer") != self.client.issuer:
                told = str(found.get("issuer"))
                hint = "--oidc takes the issuer as the provider writes it"
                raise ServiceUnavailable(
                    f"{self.client.issuer} calls itself {told:.200}", hint=hint
                )
            self._metadata = found
        return self._metadata

    def _get(self, url: str) -> dict[str, Any]:
        import requests

        try:
            answer = requests.get(url, timeout=_PATIENCE, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise self._silent(error) from error
        if not isinstance(found, dict):
            raise ServiceUnavailable(f"{url}: no JSON object")
        return found

    def _silent(self, error: Exception) -> ServiceUnavailable:
        hint = "the provider has to be reachable from the server"
        return ServiceUnavailable(f"{self.client.issuer} does not answer: {error}", hint=hint)

    def _session(self) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        return OAuth2Session(
            self.client.id, self.client.secret or None, scope=self.client.scope,
            redirect_uri=self._redirect, code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self.client.secret else "none",
        )  # fmt: skip


_KINDS = {"RSA", "EC", "OKP"}


def require_issuer(issuer: str) -> None:
    """Refuse an issuer whose answers others could change on their way.

    Raises:
        UsageError: It is not https URL, nor one of this machine.
    """
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    if parts.query or parts.fragment or not host or (
        parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host))
    ):  # fmt: skip
        hint = "https://login.example.org/realms/main"
        raise UsageError(f"--oidc {issuer!r:.200}: expected the https URL of an issuer", hint=hint)


def _require_packages() -> None:
    try:
        import authlib.integrations.requests_client  # noqa: F401
        import joserfc  # noqa: F401
    except ImportError as error:
        problem = "--oidc needs the packages authlib and joserfc"
        raise PackageMissing.of(problem, "oidc") from error


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim, which may be inside others (`realm_access.roles`); None: it is not there."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
