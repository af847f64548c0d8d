"""Workers, signals, the first process of a container, and the state directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from commands import run_mlkit
from connections import ends, is_delivered, is_read

OTHER = "context,arm,a,b,pulls\n,d1,4,4,6\n"


def seen_by_workers(server, path, looks=24):
    """Ask on new connections, which go to all workers."""
    return [server.get(path) for _ in range(looks)]


def state_of(pid):
    """Return the letter of a process's state; an empty text if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def test_feedback_to_one_worker_reaches_all(start):
    server = start("--workers", "3")
    server.post("/feedback", {"event_id": "e", "arm": "c1", "reward": 1})
    assert {arm["pulls"] for arm in seen_by_workers(server, "/arms/c1")} == {31}


def test_a_decision_is_known_to_all_workers_and_after_a_restart(start):
    server = start("--workers", "3")
    decision = server.post("/predict", {"context": "u1", "candidates": ["c1", "c2"], "k": 2})
    event = {"decision_id": decision["decision_id"], "arm": "c2", "reward": 0.5}
    receipts = [server.post("/feedback", event)["duplicate"] for _ in range(12)]
    assert receipts == [False] + 11 * [True]
    assert server.stop() == 143
    again = start()
    assert again.post("/feedback", event)["duplicate"]
    assert again.post("/feedback", event | {"arm": "c1"})["duplicate"] is False


def test_a_worker_that_dies_is_restarted(start, eventually):
    server = start("--workers", "2")
    before = server.children()
    os.kill(before[1], signal.SIGKILL)
    eventually(lambda: len(server.children()) == 3 and before[1] not in server.children())
    eventually(lambda: "worker 0 ended by SIGKILL; it starts again" in server.stderr)
    eventually(lambda: all("model" in told for told in seen_by_workers(server, "/health", 8)))
    assert "mlkit_process_restarts_total 1.0" in metrics(server)


def metrics(server):
    return server.raw("GET", "/metrics")[1].decode()


def test_sigterm_finishes_the_request_in_flight(start, eventually):
    server = start("--workers", "1")
    body = json.dumps({"k": 1}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
        stream.sendall(head + body[:3])
        eventually(lambda: is_read(ends(stream)))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        stream.sendall(body[3:])
        assert stream.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.process.wait(180) == 143


def test_an_idle_client_does_not_hold_up_the_end(start):
    server = start("--workers", "1", "--grace", "600")
    with contextlib.closing(server.connect()) as idle:
        idle.request("GET", "/health")
        idle.getresponse().read()
        assert server.stop() == 143


def test_a_second_signal_does_not_wait(start, eventually):
    server = start("--workers", "1", "--grace", "600")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
        stream.sendall(head)
        eventually(lambda: is_read(ends(stream)))
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: is_delivered(server.process.pid, signal.SIGTERM))
        time.sleep(0.3)
        assert server.process.poll() is None
        assert server.stop() == 143


def test_as_first_process_of_a_container(start, need_program, eventually):
    """PID 1 has no default actions of signals, and inherits the orphans of all others."""
    unshare, enter = need_program("unshare"), need_program("nsenter")
    if os.geteuid() != 0:
        pytest.skip("a PID namespace needs root")
    server = start(prefix=(unshare, "--pid", "--fork", "--mount-proc", "--kill-child"))
    (first,) = server.children()
    assert "NSpid:\t" in (status := Path(f"/proc/{first}/status").read_text())
    assert next(line for line in status.splitlines() if line.startswith("NSpid")).endswith("\t1")
    orphan = "sleep 0.2 & sleep 0.2 & sleep 0.2 &"
    subprocess.run([enter, "-t", str(first), "-p", "sh", "-c", orphan], check=True)
    below = f"/proc/{first}/task/{first}/children"
    eventually(lambda: len(Path(below).read_text().split()) <= 3)
    assert all(state_of(pid) != "Z" for pid in Path(below).read_text().split())
    os.kill(first, signal.SIGTERM)
    assert server.process.wait(180) == 143


# The posteriors file and the state


def test_sighup_swaps_to_the_new_file(start, eventually):
    server = start("--workers", "2")
    server.posteriors.write_text(OTHER)
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: {a["arms"] for a in seen_by_workers(server, "/health", 8)} == {1})
    assert server.post("/predict", {"k": 5})["arms"] == ["d1"]
    server.post("/feedback", {"event_id": "e", "arm": "d1", "reward": 1})
    server.stop()
    again = start()
    assert again.get("/arms/d1")["pulls"] == 7


def test_a_bad_file_changes_nothing(start, eventually):
    server = start("--workers", "2")
    server.posteriors.write_text("context,arm,a,b,pulls\n,d1,-4,4,6\n")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "still on the old posteriors" in server.stderr)
    assert "line 2" in server.stderr
    assert {a["arms"] for a in seen_by_workers(server, "/health")} == {3}


def test_another_file_needs_adopt(start):
    server = start()
    server.post("/feedback", {"event_id": "e", "arm": "c1", "reward": 1})
    server.stop()
    server.posteriors.write_text(OTHER)
    refused = start(ready=False)
    assert refused.wait() == 78
    assert "hint:" in refused.stderr
    assert "--adopt" in refused.stderr
    adopted = start("--adopt")
    assert [arm["arm"] for arm in adopted.get("/arms")["arms"]] == ["d1"]


@pytest.mark.slow  # it waits as long as the processes of a killed server may need
def test_a_state_serves_one_server(start):
    start()
    second = start(ready=False)
    assert second.wait() == 69
    assert "state" in second.stderr
    assert "hint:" in second.stderr


def test_the_key_is_nobody_elses(start):
    server = start()
    assert (server.state / "key").stat().st_mode & 0o777 == 0o600


def test_export_is_the_same_while_the_server_runs_and_after(start, tmp_path):
    server = start()
    events = [{"event_id": f"e{i}", "arm": "c1", "context": "u9", "reward": 1} for i in range(9)]
    server.post("/feedback", events)
    server.call("PUT", "/arms/new", {"a": 2, "b": 5})
    server.call("DELETE", "/arms/c2")
    running = export(server, tmp_path / "running.csv")
    server.stop()
    assert export(server, tmp_path / "stopped.csv") == running
    assert ',"new",2,5,' in running
    assert '"c2"' not in running
    assert '"u9","c1",' in running


def export(server, path):
    run_mlkit("bandit", "export", "--state", server.state, "-o", path, check=True)
    return "".join(sorted(line for line in path.read_text().splitlines(keepends=True)))


def test_what_was_exported_can_be_served(start, tmp_path):
    server = start()
    server.post("/feedback", {"event_id": "e", "arm": "c1", "reward": 1})
    export(server, tmp_path / "learned.csv")
    server.stop()
    shutil.rmtree(server.state)
    shutil.copy(tmp_path / "learned.csv", server.posteriors)
    again = start()
    assert again.get("/arms/c1")["pulls"] == 31


# The token and the log


def test_the_token_is_demanded_but_of_health(start, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    server = start("--token-file", str(secret))
    assert server.call("GET", "/health").status == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
        for path in ("/arms", "/metrics", "/docs", "/nowhere"):
            answer = server.raw("GET", path, **headers)
            assert answer[0] == 401, path
            assert answer[2]["www-authenticate"] == "Bearer"
    assert server.call("GET", "/arms", Authorization="Bearer s3cret").status == 200
    assert "s3cret" not in server.stderr


def test_the_log_is_what_fit_reads(start, tmp_path, mlkit):
    server = start("--workers", "2", "--log", str(tmp_path / "log"))
    for user in range(20):
        decision = server.post("/predict", {"context": f"u{user % 4}", "k": 2})
        arm = decision["arms"][0]
        event = {"decision_id": decision["decision_id"], "arm": arm, "reward": user % 2}
        server.post("/feedback", event)
        server.post("/feedback", event)
    server.stop()
    logs = sorted((tmp_path / "log").glob("*.jsonl"))
    done = mlkit("bandit", "fit", *logs, "-o", tmp_path / "fitted.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rewards"] == 20
