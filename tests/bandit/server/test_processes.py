"""The server's processes: several workers, restarts, signals, PID 1."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

EVENT = {"event_id": "e", "arm": "c1", "context": "u5", "reward": 1}


def connections_to_all(server, workers):
    """Give a connection to each worker: the kernel spreads connections by their ports."""
    found = {}
    for _ in range(200):
        connection = server.connect()
        connection.connect()
        local = connection.sock.getsockname()[1]
        pid = owner(server, local)
        if pid is None or pid in found:
            connection.close()
        else:
            found[pid] = connection
        if len(found) == workers:
            return list(found.values())
    raise AssertionError("not every worker was reached")


def owner(server, client_port):
    """The worker whose open socket has this client at its other end."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        for pid in server.workers():
            inodes = {f"socket:[{inode}]" for inode in inodes_of(client_port)}
            with contextlib.suppress(OSError):
                if inodes & {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}:
                    return pid
    return None


def inodes_of(client_port):
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].split(":")[1], 16) == client_port and fields[3] == "01":
            yield fields[9]


def ask(connection, method, path, document=None):
    connection.request(method, path, None if document is None else json.dumps(document))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


def test_feedback_given_to_one_worker_reaches_all_within_a_second(start, eventually):
    server = start("--workers", "3")
    one, *others = connections_to_all(server, 3)
    assert ask(one, "POST", "/feedback", EVENT)[1]["duplicate"] is False
    for other in others:
        eventually(lambda other=other: ask(other, "GET", "/arms/c1")[1]["pulls"] == 31, 1.0)
        _, answer = ask(other, "POST", "/predict", {"context": "u5", "candidates": ["c1"]})
        assert answer["unknown"] == {"contexts": 0, "arms": 0}
        assert ask(other, "POST", "/feedback", EVENT)[1]["duplicate"] is True


def test_a_decision_of_one_worker_resolves_at_another_and_after_a_restart(start):
    server = start("--workers", "2")
    one, other = connections_to_all(server, 2)
    _, decision = ask(one, "POST", "/predict", {"context": "u7", "candidates": ["c1"]})
    event = {"decision_id": decision["decision_id"], "arm": "c1", "reward": 1}
    assert ask(other, "POST", "/feedback", event)[0] == 200
    assert server.stop() == 143
    server = start("--workers", "2")
    assert server.post("/feedback", event)["duplicate"] is True
    assert server.post("/feedback", event | {"arm": "c2"})["duplicate"] is False
    found = server.post("/predict", {"context": "u7", "candidates": ["c1", "c2"]})
    assert found["unknown"]["contexts"] == 0


def test_killed_processes_start_again(start, eventually):
    server = start("--workers", "2")
    (writer,) = server.writers()
    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(server.workers()) == 2 and victim not in server.workers())
    os.kill(writer, signal.SIGKILL)
    assert server.post("/feedback", EVENT)["duplicate"] is False
    assert server.writers() != [writer]
    assert (
        f"worker 0 (pid {victim})" in server.stderr or f"worker 1 (pid {victim})" in server.stderr
    )
    restarts = "mlkit_process_restarts_total 2.0"
    eventually(lambda: restarts in server.raw("GET", "/metrics")[1].decode())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_all_processes(start, number, code):
    server = start("--workers", "2")
    children = server.children()
    assert len(children) == 3
    assert server.stop(number) == code
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert "Traceback" not in server.stderr


def test_sigterm_finishes_the_requests_in_flight(start, eventually):
    server = start("--workers", "1")
    (writer,) = server.writers()
    os.kill(writer, signal.SIGSTOP)  # so that the request is in flight when the signal comes
    connection = server.connect()
    connection.request("POST", "/feedback", json.dumps(EVENT))
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: refused(server))
    os.kill(writer, signal.SIGCONT)
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["duplicate"] is False
    assert server.process.wait(20) == 143
    server = start("--workers", "1")
    assert server.post("/feedback", EVENT)["duplicate"] is True


def refused(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return True
    return False


def test_the_grace_time_ends_what_does_not_finish(start):
    server = start("--workers", "1", "--grace", "1")
    (writer,) = server.writers()
    os.kill(writer, signal.SIGSTOP)
    connection = server.connect()
    connection.request("POST", "/feedback", json.dumps(EVENT))
    time.sleep(0.2)
    assert server.stop() == 143  # the stopped writer is killed
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()


def test_workers_and_writer_leave_when_the_supervisor_dies(start, eventually):
    server = start("--workers", "2")
    children = server.children()
    server.process.kill()
    server.process.wait(10)
    eventually(lambda: not any(alive(pid) for pid in children))


def alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_two_servers_do_not_share_a_state(start):
    start("--workers", "1")
    second = start("--workers", "1", ready=False)
    assert second.process.wait(30) == 69
    assert "in use by another server" in second.stderr


def test_a_port_in_use_is_explained(start, tmp_path, mlkit):
    server = start("--workers", "1")
    done = mlkit(
        *("bandit", "serve", server.posteriors, "--state", "other", "--port", str(server.port))
    )
    assert done.returncode == 69
    assert f"port {server.port} of 127.0.0.1 is in use" in done.stderr


# In a container the server is the process 1 of its own PID namespace.


@pytest.fixture
def as_first_process(need_program):
    unshare = need_program("unshare")
    prefix = unshare, "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"
    if os.geteuid() == 0:
        prefix = unshare, "--pid", "--fork", "--mount-proc"
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs PID namespaces: run as root, or allow those of users")
    return prefix


def first_process(server):
    """The process 1 of the namespace, as it is called outside."""
    (pid,) = server.children()
    return pid


def children_of(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_first_process_of_a_container_stops_on_sigterm(start, as_first_process):
    server = start("--workers", "2", prefix=as_first_process)
    server.post("/feedback", EVENT)
    os.kill(first_process(server), signal.SIGTERM)
    assert server.process.wait(20) == 143


def test_the_first_process_of_a_container_reaps_orphans(
    start, as_first_process, need_program, eventually
):
    server = start("--workers", "2", prefix=as_first_process)
    init = first_process(server)
    orphans = "for n in 1 2 3; do (sleep 0.2 & ); done"
    subprocess.run(
        [need_program("nsenter"), "-t", str(init), "-p", "--", "sh", "-c", orphans], check=True
    )
    eventually(lambda: len(children_of(init)) == 3)
    assert all(alive(pid) for pid in children_of(init))
    assert server.get("/health")["status"] == "ok"
