"""Bad days: lost journals, full disks, read-only backups, damaged files, floods of headers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest


def serve_once(start, *options):
    """Start a server that has to refuse, and wait for its end."""
    server = start("--workers", "1", *options, ready=False)
    code = server.wait()
    assert "Traceback" not in server.stderr
    assert "starts again" not in server.stderr
    assert server.stderr.count("error:") == 1, server.stderr
    return code, server.stderr


@pytest.fixture
def small_disk(tmp_path):
    """Mount a small disk; remount it with other options by calling it again."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a disk needs root")
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a disk cannot be mounted here")
        return place

    yield mount
    while (
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False).returncode
        == 0
    ):
        pass


# The journal


@pytest.mark.parametrize("damage", ["missing", "empty", "only its log is left"])
def test_a_journal_that_is_gone_is_no_new_start(start, damage):
    server = start("--workers", "1")
    server.post("/feedback", {"event_id": "1", "arm": "c1", "reward": 1})
    server.stop()
    journal = server.state / "journal.sqlite"
    journal.unlink()
    if damage == "empty":
        journal.touch()
    elif damage == "only its log is left":
        Path(f"{journal}-wal").write_bytes(b"x" * 100)
    code, text = serve_once(start)
    assert code == 65
    assert "journal.sqlite" in text
    assert "backup" in text
    assert not journal.exists() or journal.stat().st_size == 0


def test_a_start_that_failed_leaves_no_state_and_a_later_one_succeeds(start, tmp_path):
    (tmp_path / "posteriors.csv").write_text("arm,a,b\nc1,0,1\n")
    code, text = serve_once(start)
    assert code == 65
    assert "line 2" in text
    assert not (tmp_path / "state").exists()
    (tmp_path / "posteriors.csv").write_text("arm,a,b\nc1,1,1\n")
    server = start("--workers", "1")
    server.stop()
    (tmp_path / "posteriors.csv").write_text("arm,a,b\nc1,0,1\n")
    assert serve_once(start, "--adopt")[0] == 65
    assert (server.state / "journal.sqlite").exists()


def test_a_damaged_posteriors_file_ends_the_start_at_once(start, tmp_path, mlkit):
    server = start("--workers", "1")
    server.stop()
    good = tmp_path / "good.parquet"
    done = mlkit("bandit", "export", "--state", server.state, "-o", good)
    assert done.returncode == 0, done.stderr
    content = good.read_bytes()
    shutil.rmtree(server.state)
    for damaged in (content[: len(content) // 2], content[:4] + b"\xff" * 60 + content[64:]):
        (tmp_path / "damaged.parquet").write_bytes(damaged)
        run = mlkit("bandit", "serve", "damaged.parquet", "--state", "state", "--port", "0")
        assert run.returncode == 65, run.stderr
        assert "damaged.parquet" in run.stderr
        assert "Traceback" not in run.stderr
        assert "starts again" not in run.stderr


def test_a_bad_file_on_sighup_is_named_as_the_user_knows_it(start, eventually):
    server = start("--workers", "1")
    server.posteriors.write_text("arm,a,b\nc1,0,1\n")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "still on the old posteriors" in server.stderr)
    (line,) = [line for line in server.lines if "still on the old" in line]
    assert str(server.posteriors) in line
    assert str(server.state) not in line


# Disks


def test_an_export_of_a_stopped_server_leaves_the_state_as_it_was(start, tmp_path, mlkit):
    server = start("--workers", "1")
    server.post("/feedback", {"event_id": "1", "arm": "c1", "reward": 1})
    server.stop()

    def content():
        files = sorted(path for path in server.state.rglob("*") if path.is_file())
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = content()
    done = mlkit("bandit", "export", "--state", server.state, "-o", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert re.search(r'"c1",\d+,\d+,31,', (tmp_path / "out.csv").read_text())
    assert content() == before


def test_a_read_only_state_and_one_on_a_full_disk_can_be_exported(
    start, small_disk, tmp_path, mlkit
):
    disk = small_disk("size=60m")
    server = start("--workers", "1")
    server.post("/feedback", {"event_id": "1", "arm": "c1", "reward": 1})
    for end in ("stopped", "killed"):
        server.stop() if end == "stopped" else server.close()
        shutil.copytree(
            server.state, disk / end, ignore=shutil.ignore_patterns("table-*", "writer.sock")
        )
        if end == "stopped":
            server = start("--workers", "1")
            server.post("/feedback", {"event_id": "2", "arm": "c1", "reward": 1})
    with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    for options in (None, "remount,ro"):
        if options:
            small_disk(options)
        for end, pulls in [("stopped", 31), ("killed", 32)]:
            done = mlkit("bandit", "export", "--state", disk / end, "-o", tmp_path / "out.csv")
            assert done.returncode == 0, done.stderr
            assert re.search(rf'"c1",\d+,\d+,{pulls},', (tmp_path / "out.csv").read_text())


def test_a_start_on_a_full_disk_is_reported_once(small_disk, tmp_path, mlkit):
    disk = small_disk("size=2m")
    (tmp_path / "p.csv").write_text("arm,a,b\nc1,1,1\n")
    for filled in (0, 1 << 20, 2 << 20):
        with contextlib.suppress(OSError):
            (disk / "filling").write_bytes(bytes(filled))
        done = mlkit("bandit", "serve", "p.csv", "--state", disk / "state", "--port", "0")
        assert done.returncode == 69, done.stderr
        assert done.stderr.count("error:") == 1
        assert "Traceback" not in done.stderr
        assert "starts again" not in done.stderr


def test_a_disk_that_fills_up_is_reported_once_and_the_server_goes_on_when_there_is_room(
    start, small_disk, tmp_path
):
    disk = small_disk("size=12m")
    (disk / "state").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(disk / "state")
    server = start("--workers", "1")
    event = {"arm": "c1", "reward": 1, "context": "u" * 200}
    server.post("/feedback", {"event_id": "before", **event})

    def fill():
        with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))

    fill()
    # What the journal has room for is accepted; it needs a page sooner or later.
    answers = [
        server.call("POST", "/feedback", {"event_id": f"full {n}", **event}).status
        for n in range(60)
    ]
    assert answers[-1] == 503
    assert set(answers) <= {200, 503}
    assert server.call("POST", "/predict", {"k": 1}).status == 200
    (disk / "filling").unlink()
    server.post("/feedback", {"event_id": "after", **event})
    fill()
    assert server.stop() == 143
    assert server.stderr.count("cannot be written") <= 2
    assert "Traceback" not in server.stderr
    assert "starts again" not in server.stderr
    (disk / "filling").unlink()
    again = start("--workers", "1")
    for name in ("before", "after"):
        assert again.post("/feedback", {"event_id": name, **event})["duplicate"]


# Floods


def test_a_flood_of_headers_is_cut_off_before_the_token_is_looked_at(start, tmp_path):
    (tmp_path / "token").write_text("secret")
    server = start("--workers", "1", "--token-file", "token")
    (worker,) = server.workers()

    def resident():
        text = Path(f"/proc/{worker}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) >> 10

    before = resident()
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nX: "
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
        stream.sendall(head)
        with contextlib.suppress(OSError):
            for _ in range(64):
                stream.sendall(b"a" * (1 << 20))
    assert resident() < before + 20
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
        stream.sendall(head + b"a" * (1 << 17))
        text = stream.makefile("rb").read()
    assert text.startswith(b"HTTP/1.1 431 ")
    assert set(json.loads(text.partition(b"\r\n\r\n")[2])) == {"error", "hint"}
    assert server.call("GET", "/health").status == 200
    metrics = server.raw("GET", "/metrics", Authorization="Bearer secret")[1].decode()
    assert 'mlkit_requests_total{route="other",status="431"} 2.0' in metrics


def test_a_request_without_a_host_is_refused_and_half_closed_clients_are_answered(start):
    server = start("--workers", "1")
    request = b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{"k": 1}'
    for data, status in [(b"GET /health HTTP/1.1\r\n\r\n", 400), (request, 200), (b"?\r\n", 400)]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stream:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            text = stream.makefile("rb").read()
        assert text.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-type: application/json" in text


def test_more_connections_than_allowed_are_refused(start):
    server = start("--workers", "1", "--max-connections", "2")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            idle = stack.enter_context(contextlib.closing(server.connect()))
            idle.request("GET", "/health")
            assert idle.getresponse().read()
        assert server.call("GET", "/health").status == 503


# New arms, and logs that servers share


def test_arms_can_be_learned_from_feedback(start):
    server = start("--workers", "1", "--new-arms", "from-feedback")
    event = {"event_id": "1", "context": "u", "arm": "fresh", "reward": 1}
    assert server.post("/feedback", event)["duplicate"] is False
    assert server.get("/arms/fresh")["pulls"] == 1
    decision = server.post("/predict", {"candidates": ["c1"]})
    phantom = {"decision_id": decision["decision_id"], "arm": "rde", "reward": 1}
    assert server.call("POST", "/feedback", phantom).status == 422
    server.stop()
    again = start("--workers", "1")  # what was accepted stays, whatever the option is now
    assert again.get("/arms/fresh")["pulls"] == 1
    assert again.post("/feedback", event)["duplicate"] is True


def test_servers_that_share_a_log_do_not_collide(start, tmp_path, mlkit):
    log = tmp_path / "log"
    first = start("--workers", "1", "--log", str(log))
    second_home = tmp_path / "second"
    second_home.mkdir()
    second = type(first)(second_home, "--workers", "1", "--log", str(log))
    try:
        second.wait_until_ready()
        for number in range(30):
            for name, server in (("a", first), ("b", second)):
                event = {"event_id": f"{name}{number}", "arm": "c1", "reward": 1}
                server.post("/feedback", event)
        first.stop()
        second.stop()
    finally:
        second.close()
    files = sorted(log.glob("*.jsonl"))
    assert len(files) == 2
    done = mlkit("bandit", "fit", *files, "-o", tmp_path / "fitted.csv", "--json")
    assert json.loads(done.stdout)["rewards"] == 60
