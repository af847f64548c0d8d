"""Logins at another place: to an OpenID Connect provider, and back with who somebody is."""

from __future__ import annotations

import hmac

from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.federation import PATIENCE, Federation
from mlkit.bpmn.server.login import Login, address_of
from mlkit.bpmn.server.login_pages import leading_to, local
from mlkit.bpmn.server.task_pages import TaskPages
from mlkit.errors import BadData, MlkitError
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import query

_COOKIE = "mlkit-oidc"
_KNOWN = ("code", "state", "iss", "session_state", "error", "error_description", "error_uri")
_AGAIN = "log in again"


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of logins at a provider; none where there is none."""
    login = context.login
    if login is None or login.federation is None:
        return {}
    pages = OidcPages(context, login, login.federation)
    return {
        "/oidc-login": Route(
            "/oidc-login", {"GET": pages.operation(pages.begin, None)}, hidden=True
        ),
        "/oidc": Route("/oidc", {"GET": pages.operation(pages.complete, None)}, hidden=True),
    }


class OidcPages(TaskPages):
    """Answers for logins at a provider.

    Args:
        context: What the routes share.
        login: Who may log in.
        federation: The provider.
    """

    def __init__(self, context: Context, login: Login, federation: Federation) -> None:
        super().__init__(context)
        self._login = login
        self._federation = federation
        self._cookies = login.sessions.cookies

    async def begin(self, request: Request) -> Response:
        """Lead a browser to the provider."""
        path = local(query(request, ("next",)).get("next", "/"))
        url, kept = await self._federation.begin(path)
        cookie = self._cookies.set(_COOKIE, kept, PATIENCE)
        return Response(b"", 303, (*leading_to(url), *cookie))

    async def complete(self, request: Request) -> Response:
        """Begin a session for who comes back, and lead to the page that was asked for."""
        given = query(request, _KNOWN)
        if "error" in given:
            raise RequestError(403, f"the provider reports: {given['error']:.200}", _AGAIN)
        kept = self._cookies.read(request.scope["headers"], _COOKIE)
        flow, path = self._federation.flow(kept)
        if flow is None or not hmac.compare_digest(
            given.get("state", "").encode(), flow.state.encode()
        ):
            raise RequestError(400, "this login was not begun in this browser, or long ago", _AGAIN)
        address = address_of(request.scope)
        try:
            issuer = self._federation.provider.client.issuer
            if given.get("iss", issuer) != issuer:
                raise BadData("another provider has answered")
            session = await self._federation.session(
                self._login.sessions, self._login.groups, given.get("code", ""), flow, address
            )
        except MlkitError as error:
            status = 502 if error.exit_code == 69 else 403
            raise RequestError(status, error.message, error.hint or _AGAIN) from None
        headers = (*leading_to(f".{local(path)}"), *session, *self._cookies.clear(_COOKIE))
        return Response(b"", 303, headers)
