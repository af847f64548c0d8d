"""An application whose paths have parameters; Starlette reads the uploads.

The routes are those of `Application`, with paths such as `/instances/{id}`, and
`/stores/{name:path}` where the last parameter may hold slashes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import Headers as StarletteHeaders
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

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
        self._patterns = _Patterns({p: route for p, route in routes.items() if "{" in p})

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
        found, scope["path_params"] = self._patterns.find(scope["path"])
        return found, b""


class _Node:
    """What may follow the beginning of a path.

    Attributes:
        literals: By the next segment.
        parameter: Where the next segment may be any.
        ends: The route of a path that ends here, with its place in the order of all.
        rest: The same, of a path that ends in a parameter with slashes.
    """

    __slots__ = ("ends", "literals", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.ends: tuple[int, _Pattern] | None = None
        self.rest: tuple[int, _Pattern] | None = None


class _Pattern(NamedTuple):
    """A route, and where the parameters of its path are.

    Attributes:
        places: The number of the segment of each parameter, by its name.
        rest: The name of the one that takes all segments from its own on; empty: none does.
    """

    route: Route
    places: dict[str, int]
    rest: str


class _Patterns:
    """The routes with parameters; of several that a path fits, the first one is meant.

    Args:
        routes: Path -> route.
    """

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._root = _Node()
        for number, (path, route) in enumerate(routes.items()):
            self._add(number, path.split("/"), route)

    def _add(self, number: int, segments: list[str], route: Route) -> None:
        places: dict[str, int] = {}
        node, rest = self._root, ""
        for place, each in enumerate(segments):
            name, _, kind = each[1:-1].partition(":") if each.startswith("{") else ("", "", "")
            if name:
                places[name] = place
            if kind:
                assert place == len(segments) - 1, segments
                rest = name
            elif name:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(each, _Node())
        pattern = number, _Pattern(route, places, rest)
        if rest:
            node.rest = node.rest or pattern
        else:
            node.ends = node.ends or pattern

    def find(self, path: str) -> tuple[Route | None, dict[str, str]]:
        """Return the route of a path, and its parameters."""
        segments = path.split("/")
        found = min(_fitting(self._root, segments, 0), default=None, key=lambda each: each[0])
        if found is None:
            return None, {}
        route, places, rest = found[1]
        given = {name: segments[place] for name, place in places.items()}
        if rest:
            given[rest] = "/".join(segments[places[rest] :])
        return route, given


def _fitting(node: _Node, segments: list[str], place: int) -> Iterator[tuple[int, _Pattern]]:
    """Yield the routes that the rest of a path fits."""
    if place == len(segments):
        if node.ends is not None:
            yield node.ends
        return
    if node.rest is not None:
        yield node.rest
    literal = node.literals.get(segments[place])
    if literal is not None:
        yield from _fitting(literal, segments, place + 1)
    if node.parameter is not None and segments[place]:
        yield from _fitting(node.parameter, segments, place + 1)


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
