"""Operations that answer their usual requests from bytes to bytes, without ASGI.

What a direct operation does not answer goes to the application, unchanged: an unusual request, a
wrong one, and one that it fails at. So errors have one source.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

from mlkit.web.errors import JSON, RequestError

RawHeaders = list[tuple[bytes, bytes]]
logger = logging.getLogger("mlkit.web")


class DirectOperation:
    """An operation that may answer at once.

    Args:
        accept: Raises a `RequestError` for headers that the application refuses.
        answer: Returns the JSON of the answer to a body; None: the application answers.
        count: Counts an answered request by its duration in seconds.
    """

    def __init__(
        self,
        accept: Callable[[RawHeaders], None],
        answer: Callable[[bytes], bytes | None],
        count: Callable[[float], None],
    ) -> None:
        self._accept = accept
        self._answer = answer
        self._count = count

    def accepts(self, headers: RawHeaders) -> bool:
        """Return whether a request with these headers may be answered."""
        try:
            self._accept(headers)
        except RequestError:
            return False
        return True

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


class DirectAnswers:
    """The direct operations of a server, and the head of their answers.

    Args:
        operations: They, by the target of the request.
    """

    def __init__(self, operations: dict[bytes, DirectOperation]) -> None:
        self.operation = operations.get
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._head = b""

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
