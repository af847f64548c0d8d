"""The answer to feedback leaves when the write-ahead log is synced; many events share a sync."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from typing import NamedTuple

LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
CALLS = "read,recvfrom,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync"


class Call(NamedTuple):
    pid: int
    start: float
    end: float
    text: str


def calls(trace):
    """Parse `strace -f -ttt`: a call that was interrupted by another is joined again."""
    unfinished, found = {}, []
    for line in trace.read_text(errors="replace").splitlines():
        if not (parts := LINE.match(line)):
            continue
        pid, at, text = int(parts[1]), float(parts[2]), parts[3]
        if text.endswith("<unfinished ...>"):
            unfinished[pid] = at, text
        elif text.startswith("<... "):
            started, head = unfinished.pop(pid, (at, ""))
            found.append(Call(pid, started, at, head + text))
        else:
            found.append(Call(pid, at, at, text))
    return found


def syncs_of(found):
    return [c for c in found if re.match("f(data)?sync", c.text) and "journal.sqlite-wal" in c.text]


def test_an_answer_leaves_after_the_sync_of_the_log(start, need_program, tmp_path, eventually):
    trace = tmp_path / "trace"
    strace = need_program("strace"), "-D", "-f", "-ttt", "-y", "-s", "200", "-o", str(trace)
    server = start("--workers", "1", prefix=(*strace, "-e", f"trace={CALLS}"))
    marks = [f"traced-{n}" for n in range(5)]
    for mark in marks:
        server.post("/feedback", {"event_id": mark, "arm": "c1", "context": "u9", "reward": 1})
    assert server.stop() == 143
    eventually(lambda: "exited with 143" in trace.read_text(errors="replace"))
    found = calls(trace)
    for mark in marks:
        seen = [c for c in found if mark in c.text]
        asked = next(c for c in seen if re.match("read|recv", c.text))
        answered = next(
            c for c in seen if re.match("write|send", c.text) and "HTTP/1.1 200" in c.text
        )
        between = [c for c in found if asked.end <= c.start and c.end <= answered.start]
        logged = [c for c in between if "pwrite64" in c.text and "journal.sqlite-wal" in c.text]
        synced = [c for c in syncs_of(between) if c.text.endswith("= 0")]
        assert logged, mark
        assert synced, mark
        assert logged[-1].end <= synced[-1].start


def test_events_that_wait_share_a_sync(start, eventually):
    server = start("--workers", "2")

    def metric(name):
        text = server.raw("GET", "/metrics")[1].decode()
        return sum(float(x.split()[-1]) for x in text.splitlines() if x.startswith(name))

    server.post("/feedback", {"event_id": "first", "arm": "c1", "reward": 1})
    before = metric("mlkit_journal_commits_total")
    (writer,) = server.writers()
    os.kill(writer, signal.SIGSTOP)  # so that all are sent before the first is taken
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    for number, each in enumerate(sockets):
        body = b'{"event_id": "%d", "arm": "c1", "reward": 1}' % number
        each.sendall(
            b"POST /feedback HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )
    time.sleep(0.5)
    os.kill(writer, signal.SIGCONT)
    for each in sockets:
        each.settimeout(20)
        assert each.recv(100).startswith(b"HTTP/1.1 200")
        each.close()
    assert metric("mlkit_journal_commits_total") - before <= 20
    assert server.get("/arms/c1")["pulls"] == 30 + 61
