"""Ask a running server for recommendations, send feedback, and measure its rate.

    mlkit bandit serve posteriors.parquet --state state
    python examples/bandit/client.py http://127.0.0.1:8000

Only the standard library is used: this is what any client does.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import sys
import time
from typing import Any
from urllib.parse import urlsplit

SECONDS = 3.0
CLIENTS = 2
CANDIDATES = 400


class Client:
    """One connection to the server."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """Send a JSON document and give the answer's."""
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {answer}")
        return answer


def show(title: str, document: Any) -> None:
    """Print an answer."""
    print(f"{title}\n  {json.dumps(document)}")


def load(url: str, body: str, seconds: float) -> int:
    """Ask for predictions one after another, and count them."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        count += 1
    return count


def main(url: str) -> None:
    """Show one decision and its feedback, then a few seconds of load."""
    client = Client(url)
    show("GET /health", client.ask("GET", "/health"))
    decision = client.ask("POST", "/predict", {"k": 3})
    show('POST /predict {"k": 3}', decision)
    reward = {"decision_id": decision["decision_id"], "arm": decision["arms"][0], "reward": 1}
    show("POST /feedback, a click on the first arm", client.ask("POST", "/feedback", reward))
    show("the same event again", client.ask("POST", "/feedback", reward))

    arms = [row["arm"] for row in client.ask("GET", "/arms?limit=1000")["arms"]]
    candidates = random.Random(1).choices(arms, k=CANDIDATES)
    body = json.dumps({"candidates": candidates, "k": 10})
    with multiprocessing.Pool(CLIENTS) as pool:
        requests = sum(pool.starmap(load, [(url, body, SECONDS)] * CLIENTS))
    rate = requests / SECONDS
    print(
        f"under load: {rate:,.0f} requests/s of {CANDIDATES} candidates,"
        f" {rate * CANDIDATES / 1e6:.2f} million predictions/s"
        f" ({CLIENTS} plain Python clients on the same machine, which take most of the time;"
        " benchmarks/bandit measures with wrk)"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
