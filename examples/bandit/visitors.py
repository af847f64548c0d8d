"""Simulated visitors: they ask servers for recommendations, and click at known rates.

    python examples/bandit/visitors.py rates.csv 1500 http://127.0.0.1:8000 http://127.0.0.1:8001

rates.csv has the columns arm and rate. Every visitor gets three arms from one of the servers, in
turns, and looks at all of them; clicks and their absence are sent as feedback. Only the standard
library is used.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from pathlib import Path
from urllib.request import Request, urlopen

BATCH = 50
ARMS = 3


def post(url: str, document: object) -> list:
    """Send a JSON document and return that of the answer."""
    request = Request(url, json.dumps(document).encode(), method="POST")
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def visit(url: str, count: int, rates: dict[str, float], chance: random.Random) -> int:
    """Let some visitors in, and return their clicks."""
    decisions = post(f"{url}/predict/batch", [{"k": ARMS}] * count)
    events = [
        {
            "decision_id": decision["decision_id"],
            "arm": arm,
            "reward": int(chance.random() < rates[arm]),
        }
        for decision in decisions
        for arm in decision["arms"]
    ]
    post(f"{url}/feedback/batch", events)
    return sum(event["reward"] for event in events)


def main(table: str, visitors: int, urls: list[str]) -> None:
    """Send all visitors, and print what they clicked."""
    with Path(table).open(encoding="utf-8", newline="") as file:
        rates = {row["arm"]: float(row["rate"]) for row in csv.DictReader(file)}
    chance, clicks = random.Random(1), 0
    for number, start in enumerate(range(0, visitors, BATCH)):
        count = min(BATCH, visitors - start)
        clicks += visit(urls[number % len(urls)], count, rates, chance)
    print(f"{visitors:,} visitors saw {visitors * ARMS:,} arms and clicked {clicks:,}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
