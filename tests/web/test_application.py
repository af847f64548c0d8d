"""Routes, roles, bodies and errors of an application, without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from mlkit.errors import BadData, InputMissing
from mlkit.web import openapi
from mlkit.web.access import BearerToken, Caller, read_token
from mlkit.web.application import (
    Answer,
    Application,
    Operation,
    Parameter,
    Request,
    Response,
    Route,
)
from mlkit.web.description import Description
from mlkit.web.metrics import Layout, SharedCounters, exposition
from mlkit.web.pages import POLICY, Pages

READ, WRITE = "read", "write"


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A note."""

    text: str
    weight: float = 1.0
    reply_to: int | None = None


class Stored(msgspec.Struct):
    """A stored note."""

    id: int
    note: Note
    next: int | None


async def echo(request: Request) -> Response:
    document = {
        "rest": request.rest.decode(),
        "size": len(request.body),
        "who": request.caller.name,
    }
    return Response(msgspec.json.encode(document))


async def fail(request: Request) -> Response:
    raise ZeroDivisionError


def operation(name: str, role: str | None = None, **more: Any) -> Operation:
    handler = fail if name == "fail" else echo
    return Operation(handler, id=name, summary=name, tag="notes", role=role, **more)


NAME = Parameter("name", "path", {"type": "string"})
ROUTES = {
    "/notes": Route(
        "/notes",
        {
            "GET": operation("list", READ, answers={200: Answer("Notes.", list[Stored])}),
            "POST": operation("add", WRITE, body=Note, answers={201: Answer("Added.", Stored)}),
        },
    ),
    "/notes/": Route("/notes/{name}", {"GET": operation("show", READ)}, (NAME,)),
    "/open": Route("/open", {"GET": operation("open")}),
    "/fail": Route("/fail", {"GET": operation("fail")}),
}
LAYOUT = Layout([*(route.name for route in ROUTES.values()), "other"])


class ByName:
    """Users by a header, each with roles."""

    scheme = {"type": "apiKey", "in": "header", "name": "x-user"}  # noqa: RUF012
    description = "Send your name."
    roles = {"ann": frozenset([READ, WRITE]), "ben": frozenset([READ])}  # noqa: RUF012

    def caller(self, headers: Any) -> Caller:
        name = dict(headers).get(b"x-user", b"").decode()
        if name not in self.roles:
            raise BearerToken(b"").caller([]) or AssertionError
        return Caller(name, self.roles[name])


def ask(method: str, path: str, body: bytes = b"", access: Any = None, **headers: str) -> Any:
    counters = SharedCounters(LAYOUT, 1)
    application = Application(ROUTES, counters.row(0), max_body=100, access=access)
    sent: list[dict[str, Any]] = []
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": pairs,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    assert f'status="{sent[0]["status"]}"' in exposition(counters).decode()
    return sent[0]["status"], json.loads(sent[1]["body"]), dict(sent[0]["headers"])


def test_a_prefix_hands_over_the_rest_of_the_path_as_it_was_sent() -> None:
    status, found, _ = ask("GET", "/notes/a/b%20c")
    assert (status, found["rest"]) == (200, "a/b%20c")


@pytest.mark.parametrize(
    ("user", "method", "path", "status"),
    [
        ("ann", "POST", "/notes", 200),
        ("ben", "GET", "/notes", 200),
        ("ben", "HEAD", "/notes", 200),
        ("ben", "POST", "/notes", 403),
        ("nobody", "GET", "/notes", 401),
        ("nobody", "GET", "/nowhere", 401),
        ("nobody", "DELETE", "/notes", 401),
        ("nobody", "GET", "/open", 200),
        ("ben", "GET", "/nowhere", 404),
        ("ben", "DELETE", "/notes", 405),
    ],
)
def test_an_operation_is_for_callers_with_its_role(user, method, path, status) -> None:
    found, document, _ = ask(method, path, b"{}", ByName(), x_user=user)
    assert found == status
    if status >= 400:
        assert set(document) == {"error", "hint"}
    elif user in ByName.roles:
        assert document["who"] == user


def test_a_failure_is_a_document_that_shows_nothing_of_the_code(caplog) -> None:
    status, document, _ = ask("GET", "/fail")
    assert (status, document["error"]) == (500, "internal error")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "101"}, 413),
        ({"content_encoding": "zstd"}, 415),
        ({"content_type": "text/plain; charset=koi8-r"}, 415),
        ({"transfer_encoding": "gzip, chunked"}, 501),
        ({"transfer_encoding": "chunked", "content_encoding": "identity"}, 200),
    ],
)
def test_bodies_that_cannot_be_read_are_refused_with_the_reason(headers, status) -> None:
    found, _, answered = ask("POST", "/notes", b"{}", **headers)
    assert found == status
    assert (answered.get(b"connection") == b"close") == (status != 200)


def test_a_token_is_read_from_a_file_and_is_all_or_nothing(tmp_path) -> None:
    path = tmp_path / "token"
    path.write_text(" s3cret\n")
    access = BearerToken(read_token(path), frozenset([READ]))
    assert ask("GET", "/notes", access=access, authorization="Bearer s3cret")[0] == 200
    assert ask("POST", "/notes", access=access, authorization="Bearer s3cret")[0] == 403
    status, _, headers = ask("GET", "/notes", access=access, authorization="Bearer s3cre")
    assert (status, headers[b"www-authenticate"]) == (401, b"Bearer")
    path.write_text("two words")
    with pytest.raises(BadData):
        read_token(path)
    with pytest.raises(InputMissing):
        read_token(tmp_path / "nowhere")


def document(access: Any = None) -> dict[str, Any]:
    bounds = {"Note": {"text": {"maxLength": 9}}}
    routes = list(ROUTES.values())
    return openapi.document("Notes", "Keeps notes.", routes, access=access, bounds=bounds)


def test_the_description_is_made_from_the_types() -> None:
    found = document()
    note = found["components"]["schemas"]["Note"]
    assert note["properties"] == {
        "text": {"type": "string", "maxLength": 9},
        "weight": {"type": "number", "format": "double", "default": 1.0},
        "reply_to": {"type": "integer", "format": "int64"},  # left out rather than null
    }
    assert (note["required"], note["additionalProperties"]) == (["text"], False)
    stored = found["components"]["schemas"]["Stored"]["properties"]
    assert stored["next"] == {"type": ["integer", "null"], "format": "int64"}
    assert stored["note"] == {"$ref": "#/components/schemas/Note"}
    add = found["paths"]["/notes"]["post"]
    assert (add["operationId"], add["tags"]) == ("add", ["notes"])
    assert {"201", "408", "413", "415", "431"} <= set(add["responses"])
    assert "413" not in found["paths"]["/notes"]["get"]["responses"]
    assert found["paths"]["/notes/{name}"]["parameters"][0]["required"] is True


def test_the_description_states_who_may_do_what() -> None:
    found = document(ByName())
    assert found["components"]["securitySchemes"] == {"access": ByName.scheme}
    add, free = found["paths"]["/notes"]["post"], found["paths"]["/open"]["get"]
    assert add["security"] == [{"access": []}]
    assert "`write`" in add["responses"]["403"]["description"]
    assert free["security"] == []
    assert "401" not in free["responses"]


def test_the_page_of_the_description_escapes_and_links_only_what_is_served() -> None:
    pages, description = Pages(), Description(None)
    hostile = document()
    hostile["info"]["description"] = "<script>alert(1)</script>"
    description.describe(hostile, pages)
    page = asyncio.run(description.routes()["/docs"].methods["GET"].handler(Request({}, b"", b"")))
    text = page.body.decode()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert dict(page.headers)[b"content-security-policy"] == POLICY
    assert b"unsafe" not in POLICY
    path, route = pages.route()
    icon, style = (
        asyncio.run(route.methods["GET"].handler(Request({}, each.split('"')[0].encode(), b"")))
        for each in text.split(f'href="{path[1:]}')[1:3]
    )
    assert icon.body.startswith(b"<svg")
    assert b"color-scheme" in style.body
