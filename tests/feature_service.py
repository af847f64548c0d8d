"""A service of features behind HTTP for the tests, which may be made to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = BaseHTTPRequestHandler


class FeatureService:
    """Answers from `rows[subject][id]`, or as `misbehave` does."""

    def __init__(self, rows: dict[str, dict[str, Any]] | None = None) -> None:
        self.rows = rows or {}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.misbehave: Callable[[Handler], None] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/features"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler: Handler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        self.asked.append(json.loads(body))
        self.headers.append({name.lower(): text for name, text in handler.headers.items()})
        if self.misbehave is not None:
            return self.misbehave(handler)
        rows = self.rows.get(self.asked[-1]["subject"], {})
        found = {each: rows[each] for each in self.asked[-1]["ids"] if each in rows}
        return send(handler, json.dumps(found).encode())

    def _handler(self) -> type[Handler]:
        service = self

        class Answering(Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service.answer(self)

            def log_message(self, *about: Any) -> None:
                pass

        return Answering


def send(handler: Handler, body: bytes, status: int = 200, **headers: str) -> None:
    """Send an answer."""
    handler.send_response(status)
    for name, text in headers.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
