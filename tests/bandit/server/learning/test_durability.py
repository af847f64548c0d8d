"""What was acknowledged counts exactly once, after any crash."""

from __future__ import annotations

import contextlib
import csv
import http.client
import itertools
import json
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import run_mlkit

ARMS = ("c1", "c2", "a/b é")
BATCH = 5


class Client(threading.Thread):
    """Sends batches of feedback, each again and again until it is acknowledged."""

    def __init__(self, name, server_of, stop):
        super().__init__(name=name, daemon=True)
        self._server_of = server_of
        self._stop_sending = stop
        self._connection = None
        self.sent = []

    def run(self):
        draw = random.Random(self.name)
        while not self._stop_sending.is_set():
            batch = [self._event(draw, len(self.sent) + i) for i in range(BATCH)]
            self.sent += batch
            while not self._acknowledged(batch):
                time.sleep(0.01)
        self._leave()

    def _leave(self):
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _event(self, draw, number):
        context = draw.choice([None, "u1", "u2"])
        rest = {} if context is None else {"context": context}
        event = {"event_id": f"{self.name}-{number}", "arm": draw.choice(ARMS), **rest}
        return event | {"reward": draw.choice([0, 0.25, 1])}

    def _acknowledged(self, batch):
        try:
            if self._connection is None:
                self._connection = self._server_of().connect()
            self._connection.request("POST", "/feedback", json.dumps(batch))
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._leave()
            return False
        assert answer.status in (200, 503), answer.status
        return answer.status == 200


def exported(server):
    """Return (context, arm) -> (a, b, pulls) of a state."""
    run = run_mlkit("bandit", "export", "--state", server.state, "-o", "-", check=True)
    rows = csv.DictReader(line for line in run.stdout.splitlines() if not line.startswith("#"))
    return {
        (row["context"], row["arm"]): (float(row["a"]), float(row["b"]), int(row["pulls"]))
        for row in rows
    }


def told_to_die(server, victim):
    """Return the processes to kill."""
    if victim == "supervisor":
        return [server.process.pid]
    if victim == "all":
        return [server.process.pid, *server.children()]
    return server.writers() if victim == "writer" else server.workers()[:1]


def kill(server, victim):
    for pid in told_to_die(server, victim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for_events(clients, more):
    """Wait until so many more events are acknowledged."""
    wanted = sum(len(each.sent) for each in clients) + more
    deadline = time.monotonic() + 180
    while sum(len(each.sent) for each in clients) < wanted:
        assert time.monotonic() < deadline, "no feedback is acknowledged"
        time.sleep(0.01)


def survive(start, kills, seed):
    """Kill at random moments under load; every event must count once in the end."""
    draw = random.Random(seed)
    running = [start("--workers", "2")]
    stop = threading.Event()
    clients = [Client(f"client{n}", lambda: running[-1], stop) for n in range(3)]
    before = exported(running[0])
    for client in clients:
        client.start()
    for victim in kills:
        wait_for_events(clients, 21)
        time.sleep(draw.uniform(0.0, 0.3))
        kill(running[-1], victim)
        if victim in ("supervisor", "all"):
            running[-1].process.wait(180)
            running.append(start("--workers", "2"))
    stop.set()
    for client in clients:
        client.join(180)
        assert not client.is_alive()
    return running[-1], before, [event for client in clients for event in client.sent]


def check_sums(before, after, events):
    pulls, rewards = Counter(), Counter()
    for event in events:
        for context in {"", event.get("context", "")}:
            pulls[context, event["arm"]] += 1
            rewards[context, event["arm"]] += event["reward"]
    for key, count in pulls.items():
        context, _arm = key
        a, b, known = before.get(key, (None, None, 0))
        assert after[key][2] == known + count, key
        if a is not None and not context:
            assert after[key][0] == pytest.approx(a + rewards[key], abs=1e-9), key
            assert after[key][1] == pytest.approx(b + count - rewards[key], abs=1e-9), key


def all_are_duplicates(server, events):
    receipts = [
        receipt
        for at in range(0, len(events), 100)
        for receipt in server.post("/feedback", events[at : at + 100])
    ]
    return all(receipt["duplicate"] for receipt in receipts)


@pytest.mark.parametrize(
    "kills",
    [
        ["writer", "worker", "writer", "all"],
        ["supervisor", "worker", "supervisor"],
        pytest.param(["writer", "worker", "supervisor", "all"] * 4, marks=pytest.mark.slow),
        pytest.param(["writer", "worker", "supervisor", "all"] * 12, marks=pytest.mark.nightly),
    ],
    ids=["writer and all", "supervisor", "many", "very many"],
)
def test_acknowledged_feedback_counts_once_whatever_is_killed(start, kills):
    server, before, events = survive(start, kills, seed=len(kills))
    assert len(events) > 20 * len(kills)
    check_sums(before, exported(server), events)
    assert all_are_duplicates(server, events)
    assert server.stop() == 143
    check_sums(before, exported(server), events)
    again = start()
    assert all_are_duplicates(again, events)
    check_sums(before, exported(again), events)


# The sync itself: SIGKILL leaves what the kernel has, so it proves nothing about the disk.


def trace_of(start, path, use, *options):
    """Run `use(server)` under strace, and give the calls of all processes in their order."""
    calls = "trace=fdatasync,fsync,sendto,write,writev,sendmsg"
    strace = ("strace", "-f", "-y", "-s", "64", "-o", str(path), "-e", calls, *options)
    server = start(prefix=strace)
    use(server)
    (supervisor,) = children_of(server.process.pid)
    os.kill(supervisor, signal.SIGTERM)
    server.process.wait(180)
    return path.read_text(errors="replace").splitlines()


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def syncs_before_answers(lines):
    """Return, for each 200 of /feedback, how many syncs of the journal were complete before it.

    A sync that another process interrupts on the screen is complete where it is resumed.
    """
    syncs, found, open_syncs = 0, [], set()
    for line in lines:
        pid = line.split(maxsplit=1)[0]
        if re.search(r"f(data)?sync\(\d+<[^>]*journal\.sqlite-wal>", line):
            if "unfinished" in line:
                open_syncs.add(pid)
            else:
                syncs += line.endswith("= 0")
        elif pid in open_syncs and "sync resumed" in line:
            open_syncs.discard(pid)
            syncs += line.endswith("= 0")
        elif "HTTP/1.1 200" in line and "resumed" not in line:
            found.append(syncs)
    return found


def feedback_of(name, count):
    return [{"event_id": f"{name}{i}", "arm": "c1", "reward": 1} for i in range(count)]


def test_an_answer_leaves_after_the_sync_of_its_event(start, tmp_path, need_program):
    need_program("strace")

    def use(server):
        for event in feedback_of("one", 10):
            server.post("/feedback", event)

    before_answers = syncs_before_answers(trace_of(start, tmp_path / "trace", use))
    assert len(before_answers) == 10
    steps = [after - before for before, after in itertools.pairwise(before_answers)]
    assert all(step >= 1 for step in steps), before_answers
    assert before_answers[0] >= 1


def test_events_share_a_sync(start, tmp_path, need_program):
    need_program("strace")

    def use(server):
        server.post("/feedback", feedback_of("batch", 500))
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda event: server.post("/feedback", event), feedback_of("x", 200)))

    before_answers = syncs_before_answers(
        # a slow disk, so that events arrive while a sync is under way on any machine
        trace_of(start, tmp_path / "trace", use, "-e", "inject=fdatasync:delay_exit=20000")
    )
    assert len(before_answers) == 201
    assert before_answers[-1] - before_answers[0] < 150
