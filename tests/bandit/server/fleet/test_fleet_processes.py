"""A fleet as its users run it: hosts as processes on one Redis, and anything may be killed."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

pytest.importorskip("redis")

ARMS = "c1", "c2", "a/b é"
BATCH = 5
PATIENCE = 180


def pulls(server):
    """Return the posteriors of a host."""
    found = server.get("/arms")["arms"]
    return {row["arm"]: (row["a"], row["b"], row["pulls"]) for row in found}


def test_two_hosts_learn_as_one_and_serve_on_without_redis(start, start_redis, eventually):
    redis = start_redis()
    options = ("--workers", "1", "--store", redis.url)
    first = start(*options, folder="first")
    second = start(*options, folder="second")
    decision = first.post("/predict", {"context": "u1", "k": 1})
    reward = {"decision_id": decision["decision_id"], "arm": decision["arms"][0], "reward": 1}
    assert second.post("/feedback", reward)["duplicate"] is False
    eventually(lambda: pulls(first) == pulls(second))
    assert first.post("/feedback", reward)["duplicate"] is True
    assert first.call("PUT", "/arms/new", {}).status == 201
    eventually(lambda: second.call("GET", "/arms/new").status == 200)
    redis.kill()
    eventually(lambda: not second.get("/health")["fleet"]["connected"])
    before = second.get("/health")["fleet"]["stale"]
    event = {"event_id": "late", "arm": "new", "reward": 1, "context": "u2"}
    refused = second.call("POST", "/feedback", event)
    assert refused.status == 503
    assert str(redis.socket) not in json.dumps(refused.body)
    assert second.post("/predict", {"context": "u1", "k": 4})["arms"]
    assert second.get("/health")["fleet"]["stale"] > before
    assert b"mlkit_fleet_connected 0.0" in second.raw("GET", "/metrics")[1]
    redis.start()
    eventually(lambda: second.call("POST", "/feedback", event).status == 200)
    eventually(lambda: pulls(first) == pulls(second) and pulls(first)["new"][2] == 1)
    assert [first.stop(), second.stop()] == [143, 143]


class Client(threading.Thread):
    """Sends batches of feedback to any host, each again and again until one acknowledges it."""

    def __init__(self, name, hosts, stop):
        super().__init__(daemon=True)
        self.draw, self.label, self.hosts, self.stopped = random.Random(name), name, hosts, stop
        self.sent = []

    def run(self):
        while not self.stopped.is_set():
            batch = [self.event(len(self.sent) + number) for number in range(BATCH)]
            while not self.acknowledged(batch):
                time.sleep(0.02)
            self.sent += batch

    def event(self, number):
        about = {"event_id": f"{self.label}-{number}", "arm": self.draw.choice(ARMS)}
        return about | {"context": "u1", "reward": self.draw.choice([0, 0.25, 1])}

    def acknowledged(self, batch):
        host = self.draw.choice(self.hosts)
        connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/feedback", json.dumps(batch))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        assert answer.status in (200, 503), answer.status
        return answer.status == 200


def kill(server, victim):
    """Kill one process of a host, or all of them."""
    writers = server.writers()
    pids = [server.process.pid, *server.children()] if victim == "host" else writers
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for_events(clients, more):
    wanted = sum(len(each.sent) for each in clients) + more
    until = time.monotonic() + PATIENCE
    while sum(len(each.sent) for each in clients) < wanted:
        assert time.monotonic() < until, "no feedback is acknowledged"
        time.sleep(0.01)


def expected(before, events):
    """Return the posteriors after each event has counted once."""
    found, count, rewards = {}, Counter(), Counter()
    for event in events:
        count[event["arm"]] += 1
        rewards[event["arm"]] += event["reward"]
    for arm, (a, b, known) in before.items():
        found[arm] = (a + rewards[arm], b + count[arm] - rewards[arm], known + count[arm])
    return found


@pytest.mark.slow
@pytest.mark.alone
def test_three_hosts_lose_and_double_nothing_whatever_is_killed(start, start_redis, eventually):
    kills = ["redis", "host", "writer", "redis", "writer", "host"]
    kills *= int(os.environ.get("MLKIT_TEST_FLEET_ROUNDS", "1"))
    redis = start_redis("--appendfsync", "always")
    draw, stop = random.Random(1), threading.Event()
    options = ("--workers", "1", "--store", redis.url)
    hosts = [start(*options, folder=f"host{n}") for n in range(3)]
    before = pulls(hosts[0])
    clients = [Client(f"client{n}", hosts, stop) for n in range(3)]
    for client in clients:
        client.start()
    for victim in kills:
        wait_for_events(clients, 20)
        time.sleep(draw.uniform(0.0, 0.2))
        place = draw.randrange(3)
        if victim == "redis":
            redis.kill()
            redis.start()
            continue
        kill(hosts[place], victim)
        if victim == "host":
            hosts[place].process.wait(PATIENCE)
            hosts[place] = start(*options, folder=f"host{place}")
    stop.set()
    for client in clients:
        client.join(PATIENCE)
        assert not client.is_alive()
    events = [event for client in clients for event in client.sent]
    wanted = expected(before, events)
    for host in hosts:
        eventually(lambda host=host: pulls(host) == wanted, PATIENCE)
    for start_at in range(0, len(events), 100):
        again = hosts[draw.randrange(3)].call(
            "POST", "/feedback", events[start_at : start_at + 100]
        )
        assert again.status == 200
        assert all(receipt["duplicate"] for receipt in again.body)


CANDIDATE = "context,arm,a,b,pulls\n,c1,10,30,38\n,c2,60,20,78\n,c9,5,5,8\n"


def versions_of(server, users=30):
    """Return which version answers each user."""
    asked = (server.post("/predict", {"context": f"u{number}", "k": 1}) for number in range(users))
    return [answer.get("version") for answer in asked]


@pytest.mark.slow
def test_a_candidate_is_the_same_on_all_hosts_until_one_of_them_ends_it(
    start, start_redis, eventually, tmp_path
):
    redis = start_redis("--appendfsync", "always")
    (tmp_path / "new.csv").write_text(CANDIDATE)
    (tmp_path / "other.csv").write_text(CANDIDATE.replace("10,30", "11,30"))
    options = ("--workers", "1", "--store", redis.url)
    brings = *options, "--candidate", str(tmp_path / "new.csv"), "--share", "0.5"
    first, second = start(*brings, folder="first"), start(*options, folder="second")
    eventually(lambda: None not in versions_of(first, 1) + versions_of(second, 1))
    found = versions_of(first)
    assert set(found) == {"stable", "candidate"}
    assert versions_of(second) == found
    decision = second.post("/predict", {"context": f"u{found.index('candidate')}", "k": 1})
    reward = {"decision_id": decision["decision_id"], "arm": decision["arms"][0], "reward": 1}
    assert first.post("/feedback", reward)["duplicate"] is False

    def compared(server):
        about = server.get("/versions")
        return [about[name]["decisions"] for name in ("stable", "candidate")], about["share"]

    # 30 users on each host; the first one was asked until there was a candidate.
    stable, other = 2 * found.count("stable"), 2 * found.count("candidate") + 1
    eventually(
        lambda: all(
            own >= wanted for own, wanted in zip(compared(first)[0], (stable, other), strict=True)
        )
    )
    eventually(lambda: compared(first) == compared(second))
    assert all(server.get("/versions")["candidate"]["rewards"] == 1 for server in (first, second))
    text = second.raw("GET", "/metrics")[1].decode()
    assert 'mlkit_fleet_version_rewards_total{version="candidate"} 1.0' in text
    refused = start(
        *options, "--candidate", "../other.csv", "--share", "0.5", ready=False, folder="third"
    )
    assert refused.wait() == 78
    assert "the fleet has another one" in refused.stderr
    kill(first, "host")
    first.process.wait(PATIENCE)
    assert second.call("POST", "/promote").status == 204
    assert second.call("POST", "/promote").status == 409
    kill(second, "writer")
    first = start(*brings, folder="first")  # the command of before
    for server in (first, second):
        eventually(lambda server=server: server.call("GET", "/arms/c9").status == 200)
        eventually(lambda server=server: versions_of(server, 3) == [None] * 3)
    eventually(lambda: pulls(first) == pulls(second))
    assert first.call("POST", "/rollback").status == 409
    assert [first.stop(), second.stop()] == [143, 143]
