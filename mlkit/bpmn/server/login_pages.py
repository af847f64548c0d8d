"""The pages that log people in and out."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import replace
from urllib.parse import quote

from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.login import Login, address_of
from mlkit.bpmn.server.task_form import Submitted
from mlkit.bpmn.server.task_pages import Handler, TaskPages
from mlkit.web.access import require_own_page
from mlkit.web.application import Operation, Request, Response, Route, Scope
from mlkit.web.errors import Headers, RequestError
from mlkit.web.paths import query, read_form
from mlkit.web.sessions import Session

LOGOUT = "logout"
"""What the token of a form that logs out is for."""
_FORM = "login"
_COOKIE = "mlkit-login"
_MOST = 16 << 10
"""Bytes of a form that logs in."""
_PATIENCE = 3600.0
"""Seconds for which the page of a login is good."""
_PATH = re.compile(r"/(?![/\\])[!-~]{0,2000}")
_NONCE = re.compile(r"[\w-]{20,60}")
_STALE = "The page has expired, or is from another server. Try again."


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of logins; none where nobody logs in."""
    if context.login is None:
        return {}
    pages = LoginPages(context, context.login)
    get, post = pages.open(pages.show), pages.open(pages.log_in)
    return {
        "/login": Route("/login", {"GET": get, "POST": post}, hidden=True),
        "/logout": Route("/logout", {"POST": pages.open(pages.log_out)}, hidden=True),
    }


def to_login(scope: Scope) -> Response:
    """Return the answer that leads a browser to the login, and from there to what it asked for."""
    raw: bytes = scope["raw_path"]
    asked = raw + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    up = "../" * (raw.count(b"/") - 1)
    place = f"{up}login?next={quote(asked.decode('latin-1'), safe='')}"
    return Response(b"", 303, leading_to(place))


def leading_to(place: str) -> Headers:
    """Return the headers that lead a browser to a place."""
    return ((b"location", place.encode("ascii")), (b"cache-control", b"no-store"))


def local(path: str) -> str:
    """Return a path of this server that a login leads to, else that of the first page."""
    return path if _PATH.fullmatch(path) else "/"


class LoginPages(TaskPages):
    """Answers for the pages that log in and out.

    Args:
        context: What the routes share.
        login: Who may log in.
    """

    def __init__(self, context: Context, login: Login) -> None:
        super().__init__(context)
        self._login = login
        self._cookies = login.sessions.cookies

    def open(self, handler: Handler) -> Operation:
        """Return the operation of a page that is open to everybody."""
        return replace(self.operation(handler, None), max_body=_MOST)

    async def show(self, request: Request) -> Response:
        """Return the page, or lead on who has logged in already."""
        given = query(request, ("next", "done"))
        if "done" not in given and self._login.session(request.scope["headers"]) is not None:
            return Response(b"", 303, leading_to(f".{local(given.get('next', '/'))}"))
        notice = elsewhere = ""
        if "done" in given:
            notice = "You are logged out."
            elsewhere = await self._login.logout_url()
        return self._page(request, given.get("next", "/"), notice=notice, elsewhere=elsewhere)

    def _page(
        self, request: Request, path: str, *, name: str = "", notice: str = "",
        elsewhere: str = "", problem: str = "", status: int = 200,
    ) -> Response:  # fmt: skip
        nonce = self._nonce(request) or secrets.token_urlsafe(24)
        shown = {
            "next": local(path), "name": name, "notice": notice, "problem": problem,
            "form_token": self.context.people.links.form(_FORM, nonce), "elsewhere": elsewhere,
            "passwords": self._login.has_passwords, "provider": self._login.provider_name,
        }  # fmt: skip
        page = self.page(request, "login.html", shown, status)
        return _forbid_caching(page, self._cookies.set(_COOKIE, nonce, _PATIENCE))

    async def log_in(self, request: Request) -> Response:
        """Begin a session, and lead to the page that was asked for."""
        submitted = Submitted.of(await read_form(request))
        path, name = submitted.text("next"), submitted.text("name").strip()
        try:
            self._require_own(request, submitted.text("form_token"))
            address = address_of(request.scope)
            session = await self._login.begin(name, submitted.text("password"), address)
        except RequestError as error:
            page = self._page(
                request, path, name=name[:200], problem=error.error, status=error.status
            )
            return page._replace(headers=(*page.headers, *error.headers))
        headers = (*leading_to(f".{local(path)}"), *session, *self._cookies.clear(_COOKIE))
        return Response(b"", 303, headers)

    async def log_out(self, request: Request) -> Response:
        """End the session of the caller."""
        session = self._login.sessions.read(request.scope["headers"])
        headers: Headers = ()
        if session is not None:
            token = Submitted.of(await read_form(request)).text("form_token")
            self.context.people.links.require_form(token, LOGOUT, session.id)
            await self._end_everywhere(session)
            headers = self._login.sessions.end(session)
        return Response(b"", 303, (*leading_to("login?done="), *headers))

    async def _end_everywhere(self, session: Session) -> None:
        """End a session durably, so that other hosts and the next start refuse it too."""
        await self.context.write(
            lambda journal: journal.logouts.add(session.id, session.expires, time.time())
        )

    def _nonce(self, request: Request) -> str:
        found = self._cookies.read(request.scope["headers"], _COOKIE)
        return found if _NONCE.fullmatch(found) else ""

    def _require_own(self, request: Request, token: str) -> None:
        """Refuse a login that another site sends, which could be into its own account."""
        require_own_page(dict(request.scope["headers"]), self.context.settings.names)
        nonce = self._nonce(request)
        try:
            self.context.people.links.require_form(token, _FORM, nonce)
        except ValueError:
            nonce = ""
        if not nonce:
            raise RequestError(400, _STALE, "")


def _forbid_caching(page: Response, more: Headers) -> Response:
    kept = [each for each in page.headers if each[0] != b"cache-control"]
    return page._replace(headers=(*kept, (b"cache-control", b"no-store"), *more))
