"""An application whose paths have parameters: Starlette finds them, reads queries and uploads.

The routes are those of `Application`, with paths such as `/instances/{id}`, and
`/stores/{name:path}` where a parameter may hold slashes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import Headers as StarletteHeaders
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.routing import Match
from starlette.routing import Route as Pattern

from mlkit.web.application import Application, Request, Route, Scope, Send
from mlkit.web.bodies import Receive
from mlkit.web.errors import Headers, RequestError

HEADERS: Headers = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_MOST_FIELDS = 1000
_ENCODED = "it is UTF-8, percent-encoded"


class PathApplication(Application):
    """Answers HTTP requests; the parameters of a path are in the scope's `path_params`.

    The arguments are those of `Application`, and:

    Args:
        headers: What every answer has that does not say otherwise.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        *arguments: Any,
        headers: Headers = HEADERS,
        **options: Any,
    ) -> None:
        super().__init__(routes, *arguments, **options)
        self._headers = headers
        self._patterns = _Patterns(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def completed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                more = [each for each in self._headers if each[0] not in known]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await super().__call__(scope, receive, completed)

    def _route(self, scope: Scope) -> tuple[Route | None, bytes]:
        found, rest = super()._route(scope)
        if found is not None:
            return found, rest
        return self._patterns.find(scope), b""


class _Patterns:
    """The routes whose paths have parameters, by what is cheaper to compare than a pattern."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        found = [
            (
                (path.partition("{")[0], path.rpartition("}")[2]),
                path,
                Pattern(path, _Nothing()),
                route,
            )
            for path, route in routes.items()
            if "{" in path
        ]
        # A path fits routes with as many slashes, and those with a parameter that may hold some.
        self._any = [each for each in found if ":path}" in each[1]]
        self._by_slashes = {
            slashes: [each for each in found if each in self._any or each[1].count("/") == slashes]
            for slashes in {path.count("/") for _, path, _, _ in found}
        }

    def find(self, scope: Scope) -> Route | None:
        """Return the first route that a request's path fits; its parameters go into the scope."""
        path: str = scope["path"]
        for (prefix, suffix), _, pattern, route in self._by_slashes.get(path.count("/"), self._any):
            if not (path.startswith(prefix) and path.endswith(suffix)):
                continue
            match, child = pattern.matches(scope)
            if match is not Match.NONE:
                scope["path_params"] = child["path_params"]
                return route
        return None


class _Nothing:
    """Makes a pattern take any method: which ones there are is the route's matter."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        raise NotImplementedError


def path_parameter(request: Request, name: str) -> str:
    """Return a parameter of the path."""
    return str(request.scope["path_params"][name])


def query(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters of a query, each of which may be there once.

    Raises:
        RequestError: 400: one is not known, or is there twice, or is not UTF-8.
    """
    text: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError:
        raise RequestError(
            400, "the query cannot be read", "it is UTF-8, percent-encoded"
        ) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            hint = f"known: {', '.join(known)}" if known else "this path takes none"
            raise RequestError(400, f"query: unknown parameter {name!r:.80}", hint)
        if name in found:
            raise RequestError(400, f"query: {name} appears twice", "send it once")
        found[name] = value
    return found


class Upload(NamedTuple):
    """A file of a form: the field, the name that the client gives it, and its content."""

    field: str
    name: str
    content: bytes


class Form(NamedTuple):
    """What a form in a browser, or a client, has sent: fields, and files."""

    fields: Mapping[str, list[str]]
    files: list[Upload]


async def read_form(request: Request) -> Form:
    """Return a form with files (`multipart/form-data`) or without.

    Raises:
        RequestError: 415: the body is not a form; 400: it is damaged, or has too many fields.
    """
    headers = StarletteHeaders(raw=request.scope["headers"])
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/x-www-form-urlencoded":
        return Form(_fields(request.body), [])
    if media != "multipart/form-data":
        hint = "send it as multipart/form-data, as curl -F does"
        raise RequestError(415, f"content-type: {media!r:.80} is not a form", hint)
    parser = MultiPartParser(
        headers, _whole(request.body), max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS,
        max_part_size=max(1, len(request.body)),
    )  # fmt: skip
    try:
        data = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        text = getattr(error, "message", str(error))
        raise RequestError(400, f"the form cannot be read: {text}", "see RFC 7578") from None
    fields: dict[str, list[str]] = {}
    files = []
    for name, value in data.multi_items():
        if isinstance(value, UploadFile):
            files.append(Upload(name, value.filename or "", await value.read()))
        else:
            fields.setdefault(name, []).append(value)
    await data.close()
    return Form(fields, files)


def _fields(body: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise RequestError(400, "the form cannot be read", _ENCODED) from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


async def _whole(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
