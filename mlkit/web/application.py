"""The ASGI application: routes, access, bodies, errors as documents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from mlkit.web.access import Access, Caller, require
from mlkit.web.bodies import ClientGone, Receive, check_headers, read_body
from mlkit.web.direct import DirectOperation
from mlkit.web.errors import JSON, ErrorDocuments, Headers, RequestError, unavailable
from mlkit.web.metrics import Counters

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

OTHER = "other"
"""The name of all paths that no route has, in the metrics."""
_BUG_HINT = "see the log of the server on standard error"
_NOBODY = Caller()
logger = logging.getLogger("mlkit.web")


class Response(NamedTuple):
    """What a handler answers."""

    body: bytes
    status: int = 200
    headers: Headers = JSON


class Stream(Protocol):
    """An answer that sends itself, by the ASGI protocol, such as one that never ends."""

    status: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""


class Request(NamedTuple):
    """What a handler gets: the ASGI scope, the rest of the path, the whole body, who calls."""

    scope: Scope
    rest: bytes
    body: bytes
    caller: Caller = _NOBODY


Handler = Callable[[Request], Awaitable[Response | Stream]]
Direct = Callable[[bytes], bytes | None]
"""Answers a body with the JSON of status 200; None: it leaves that to the handler."""


class Answer(NamedTuple):
    """An answer of an operation, as it is described.

    Attributes:
        description: When it is given.
        type: The type of its body, for which msgspec knows a JSON schema; None: no body.
        media: The body's media type; other than JSON it is text.
    """

    description: str
    type: Any = None
    media: str = "application/json"


class Parameter(NamedTuple):
    """A parameter of a path or a query, as it is described."""

    name: str
    place: str
    schema: dict[str, Any]
    description: str = ""


@dataclass(frozen=True)
class Operation:
    """What a method of a path does, and how it is described.

    Attributes:
        handler: Answers a request.
        id: The name of the operation in generated clients.
        summary: One sentence.
        tag: The group of the operation.
        role: The role that a caller needs; None: the operation is open to everybody.
        is_partial: Whether to have it for a part is enough, which the handler looks at.
        body: The type of the body, for which msgspec knows a JSON schema; None: no body.
        example: A body.
        body_required: Whether a request without a body is refused.
        body_media: The media type of the body.
        max_body: Bytes that the body may have; None: as many as the application allows.
        answers: Status -> answer.
        problems: Status -> when this error document is the answer.
        parameters: Of the query; those of the path are its route's.
        direct: Answers what it can at once, without ASGI: a POST with nothing but a body.
    """

    handler: Handler
    id: str
    summary: str
    tag: str
    role: str | None = None
    body: Any = None
    example: Any = None
    body_required: bool = True
    body_media: str = "application/json"
    max_body: int | None = None
    answers: Mapping[int, Answer] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    is_partial: bool = False
    direct: Direct | None = None


@dataclass(frozen=True)
class Route:
    """The operations of a path.

    Attributes:
        name: The path as it is described and counted, as `/arms/{id}`.
        methods: Method -> operation; HEAD is answered where GET is.
        parameters: Of the path.
        hidden: Whether it is left out of the description, as pages are.
    """

    name: str
    methods: Mapping[str, Operation]
    parameters: tuple[Parameter, ...] = ()
    hidden: bool = False


class Application:
    """Answers HTTP requests by the ASGI protocol.

    Args:
        routes: Path -> route; a path that ends in `/` is a prefix, except `/` itself.
        counters: Where to count.
        max_body: Bytes that a body may have.
        access: Finds out who calls; None: everybody may do everything.
        errors: How errors are answered.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        counters: Counters,
        *,
        max_body: int,
        access: Access | None = None,
        errors: ErrorDocuments = ErrorDocuments(),  # noqa: B008
    ) -> None:
        self._prefixes = {
            path: route for path, route in routes.items() if path.endswith("/") and path != "/"
        }
        self._exact = {p: route for p, route in routes.items() if p not in self._prefixes}
        self._counters = counters
        self._max_body = max_body
        self._access = access
        self._errors = errors

    def direct_operations(self) -> dict[bytes, DirectOperation]:
        """Return the operations that may answer without ASGI, by the target of the request."""
        found = {}
        for path, route in self._exact.items():
            operation = route.methods.get("POST")
            if operation is not None and operation.direct is not None:
                accept = partial(self._accept, operation)
                count = partial(self._counters.request, route.name, 200)
                admit = None if self._access is None else partial(self._admit, operation)
                found[path.encode()] = DirectOperation(accept, operation.direct, count, admit)
        return found

    def _accept(self, operation: Operation, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse a request whose head is as no direct answer needs it."""
        self._admit(operation, headers)
        check_headers(headers, self._limit(operation))

    def _admit(self, operation: Operation, headers: list[tuple[bytes, bytes]]) -> None:
        if self._access is not None and operation.role is not None:
            require(self._access.caller(headers), operation.role, operation.is_partial)

    def _limit(self, operation: Operation) -> int:
        return self._max_body if operation.max_body is None else operation.max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        arrival = perf_counter()
        route, rest = self._route(scope)
        try:
            response = await self._respond(route, rest, scope, receive)
        except RequestError as error:
            response = self._refuse(error, scope)
        except ClientGone:
            return
        except asyncio.CancelledError:
            # The drain timeout of a stop is over, and the handler still waits.
            response = self._refuse(unavailable("the server stops"), scope)
        except Exception as error:
            response = self._refuse(self._failure(error, scope), scope)
        if isinstance(response, Response):
            await _send_whole(response, send)
        else:
            await response(scope, receive, send)
        name = OTHER if route is None else route.name
        self._counters.request(name, response.status, perf_counter() - arrival)

    def _refuse(self, error: RequestError, scope: Scope) -> Response:
        """Return the answer to a request that is refused."""
        return Response(
            self._errors.body(error), error.status, self._errors.headers + error.headers
        )

    def _failure(self, error: Exception, scope: Scope) -> RequestError:
        """Return how an exception is answered; one that nobody foresaw is a defect."""
        known = self._errors.translate(error)
        if known is None or known.status == 500:
            logger.exception("%s %s failed", scope["method"], scope["path"])
        return known or RequestError(500, "internal error", _BUG_HINT)

    def _route(self, scope: Scope) -> tuple[Route | None, bytes]:
        route = self._exact.get(scope["path"])
        if route is not None:
            return route, b""
        raw: bytes = scope["raw_path"]
        for prefix, found in self._prefixes.items():
            if raw.startswith(prefix.encode()):
                return found, raw[len(prefix) :]
        return None, b""

    async def _respond(
        self, route: Route | None, rest: bytes, scope: Scope, receive: Receive
    ) -> Response | Stream:
        operation = None
        if route is not None:
            operation = route.methods.get(scope["method"]) or _for_head(route, scope["method"])
        caller = _NOBODY
        # What is there is not revealed to who may not know: access comes before 404 and 405.
        if self._access is not None and (operation is None or operation.role is not None):
            caller = self._access.caller(scope["headers"])
            if operation is not None and operation.role is not None:
                require(caller, operation.role, operation.is_partial)
        if route is None:
            raise RequestError(404, f"no such path: {scope['path']}", "GET /docs lists the paths")
        if operation is None:
            raise _not_allowed(route, scope["method"])
        body = await read_body(scope["headers"], receive, self._limit(operation))
        return await operation.handler(Request(scope, rest, body, caller))


def _for_head(route: Route, method: str) -> Operation | None:
    return route.methods.get("GET") if method == "HEAD" else None


def _not_allowed(route: Route, method: str) -> RequestError:
    methods = {*route.methods, *(["HEAD"] if "GET" in route.methods else [])}
    allowed = ", ".join(sorted(methods))
    headers = ((b"allow", allowed.encode()),)
    return RequestError(405, f"{method} is not allowed here", f"allowed: {allowed}", headers)


async def _send_whole(response: Response, send: Send) -> None:
    headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
