"""Operations that answer their usual requests from bytes to bytes, without ASGI.

What a direct operation does not answer goes to the application, unchanged: an unusual request, a
wrong one, and one that it fails at. So errors have one source.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from mlkit.web.errors import JSON, RequestError

RawHeaders = list[tuple[bytes, bytes]]
END_OF_HEAD = b"\r\n\r\n"
_MOST_KNOWN, _LONGEST_KNOWN = 4096, 1024
logger = logging.getLogger("mlkit.web")


class DirectOperation:
    """An operation that may answer at once.

    Args:
        accept: Raises a `RequestError` for headers that the application refuses.
        admit: Raises one for those of a caller who may not have an answer now, of all that
            `accept` asks what may change from request to request; None: everybody may.
        answer: Returns the JSON of the answer to a body; None: the application answers.
        count: Counts an answered request by its duration in seconds.
    """

    def __init__(
        self,
        accept: Callable[[RawHeaders], None],
        answer: Callable[[bytes], bytes | None],
        count: Callable[[float], None],
        admit: Callable[[RawHeaders], None] | None = None,
    ) -> None:
        self._accept = accept
        self._admit = admit
        self._answer = answer
        self._count = count

    def accepts(self, headers: RawHeaders) -> bool:
        """Return whether a request with these headers may be answered."""
        return _passes(self._accept, headers)

    def admits(self, headers: RawHeaders) -> bool:
        """Return whether one with headers that were accepted before may be answered now."""
        return self._admit is None or _passes(self._admit, headers)

    def answer(self, body: bytes, arrival: float) -> bytes | None:
        """Answer a request that came at a time of `perf_counter`; None: the application does."""
        try:
            found = self._answer(body)
        except Exception:
            logger.exception("a direct answer failed: the application answers")
            return None
        if found is not None:
            self._count(perf_counter() - arrival)
        return found


def _passes(check: Callable[[RawHeaders], None], headers: RawHeaders) -> bool:
    try:
        check(headers)
    except RequestError:
        return False
    return True


class KnownHead(NamedTuple):
    """What the parser found in the head of a request that was answered directly.

    Attributes:
        operation: What answered.
        headers: The headers.
        length: The bytes of the body.
    """

    operation: DirectOperation
    headers: RawHeaders
    length: int


class DirectAnswers:
    """The direct operations of a server, the heads that they know, and that of their answers.

    Attributes:
        operation: Returns the operation of a target, or None.
        known: Returns what is known of a head, or None.
        heads: What is known of heads.

    Args:
        operations: They, by the target of the request.
    """

    def __init__(self, operations: dict[bytes, DirectOperation]) -> None:
        self.operation = operations.get
        self.heads: dict[bytes, KnownHead] = {}
        self.known = self.heads.get
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    def learn(
        self, request: bytes, operation: DirectOperation, found: RawHeaders, body: bytes
    ) -> None:
        """Remember the head of a request, if the request is nothing but that and its body.

        Args:
            request: What came, with nothing of another request before.
            operation: What answered.
            found: The headers.
            body: The body that the parser found.
        """
        end = request.find(END_OF_HEAD) + len(END_OF_HEAD)
        head = request[:end]
        # With line feeds of their own a parser might see an earlier end.
        is_plain = len(head) <= _LONGEST_KNOWN and head.count(b"\n") == head.count(b"\r\n")
        if is_plain and request[end:] == body:
            if len(self.heads) >= _MOST_KNOWN:
                self.heads.clear()
            self.heads[head] = KnownHead(operation, found, len(body))

    def whole(self, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """Return an answer as it is on the wire.

        Args:
            headers: The headers of all answers of the server: another list when they change.
            body: The JSON.
        """
        if headers is not self._headers:
            lines = (b"%b: %b\r\n" % each for each in (*headers, *JSON))
            # The headers themselves may hold a percent sign.
            self._head = b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"content-length: "
            self._headers = headers
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
