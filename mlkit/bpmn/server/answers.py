"""Shapes that the routes share: JSON answers, bodies, pages of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from mlkit.bpmn.definition.timers import instant
from mlkit.web.application import Parameter, Request, Response
from mlkit.web.bodies import decode
from mlkit.web.errors import JSON, RequestError
from mlkit.web.paths import query

T = TypeVar("T")
MOST = 1000
USUAL = 100
_ENCODER = msgspec.json.Encoder()
PAGE = (
    Parameter(
        "limit", "query", {"type": "integer", "minimum": 1, "maximum": MOST}, "Most items (100)."
    ),
    Parameter("cursor", "query", {"type": "string"}, "The `next` of the previous page."),
)
PAGE_NAMES = ("limit", "cursor")
GONE = {400: "It is not an id, or the query cannot be read.", 404: "It was not found."}
BAD_QUERY = {400: "The query cannot be read."}
BAD_BODY = {400: "The body is malformed.", 422: "The body is another document."}
REFUSED = {
    409: "It conflicts with what has happened in the meantime.",
    503: "The engine does not answer.",
}


def answer(value: Any, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(_ENCODER.encode(value), status, JSON)


def body(request: Request, kind: type[T]) -> T:
    """Return the body of a request as a type; an empty one is an empty object.

    Raises:
        RequestError: 400: it is not JSON; 422: it is another document.
    """
    return decode(msgspec.json.Decoder(kind), request.body or b"{}")


class Page(NamedTuple):
    """Which part of a list is requested, and the rest of the query."""

    limit: int
    cursor: str | None
    query: Mapping[str, str]

    def number(self) -> int | None:
        """Return the cursor of a list by number."""
        return None if self.cursor is None else _number(self.cursor)

    def pair(self) -> tuple[int, int]:
        """Return the cursor of a list by instance and activation."""
        if self.cursor is None:
            return 0, 0
        first, dot, second = self.cursor.partition(".")
        return (_number(first), _number(second)) if dot else (_number(first), 0)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(
            400, f"cursor: {text!r:.40} is not a cursor", "take the `next` of a page"
        )
    return int(text)


def page(request: Request, known: Sequence[str] = ()) -> Page:
    """Return which part of a list a request asks for.

    Raises:
        RequestError: 400: the query is wrong.
    """
    given = query(request, (*PAGE_NAMES, *known))
    limit = given.get("limit", str(USUAL))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST):
        raise RequestError(400, f"limit: {limit!r:.40}, expected 1 to {MOST}", "leave it out: 100")
    return Page(int(limit), given.get("cursor"), given)


def moment(at: float | None) -> str | None:
    """Write a time; None stays None."""
    return None if at is None else instant(at)
