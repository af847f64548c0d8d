"""Bodies of requests: read whole within a limit, and decoded with errors that name the place."""

from __future__ import annotations

import codecs
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from mlkit.web.errors import RequestError

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
T = TypeVar("T")

CLIENT_ENDED = "mlkit.client_ended"
"""In the scope of a request: whether its client sends nothing more."""

_PLACE = re.compile(r" - at `\$(.*)`$")
_POSITION = re.compile(r"\(byte (\d+)\)")
_CHARSET = re.compile(rb'charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)
_CHECKED = {b"content-length", b"content-encoding", b"content-type", b"transfer-encoding"}
_USUAL = b"application/json"
LIMITS_HINT = "GET /openapi.json lists the limits"


class ClientGone(Exception):
    """The client has left before its request was complete."""


async def wait_for_disconnect(scope: dict[str, Any], receive: Receive) -> None:
    """Return when the client of a request, whose body was read, has left or sends nothing more."""
    while not scope.get(CLIENT_ENDED) and (await receive())["type"] != "http.disconnect":
        pass


async def read_body(headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
    """Read the whole body of a request.

    Args:
        headers: The request's headers, names in lower case.
        receive: The messages of ASGI.
        limit: Bytes that the body may have.

    Raises:
        RequestError: 413: it has more; 415 or 501: it is encoded in an unknown way.
        ClientGone: The client has left.
    """
    check_headers(headers, limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        if len(body) > limit:
            raise _too_large(limit)
        return body
    return await _read_rest(message, receive, limit)


def check_headers(headers: list[tuple[bytes, bytes]], limit: int) -> None:
    """Refuse a body by what the headers say of it.

    Args:
        headers: The request's headers, names in lower case.
        limit: Bytes that the body may have.

    Raises:
        RequestError: 413: it has more; 415 or 501: it is encoded in an unknown way.
    """
    for name, value in headers:
        if name in _CHECKED and value != _USUAL:
            _check_header(name, value, limit)


def _check_header(name: bytes, value: bytes, limit: int) -> None:
    if name == b"content-length" and int(value) > limit:
        raise _too_large(limit)
    if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
        _refuse_encoding(415, "content-encoding", value)
    if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
        _refuse_encoding(501, "transfer-encoding", value)
    if name == b"content-type":
        for charset in _CHARSET.findall(value):
            if charset.lower() not in (b"utf-8", b"utf8", b"us-ascii"):
                _refuse_encoding(415, "charset", charset)


def _refuse_encoding(status: int, header: str, value: bytes) -> None:
    shown = value.decode("ascii", "backslashreplace")[:80]
    hint = "send the body as it is, in UTF-8"
    # The body is not read, so the connection cannot be used again.
    headers = ((b"accept-encoding", b"identity"), (b"connection", b"close"))
    raise RequestError(status, f"{header}: {shown} is not known", hint, headers)


async def _read_rest(message: Message, receive: Receive, limit: int) -> bytes:
    parts = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts += message["body"]
        if len(parts) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()


def _too_large(limit: int) -> RequestError:
    # The rest of the body is not read, so the connection cannot be used again.
    return RequestError(
        413,
        f"the body has more than {limit} bytes",
        "send several smaller requests, or start the server with a larger --max-body",
        ((b"connection", b"close"),),
    )


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a JSON body; a byte order mark before it is ignored.

    Raises:
        RequestError: 400 with the position if it is not JSON, 422 with the field if it is
            another document.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_document(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if body.startswith(codecs.BOM_UTF8):
            return decode(decoder, body[len(codecs.BOM_UTF8) :])
        raise _no_json(body, error) from None


def _wrong_document(message: str) -> RequestError:
    place = _PLACE.search(message)
    field = place[1].lstrip(".") if place else ""
    found = _PLACE.sub("", message)
    where = f"{field}: {found}" if field else found
    return RequestError(422, where, "GET /openapi.json describes the document")


def _no_json(body: bytes, error: Exception) -> RequestError:
    if isinstance(error, UnicodeDecodeError):
        valid = body.decode("utf-8", errors="ignore").encode()
        reason = f"not UTF-8 (byte {_first_difference(valid, body)})"
    elif not body.strip():
        reason = "an empty body (byte 0)"
    else:
        reason = str(error) if _POSITION.search(str(error)) else f"{error} (byte {len(body)})"
    return RequestError(400, f"malformed JSON: {reason}", "the body is one JSON document in UTF-8")


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(one), len(other)))


def out_of_range(field: str, found: Any, expected: str, hint: str = LIMITS_HINT) -> RequestError:
    """Return the error of a field with the right type and a wrong value."""
    return RequestError(422, f"{field}: {found!r:.80}, expected {expected}", hint)
