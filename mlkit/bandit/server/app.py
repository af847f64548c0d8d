"""The ASGI application of a worker: routes, authentication, bodies, errors."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from mlkit.bandit.server.messages import RequestError, unavailable
from mlkit.bandit.server.metrics import ROUTES, Counters

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON: Headers = ((b"content-type", b"application/json"),)
_BUG_HINT = "the log of the server on standard error says more"
logger = logging.getLogger("mlkit.bandit.server")


class Response(NamedTuple):
    """What a handler answers."""

    body: bytes
    status: int = 200
    headers: Headers = JSON


class Request(NamedTuple):
    """What a handler gets: the ASGI scope, the rest of the path, and the whole body."""

    scope: Scope
    rest: bytes
    body: bytes


Handler = Callable[[Request], Awaitable[Response]]


class Route(NamedTuple):
    """The methods of a path, and its place among the metrics."""

    name: str
    methods: dict[str, Handler]


class ClientGone(Exception):
    """The client has left before its request was complete."""


class Application:
    """Answers HTTP requests by the ASGI protocol.

    Args:
        routes: Path -> route; a path that ends in `/` is a prefix.
        counters: Where to count.
        max_body: Bytes that a body may have.
        token: What clients must show as `Authorization: Bearer`, or None.
    """

    def __init__(
        self,
        routes: dict[str, Route],
        counters: Counters,
        *,
        max_body: int,
        token: bytes | None = None,
    ) -> None:
        self._exact = {path: route for path, route in routes.items() if not path.endswith("/")}
        self._prefixes = {path: route for path, route in routes.items() if path.endswith("/")}
        self._number = {name: number for number, name in enumerate(ROUTES)}
        self._counters = counters
        self._max_body = max_body
        self._authorization = None if token is None else b"Bearer " + token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        arrival = perf_counter()
        route, rest = self._route(scope)
        try:
            response = await self._respond(route, rest, scope, receive)
        except RequestError as error:
            response = _refused(error)
        except ClientGone:
            return
        except asyncio.CancelledError:
            # The grace of a stop is over, and the writer has not answered yet.
            response = _refused(unavailable("the server stops"))
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            response = _error(500, "internal error", _BUG_HINT, ())
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        name = route.name if route is not None else "other"
        self._counters.request(self._number[name], response.status, perf_counter() - arrival)

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
    ) -> Response:
        if self._authorization is not None and (route is None or route.name != "/health"):
            self._authorize(scope)
        if route is None:
            raise RequestError(404, f"no such path: {scope['path']}", "GET /docs lists the paths")
        handler = route.methods.get(scope["method"])
        if handler is None:
            allowed = ", ".join(sorted(route.methods))
            raise RequestError(
                405,
                f"{scope['method']} is not allowed here",
                f"allowed: {allowed}",
                ((b"allow", allowed.encode()),),
            )
        return await handler(Request(scope, rest, await self._body(scope, receive)))

    def _authorize(self, scope: Scope) -> None:
        assert self._authorization is not None
        for name, value in scope["headers"]:
            if name == b"authorization" and hmac.compare_digest(value, self._authorization):
                return
        raise RequestError(
            401,
            "a bearer token is needed",
            "send the header `Authorization: Bearer TOKEN` with the token of --token-file",
            ((b"www-authenticate", b"Bearer"),),
        )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._max_body:
                raise self._too_large()
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message["body"]
            if len(body) > self._max_body:
                raise self._too_large()
            return body
        return await self._rest_of_body(message, receive)

    async def _rest_of_body(self, message: dict[str, Any], receive: Receive) -> bytes:
        parts = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts += message["body"]
            if len(parts) > self._max_body:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(parts)
            message = await receive()

    def _too_large(self) -> RequestError:
        # The rest of the body is not read, so the connection cannot be used again.
        return RequestError(
            413,
            f"the body has more than {self._max_body} bytes",
            "send several smaller requests, or start the server with a larger --max-body",
            ((b"connection", b"close"),),
        )


def _refused(error: RequestError) -> Response:
    return _error(error.status, error.error, error.hint, error.headers)


def _error(status: int, error: str, hint: str, headers: Headers) -> Response:
    return Response(msgspec.json.encode({"error": error, "hint": hint}), status, JSON + headers)
