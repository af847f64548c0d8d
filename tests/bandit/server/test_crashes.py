"""SIGKILL at random moments under feedback load: each acknowledged event counts exactly once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

ARMS = "c1", "c2", "a/b é", "new"
CONTEXTS = None, "u1", "u2"
STARTS = {"c1": (2, 30), "c2": (3, 50), "a/b é": (1, 50), "new": (1, 1)}
LOST = http.client.HTTPException, OSError, ValueError
CLIENTS = 4


class Client(threading.Thread):
    """Sends batches; those without an answer again, but for some whose fate stays open."""

    def __init__(self, number, server_now, stop):
        super().__init__()
        self.random = random.Random(number)
        self.number = number
        self.server_now = server_now
        self.stop = stop
        self.sent = 0
        self.acknowledged = []
        self.open = []
        self.refused = []

    def run(self):
        while not self.stop.is_set():
            with contextlib.suppress(*LOST), contextlib.closing(self.server_now().connect()) as to:
                while not self.stop.is_set():
                    self.send(self.batch(to), to)

    def batch(self, connection):
        decision_id = None
        if self.number % 2:
            request = {"context": self.random.choice(CONTEXTS), "k": 1}
            status, answer = post(connection, "/predict", request)
            decision_id = answer["decision_id"] if status == 200 else None
        return [self.event(decision_id) for _ in range(self.random.randint(1, 4))]

    def event(self, decision_id):
        self.sent += 1
        event = {
            "event_id": f"{self.number}-{self.sent}",
            "arm": self.random.choice(ARMS),
            "reward": self.random.choice([0, 0.5, 1]),
        }
        if decision_id is None:
            return event | {"context": self.random.choice(CONTEXTS)}
        return event | {"decision_id": decision_id}

    def send(self, batch, connection):
        try:
            status, answer = post(connection, "/feedback", batch)
        except LOST:
            status, answer = None, None
        if status == 200:
            self.acknowledged += batch
        elif status not in (None, 503):
            self.refused.append(answer)
        elif self.random.random() < 0.3:
            self.open += batch
        else:
            self.send_again(batch)

    def send_again(self, batch):
        while True:
            time.sleep(0.05)
            with contextlib.suppress(*LOST), contextlib.closing(self.server_now().connect()) as to:
                status, answer = post(to, "/feedback", batch)
                if status == 200:
                    self.acknowledged += batch
                    return
                if status != 503:
                    self.refused.append(answer)
                    return


def post(connection, path, document):
    connection.request("POST", path, json.dumps(document))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def kill(server, target):
    pids = {
        "writer": server.writers(),
        "worker": server.workers()[:1],
        "supervisor": [server.process.pid],
        "everything": [server.process.pid, *server.children()],
    }[target]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def contents(mlkit, server):
    """Pulls of each (context, arm); parameters of each arm."""
    assert mlkit("bandit", "export", "--state", server.state, "-o", "now.csv").returncode == 0
    lines = (server.directory / "now.csv").read_text().splitlines()
    head = next(line for line in lines if not line.startswith("#")).split(",")
    rows = [
        dict(zip(head, line.split(","), strict=True))
        for line in lines[lines.index(",".join(head)) + 1 :]
    ]
    pulls = {(row["context"] or None, row["arm"]): int(row["pulls"]) for row in rows}
    arms = {r["arm"]: (float(r["a"]), float(r["b"])) for r in rows if not r["context"]}
    return pulls, arms


def expected(events, context_of):
    pulls = Counter({(None, "c1"): 30, (None, "c2"): 51, (None, "a/b é"): 49, ("u1", "c1"): 53})
    arms = dict(STARTS)
    for event in events:
        arm, context = event["arm"], context_of(event)
        pulls[None, arm] += 1
        if context is not None:
            pulls[context, arm] += 1
        a, b = arms[arm]
        arms[arm] = a + event["reward"], b + 1 - event["reward"]
    return dict(pulls), arms


def resolver(server):
    from mlkit.bandit.server.decision import DecisionIds

    ids = DecisionIds((server.state / "key").read_bytes())

    def context_of(event):
        if "decision_id" in event:
            return ids.resolve(event["decision_id"]).context
        return event["context"]

    return context_of


def receipts(server, events):
    found = []
    for start in range(0, len(events), 500):
        found += server.post("/feedback", events[start : start + 500])
    return [each["duplicate"] for each in found]


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_acknowledged_events_count_exactly_once_whatever_is_killed(start, mlkit, kills):
    running = [start("--workers", "2")]
    stop = threading.Event()
    clients = [Client(number, lambda: running[0], stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    chance = random.Random(kills)
    targets = ["writer", "worker", "everything", "writer", "supervisor", "worker"]
    for kill_number in range(kills):
        time.sleep(chance.uniform(0.05, 0.8))
        target = targets[kill_number % len(targets)]
        kill(running[0], target)
        if target in ("supervisor", "everything"):
            running[0].process.wait(10)
            running[0] = start("--workers", "2")
    time.sleep(0.3)
    stop.set()
    for client in clients:
        client.join(60)
        assert not client.refused
    server = running[0]
    acknowledged = [event for client in clients for event in client.acknowledged]
    unanswered = [event for client in clients for event in client.open]
    assert len(acknowledged) > 50 * kills / 6
    kill(server, "everything")
    server.process.wait(10)
    before = contents(mlkit, server)
    server = start("--workers", "2")
    assert all(receipts(server, acknowledged))
    counted = receipts(server, unanswered)
    there = [event for event, was in zip(unanswered, counted, strict=True) if was]
    assert before == expected(acknowledged + there, resolver(server))
    assert contents(mlkit, server) == expected(acknowledged + unanswered, resolver(server))
