"""The description of an interface over HTTP: `/openapi.json`, and `/docs`, a page made of it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from mlkit.web.application import Answer, Operation, Request, Response, Route
from mlkit.web.openapi import curl
from mlkit.web.pages import Pages

_METHODS = ("get", "put", "post", "patch", "delete")
_EXAMPLE_BASE = "http://127.0.0.1:8000"
# An address and nothing else: it goes into a page, and comes from outside.
_HOST = re.compile(rb"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")


class Description:
    """Answers with the description of an interface.

    Args:
        role: The role that a caller needs to read it; None: it is open to everybody.
    """

    def __init__(self, role: str | None) -> None:
        self._role = role
        self._document = Response(b"")
        self._page = Response(b"")

    def describe(self, document: dict[str, Any], pages: Pages) -> None:
        """Answer with this OpenAPI document from now on."""
        self._document = Response(msgspec.json.encode(document))
        self._page = pages.page("description.html", _build_view(document))

    def routes(self) -> dict[str, Route]:
        """Return the paths and their operations."""
        document = Operation(
            self._answer_document,
            id="getDescription",
            summary="This description, as an OpenAPI document.",
            tag="server",
            role=self._role,
            answers={200: Answer("The document.", dict[str, Any])},
        )
        page = Operation(
            self._answer_page,
            id="getDocs",
            summary="This description, as a page.",
            tag="server",
            role=self._role,
            answers={200: Answer("The page.", media="text/html")},
        )
        return {
            "/openapi.json": Route("/openapi.json", {"GET": document}),
            "/docs": Route("/docs", {"GET": page}),
        }

    async def _answer_document(self, request: Request) -> Response:
        return self._document

    async def _answer_page(self, request: Request) -> Response:
        """Show the examples with the address that the page was asked at."""
        host = dict(request.scope.get("headers", ())).get(b"host", b"")
        if not _HOST.fullmatch(host):
            return self._page
        base = f"http://{host.decode()}".encode()
        return self._page._replace(body=self._page.body.replace(_EXAMPLE_BASE.encode(), base))


def _build_view(document: dict[str, Any]) -> dict[str, Any]:
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": item[method]["summary"],
            "example": curl(_EXAMPLE_BASE, method, path, item[method]),
            "has_body": "requestBody" in item[method],
            "responses": item[method]["responses"],
        }
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    schemas = document["components"]["schemas"]
    return {
        "info": document["info"],
        "secured": "securitySchemes" in document["components"],
        "operations": operations,
        "schemas": {name: json.dumps(each, indent=1) for name, each in schemas.items()},
    }
