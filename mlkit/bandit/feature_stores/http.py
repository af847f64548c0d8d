"""Features from a service behind HTTP.

    POST URL  {"subject": "arm", "ids": ["c1", "c2"], "names": ["price"]}
    200       {"c1": {"price": 9.5}}

An id that the service does not know is left out. Redirections are not followed, and answers must
not be compressed: a small one could unpack to anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from mlkit.bandit.feature_stores.source import Row, SourceFailed, Subject

MOST_BYTES = 16 << 20
"""The longest answer."""
_CONNECTIONS = 32
_PIECE = 1 << 16
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class HttpFeatures:
    """Asks a service.

    Args:
        url: Its address.
        timeout: Seconds for an answer.
        token: The bearer token to send, or None.
    """

    def __init__(self, url: str, timeout: float, token: bytes | None = None) -> None:
        self._url, self._timeout = url, timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies and logins of whoever starts the server
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        self._session.headers["content-type"] = "application/json"
        self._session.headers["accept-encoding"] = "identity"
        if token is not None:
            self._session.headers["authorization"] = f"Bearer {token.decode()}"
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="features")

    async def fetch(
        self, subject: Subject, ids: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Row | None]:
        """Return the features of many ids."""
        body = msgspec.json.encode({"subject": subject, "ids": ids, "names": names})
        loop = asyncio.get_running_loop()
        end = time.monotonic() + self._timeout
        return await loop.run_in_executor(self._threads, self._ask, body, end)

    async def close(self) -> None:
        """Close connections; nobody waits for answers any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _ask(self, body: bytes, end: float) -> dict[str, Row | None]:
        left = end - time.monotonic()
        if left <= 0:
            raise SourceFailed("too slow")
        try:
            with self._session.post(
                self._url, body, timeout=left, stream=True, allow_redirects=False
            ) as answer:
                if answer.status_code != 200:
                    raise SourceFailed(f"status {answer.status_code}")
                return _rows(_content(answer, end))
        except (requests.RequestException, HTTPError, HTTPException, OSError) as error:
            # The text of the error may hold the URL, and that a login.
            raise SourceFailed(type(error).__name__) from None


def _content(answer: requests.Response, end: float) -> bytes:
    """Return a body that may be endless, or come a byte at a time."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise SourceFailed("the answer is compressed")
    found = bytearray()
    # What is there, not whole pieces: a byte a second must not hold a thread for hours.
    while piece := answer.raw.read1(_PIECE):
        found += piece
        if len(found) > MOST_BYTES:
            raise SourceFailed(f"more than {MOST_BYTES >> 20} MiB")
        if time.monotonic() > end:
            raise SourceFailed("too slow")
    return bytes(found)


def _rows(content: bytes) -> dict[str, Row | None]:
    try:
        found = _decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SourceFailed(f"no features by id and name: {error}") from None
    return {each: row if isinstance(row, dict) else None for each, row in found.items()}
