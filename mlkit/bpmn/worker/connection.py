"""What a worker asks of a server, over one connection that is kept."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from typing import IO, Any
from urllib.parse import quote, urlsplit

from mlkit.errors import BadData, ConfigurationError, MlkitError, ServiceUnavailable, UsageError
from mlkit.storage.objects import Sink

_MARGIN = 15.0
_CHUNK = 1 << 20
_BYTES = "application/octet-stream"
_PATH = "/engine-rest"


class Lost(MlkitError):
    """The task is no longer this worker's."""


class _NoSuchPath(Lost):
    """The server has no such operation."""


class Connection:
    """A connection to a server with the external-task API of Camunda 7; one thread uses it.

    Args:
        url: The server, with or without `/engine-rest`.
        token: A bearer token; None where none is needed.
        worker: What the worker calls itself.
    """

    def __init__(self, url: str, token: str | None, worker: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--server {url!r}: expected a URL", hint="http://127.0.0.1:8080")
        self.url = url
        self.worker = worker
        self._parts = parts
        path = parts.path.rstrip("/")
        self._path = path if path.endswith(_PATH) else f"{path}{_PATH}"
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._http: http.client.HTTPConnection | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """End what is asked, from any thread: the server then keeps its tasks."""
        self._closed.set()
        found = self._http
        if found is not None and found.sock is not None:
            with contextlib.suppress(OSError):
                found.sock.shutdown(socket.SHUT_RDWR)

    # -- requests --------------------------------------------------------------------------

    def fetch(self, topics: list[str], most: int, lock: float, patience: float) -> list[Any]:
        """Return tasks, as soon as there are some."""
        asked = [{"topicName": each, "lockDuration": int(lock * 1000)} for each in topics]
        found: list[Any] = self._post(
            "/external-task/fetchAndLock",
            {
                "maxTasks": most,
                "topics": asked,
                "asyncResponseTimeout": int(patience * 1000),
                "usePriority": True,
            },
            patience + _MARGIN,
        )
        return found

    def task(self, identifier: str, verb: str, body: dict[str, Any]) -> None:
        """Report on a task.

        Raises:
            Lost: It is no longer this worker's.
        """
        self._post(f"/external-task/{quote(identifier, safe='')}/{verb}", body, _MARGIN)

    def file(self, instance: str, name: str) -> bytes:
        """Return the content of a variable that is a file."""
        place = f"/execution/{quote(instance, safe='')}/localVariables/{quote(name, safe='')}/data"
        return self._request("GET", place, None, _MARGIN)

    def job(self, identifier: str) -> dict[str, Any] | None:
        """Return a locked task as a job; None where the server is not of mlkit.

        Raises:
            Lost: The task is no longer this worker's.
        """
        try:
            content = self._request("GET", self._job_path(identifier, "job"), None, _MARGIN)
        except _NoSuchPath:
            return None
        found: dict[str, Any] = json.loads(content)
        return found

    def copy_content(self, identifier: str, name: str, target: Sink) -> None:
        """Copy a content that a job names into a file."""
        path = self._job_path(identifier, f"content/{name}")
        self._request("GET", path, None, _MARGIN, target)

    def send_content(self, identifier: str, name: str, content: IO[bytes]) -> None:
        """Send a content of a result."""
        self._request("PUT", self._job_path(identifier, f"content/{name}"), content, _MARGIN)

    def _job_path(self, identifier: str, what: str) -> str:
        return f"/external-task/{quote(identifier, safe='')}/{what}?workerId={quote(self.worker)}"

    def _post(self, path: str, body: dict[str, Any], limit: float) -> Any:
        content = self._request("POST", path, {"workerId": self.worker, **body}, limit)
        return json.loads(content) if content else None

    def _request(
        self, method: str, path: str, body: Any, limit: float, target: Sink | None = None
    ) -> bytes:
        try:
            status, content = self._answer(method, path, body, limit, target)
        except (OSError, http.client.HTTPException) as error:
            self._http = None
            raise ServiceUnavailable(
                f"{self.url}: {str(error) or type(error).__name__}",
                hint="is the server running there?",
            ) from error
        if status >= 400:
            raise self._refusal(status, content)
        return content

    def _answer(
        self, method: str, path: str, body: Any, limit: float, target: Sink | None
    ) -> tuple[int, bytes]:
        if self._http is None:
            self._http = self._connect()
        self._http.timeout = limit
        if self._http.sock is not None:
            self._http.sock.settimeout(limit)
        headers = self._headers
        if hasattr(body, "read"):
            size = str(os.fstat(body.fileno()).st_size)
            headers = {**headers, "Content-Type": _BYTES, "Content-Length": size}
        elif body is not None:
            body = json.dumps(body)
        self._http.request(method, self._path + path, body, headers)
        response = self._http.getresponse()
        if target is None or response.status >= 400:
            return response.status, response.read()
        while part := response.read(_CHUNK):
            target.write(part)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return response.status, b""

    def _connect(self) -> http.client.HTTPConnection:
        if self._closed.is_set():
            raise ConnectionAbortedError("the worker stops")
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, context=context)
        return http.client.HTTPConnection(host, port)

    def _refusal(self, status: int, content: bytes) -> MlkitError:
        try:
            document = json.loads(content)
            message = str(document.get("message") or document.get("detail") or document)
            if status == 404 and document.get("type") == "NotFoundException":
                return _NoSuchPath(f"{self.url}: {message}")
        except (ValueError, AttributeError):
            message = content[:200].decode("utf-8", "replace")
        if status in (401, 403):
            hint = "--token-file names a file with a token that has the role 'worker'"
            return ConfigurationError(f"{self.url}: {status}: {message}", hint=hint)
        if status in (400, 404):
            return Lost(f"{self.url}: {message}")
        if status in (409, 413, 422):
            return BadData(message)
        return ServiceUnavailable(f"{self.url}: {status}: {message}", hint="see the server's log")
