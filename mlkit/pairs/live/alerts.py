"""Alerts: what a run reports to somebody who is not looking, by a webhook or a command."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec

from mlkit.errors import UsageError
from mlkit.pairs.live.topics import Results

KINDS = frozenset(
    {"limit", "feed_broken", "command", "pair_refused", "finished", "session_end", "alert_failed"}
)
"""Events that are reported."""
TIMEOUT = 10.0
MOST_WAITING = 1000

Send = Callable[[dict[str, Any]], None]


class Alerts:
    """Sends events from a thread of its own, so that nobody who is slow holds up the trading.

    Args:
        name: The run's name, which each alert carries.
        sends: The ways to send one.
        problem: Called with what could not be sent, and why.
    """

    def __init__(self, name: str, sends: list[Send], problem: Callable[[str], None]) -> None:
        self._name, self._sends, self._problem = name, sends, problem
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
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
        """Send what waits, and end."""
        if self._sends:
            self._queue.put(None)
            self._thread.join(2 * TIMEOUT)

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            for send in self._sends:
                try:
                    send(event)
                except (OSError, subprocess.SubprocessError, ValueError) as error:
                    self._problem(f"an alert could not be sent: {error}")


def webhook(url: str) -> Send:
    """Return a way to POST alerts as JSON to a URL; it follows no redirect to another scheme.

    Raises:
        UsageError: It is not a URL of http or https.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--alert-url {url}: neither http:// nor https://")

    def send(event: dict[str, Any]) -> None:
        body = json.dumps(event).encode()
        headers = {"content-type": "application/json", "user-agent": "mlkit"}
        request = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            pass

    return send


def command(line: list[str]) -> Send:
    """Return a way to run a command that gets an alert as JSON on standard input.

    The command also finds its kind in the variable MLKIT_ALERT.
    """

    def send(event: dict[str, Any]) -> None:
        subprocess.run(
            line, input=json.dumps(event).encode(), timeout=TIMEOUT, check=True,
            stdout=subprocess.DEVNULL, env={**os.environ, "MLKIT_ALERT": event["kind"]},
        )  # fmt: skip

    return send
