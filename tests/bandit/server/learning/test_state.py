"""What outlives a server: its state, other posteriors files, exports, logs, tokens."""

from __future__ import annotations

import os
import signal

import pytest

OTHER = "context,arm,a,b,pulls\n,c1,7,7,12\n,brand-new,1,9,8\n"


def reward(server, event_id, arm="c1", **more):
    return server.post("/feedback", {"event_id": event_id, "arm": arm, "reward": 1, **more})


def replace(server, text):
    fresh = server.posteriors.with_suffix(".tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.rename(server.posteriors)


def test_what_was_learned_outlives_a_restart(start):
    server = start("--workers", "2")
    reward(server, "1", context="u1")
    server.call("PUT", "/arms/added%2Fone", {"a": 4, "b": 5, "pulls": 7})
    server.call("DELETE", "/arms/c2")
    before = server.get("/arms")
    for stop in (lambda s: s.stop(), lambda s: s.close()):
        stop(server)
        server = start("--workers", "1")
        assert server.get("/arms") == before
        assert server.get("/health")["arms"] == 3
        late = server.post("/feedback", {"event_id": f"late{stop}", "arm": "c2", "reward": 1})
        assert late["ignored"] is True


def test_sighup_swaps_to_the_new_posteriors(start, eventually):
    server = start("--workers", "2")
    reward(server, "before")
    replace(server, OTHER)
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: {server.get("/health")["arms"] for _ in range(8)} == {2})
    assert server.get("/arms/c1")["pulls"] == 12
    assert server.call("GET", "/arms/c2").status == 404
    assert reward(server, "before")["duplicate"] is True
    reward(server, "after")
    assert server.stop() == 143
    server = start("--workers", "1")  # the state now belongs to the new file
    assert server.get("/arms/c1")["pulls"] == 13


@pytest.mark.parametrize("text", ["arm,a,b\nc1,0,1\n", "no posteriors at all", None])
def test_a_bad_file_on_sighup_keeps_the_old_posteriors(start, eventually, text):
    server = start("--workers", "1")
    reward(server, "before")
    good = server.posteriors.read_text(encoding="utf-8")
    server.posteriors.unlink() if text is None else replace(server, text)
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "still on the old posteriors" in server.stderr)
    assert "ERROR" in server.stderr
    assert server.posteriors.name in server.stderr
    assert server.get("/arms/c1")["pulls"] == 31
    reward(server, "after")
    replace(server, good)
    assert server.stop() == 143
    server = start("--workers", "1")
    assert server.get("/arms/c1")["pulls"] == 32


def test_an_unchanged_file_on_sighup_changes_nothing(start, eventually):
    server = start("--workers", "1")
    reward(server, "1")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "has not changed" in server.stderr)
    assert server.get("/arms/c1")["pulls"] == 31


def test_another_file_needs_adopt(start):
    server = start("--workers", "1")
    reward(server, "1")
    server.stop()
    replace(server, OTHER)
    refused = start("--workers", "1", ready=False)
    assert refused.wait() == 78
    assert "belongs to another posteriors file" in refused.stderr
    assert "--adopt" in refused.stderr
    server = start("--workers", "1", "--adopt")
    assert server.get("/arms/c1")["pulls"] == 12
    assert reward(server, "1")["duplicate"] is True
    server.stop()
    assert start("--workers", "1").get("/arms/c1")["pulls"] == 12


def test_a_missing_posteriors_file_is_input_missing(start, tmp_path, mlkit):
    done = mlkit("bandit", "serve", "nowhere.csv", "--state", "s", "--port", "0")
    assert done.returncode == 66
    assert "nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr


def test_export_of_no_state_is_input_missing(mlkit):
    done = mlkit("bandit", "export", "--state", "nowhere", "-o", "x.csv")
    assert done.returncode == 66


def test_a_token_is_demanded_everywhere_but_at_health(start, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    server = start("--workers", "1", "--token-file", "token")
    assert server.call("GET", "/health").status == 200
    for method, path in [
        *(("GET", "/arms"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/nowhere")),
        *(("POST", "/predict"), ("POST", "/feedback"), ("PUT", "/arms/x"), ("POST", "/arms")),
    ]:
        answer = server.call(method, path)
        assert answer.status == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert set(answer.body) == {"error", "hint"}
    for wrong in ("Bearer wrong", "Bearer ", "s3cret", "Bearer s3cret2"):
        assert server.call("GET", "/arms", Authorization=wrong).status == 401
    assert server.call("GET", "/arms", Authorization="Bearer s3cret").status == 200
    assert "s3cret" not in server.stderr


def test_a_token_file_without_a_token_is_refused(mlkit, tmp_path):
    (tmp_path / "token").write_text(" \n")
    for name, code in [("token", 65), ("nowhere", 66)]:
        options = "--state", "s", "--token-file", name
        assert mlkit("bandit", "serve", "p.csv", *options).returncode == code


def test_the_state_is_for_its_owner_only(start):
    server = start("--workers", "1")
    assert server.state.stat().st_mode & 0o077 == 0
    assert (server.state / "key").stat().st_mode & 0o077 == 0


def test_a_damaged_journal_is_bad_data(start, mlkit):
    server = start("--workers", "1")
    reward(server, "1")
    server.stop()
    journal = server.state / "journal.sqlite"
    os.truncate(journal, 100)
    with journal.open("r+b") as file:
        file.write(b"x" * 100)
    again = start("--workers", "1", ready=False)
    assert again.process.wait(180) == 65
    assert "journal.sqlite" in again.stderr
    assert "Traceback" not in again.stderr
