"""Alerts: what a run reports to somebody who is not looking, by a webhook or a command."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import queue
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

from mlkit.errors import UsageError
from mlkit.pairs.live.topics import Results

KINDS = frozenset({"limit", "feed_broken", "command", "pair_refused", "finished", "session_end"})
"""Events that are reported."""
TIMEOUT = 10.0
WAITS = (1.0, 5.0, 30.0)
"""Seconds before an alert that failed is sent again."""
MOST_WAITING = 1000
_PASSING = frozenset({408, 425, 429})
"""Answers of the client's kind after which a webhook may be asked again."""

Send = Callable[[dict[str, Any]], None]
"""A way to send an alert. It raises `Refused` where trying again is of no use, and OSError."""


class Refused(OSError):
    """Whoever gets the alerts does not want this one."""


class Alerts:
    """Sends events from a thread of its own, so that nobody who is slow holds up the trading.

    One that cannot be sent is tried again three times within the next minute. Then it is lost, as
    are those that wait when the process dies: the topic `events` has them all.

    Args:
        name: The run's name, which each alert carries.
        sends: The ways to send one.
        problem: Called with what could not be sent, and why.
        waits: Seconds before each further try.
    """

    def __init__(
        self,
        name: str,
        sends: list[Send],
        problem: Callable[[str], None],
        waits: tuple[float, ...] = WAITS,
    ) -> None:
        self._name, self._sends, self._problem, self._waits = name, sends, problem, waits
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        if sends:
            self._thread.start()

    def take(self, results: Results) -> None:
        """Report the events among some results."""
        for message in results.messages.get("events", ()) if self._sends else ():
            event = msgspec.json.decode(message.value)
            if event["kind"] in KINDS:
                self._put({"run": self._name, **event})

    def _put(self, event: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._problem("alerts: too many wait; one was dropped")

    def close(self) -> None:
        """Send what waits, without waiting between tries, and end within twenty seconds."""
        self._closing.set()
        if self._sends:
            with contextlib.suppress(queue.Full):  # then the thread ends once it has sent them
                self._queue.put_nowait(None)
            self._thread.join(2 * TIMEOUT)
            if self._thread.is_alive():
                self._problem("alerts: the last ones were not sent before the end")

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            for send in self._sends:
                self._try(send, event)
            if self._closing.is_set() and self._queue.empty():
                return

    def _try(self, send: Send, event: dict[str, Any]) -> None:
        for wait in (*self._waits, None):
            try:
                send(event)
                return
            except Exception as error:  # nothing may end the thread that sends the others
                if wait is None or isinstance(error, Refused):
                    self._problem(f"an alert could not be sent: {error}")
                    return
                self._closing.wait(wait)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Lets an answer that sends elsewhere be an error: following it would drop the alert."""

    def redirect_request(self, *_: Any) -> None:
        return None


def webhook(url: str) -> Send:
    """Return a way to POST alerts as JSON to a URL; it follows no redirect.

    Args:
        url: The URL; `USER:PASSWORD@` before the host becomes a header. No message repeats the URL,
            which may be a secret.

    Raises:
        UsageError: It is not a URL of http or https.
    """
    parts = _split(url)
    headers = {"content-type": "application/json", "user-agent": "mlkit"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    opener = urllib.request.build_opener(_NoRedirect)

    def send(event: dict[str, Any]) -> None:
        body = json.dumps(event).encode()
        request = urllib.request.Request(place, body, headers, method="POST")
        try:
            with opener.open(request, timeout=TIMEOUT):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            kind = OSError if error.code >= 500 or error.code in _PASSING else Refused
            raise kind(f"the webhook answered {error.code}") from None
        except urllib.error.URLError as error:
            raise OSError(f"the webhook: {error.reason}") from None
        except http.client.HTTPException as error:
            raise OSError(f"the webhook does not speak HTTP ({type(error).__name__})") from None

    return send


def _split(url: str) -> SplitResult:
    """Return the parts of a URL that a request can be made of.

    Raises:
        UsageError: It is none.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            "--alert-url: neither http:// nor https:// with a host", hint="https://HOST/PATH"
        )
    return parts


def command(line: list[str]) -> Send:
    """Return a way to run a command that gets an alert as JSON on standard input.

    The command also finds its kind in the variable MLKIT_ALERT.

    Raises:
        UsageError: There is no such program.
    """
    if not line or shutil.which(line[0]) is None:
        raise UsageError(f"--alert-command: no program '{line[0] if line else ''}'")

    def send(event: dict[str, Any]) -> None:
        try:
            subprocess.run(
                line, input=json.dumps(event).encode(), timeout=TIMEOUT, check=True,
                stdout=subprocess.DEVNULL, env={**os.environ, "MLKIT_ALERT": event["kind"]},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise OSError(f"{line[0]} did not end within {TIMEOUT:g} s") from None
        except subprocess.CalledProcessError as error:
            raise OSError(f"{line[0]} ended with {error.returncode}") from None

    return send
