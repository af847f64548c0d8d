"""Serving that forgets: fit of all logs, serve event by event, and export have the same numbers."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime

import pytest
from commands import run_mlkit

from mlkit.bandit.models import file as model_file
from mlkit.bandit.posteriors import file

COLUMNS = ("--arm", "arm", "--reward", "reward", "--context", "context", "--time", "time")


def run(*arguments, code=0):
    done = run_mlkit("bandit", *arguments)
    assert done.returncode == code, done.stderr
    return done


def rows_of(path):
    found = [row for batch in file.read(path).batches() for row in batch.to_pylist()]
    return {(r["context"], r["arm"]): (r["a"], r["b"], r["pulls"]) for r in found}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-12), key


def logged(server):
    """Count the lines of the server's log."""
    return sum(len(path.read_text().splitlines()) for path in server.directory.glob("log/*.jsonl"))


def first_log(directory):
    """Write a log of clicks of the last days, which the server starts from."""
    lines = ["context,arm,reward,time"]
    for number in range(60):
        moment = datetime.fromtimestamp(time.time() - 86400 * (number % 6) - number, UTC)
        context, arm = ("u1", "", "u2")[number % 3], ("c1", "c2")[number % 2]
        lines.append(f"{context},{arm},{number % 5 == 0:d},{moment.isoformat()}")
    path = directory / "first.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_fit_serve_and_export_forget_alike_and_outlive_a_kill(start, tmp_path, eventually):
    log, model = first_log(tmp_path), tmp_path / "posteriors.parquet"
    run("fit", log, *COLUMNS, "--half-life", "2h", "--shrinkage", "5", "-o", model)
    server = start("--workers", "1", "--log", "log", "--new-arms", "from-feedback")
    shown = server.post("/predict", {"context": "u1", "k": 2})
    for arm in shown["arms"]:
        server.post("/feedback", {"decision_id": shown["decision_id"], "arm": arm, "reward": 1})
    for number in range(20):
        event = {"event_id": f"e{number}", "arm": ("c1", "new")[number % 2], "reward": number % 2}
        server.post("/feedback", event | ({"context": "u3"} if number % 4 == 0 else {}))
    at = time.time() + 7200
    first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
    eventually(lambda: logged(server) == 23)  # a kill may lose lines that are not written yet
    run("export", "--state", server.state, "--as-of", at, "-o", first)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = start("--workers", "1", "--log", "log", "--new-arms", "from-feedback")
    now = server.get("/arms/new")
    assert (now["pulls"], now["a"]) == (10, pytest.approx(11, rel=0.05))
    assert server.stop() == 143
    run("export", "--state", server.state, "--as-of", at, "-o", second)
    whole, logs = tmp_path / "whole.parquet", sorted((tmp_path / "log").glob("*.jsonl"))
    fit = ("fit", log, *logs, *COLUMNS, "--half-life", "2h", "--shrinkage", "5", "-o", whole)
    run(*fit, "--as-of", at)
    same(rows_of(second), rows_of(whole))
    same(rows_of(first), rows_of(whole))
    assert file.read(first).forgetting == file.read(whole).forgetting
    document = json.loads(run("show", whole, "--json").stdout)
    assert (document["half_life"], document["as_of"]) == (7200, pytest.approx(at))


@pytest.mark.slow
def test_another_half_life_is_another_state_and_other_policies_refuse_by_name(start, tmp_path):
    server = start("--workers", "1", "--half-life", "7d")
    assert server.stop() == 143
    again = start("--workers", "1", "--half-life", "8d", ready=False)
    assert again.process.wait(180) == 78
    assert "half-life" in again.stderr
    refused = run("fit", first_log(tmp_path), *COLUMNS, "--half-life", "7d", "--policy",
                  "explore-then-commit", "-o", tmp_path / "m.parquet", code=2)  # fmt: skip
    assert "explore-then-commit" in refused.stderr
    wrong = run("fit", first_log(tmp_path), *COLUMNS, "--half-life", "7 days", "-o",
                tmp_path / "m.parquet", code=2)  # fmt: skip
    assert "--half-life 7 days: not a duration" in wrong.stderr


def plain_model(directory):
    """Write the posteriors of a log with one click of each arm, for the server to start from."""
    log = directory / "first.csv"
    log.write_text("arm,reward\nc1,1\nc2,1\nc3,0\n")
    run("fit", log, "--arm", "arm", "--reward", "reward", "-o", directory / "posteriors.parquet")
    return log


def exported(server, *options):
    path = server.directory / "export.parquet"
    run("export", "--state", server.state, *options, "-o", path)
    return rows_of(path)


def fitted(server, first, *options):
    path, logs = server.directory / "fit.parquet", sorted(server.directory.glob("log/*.jsonl"))
    columns = "--arm", "arm", "--reward", "reward"
    run("fit", first, *logs, *columns, *options, "-o", path)
    return rows_of(path)


def test_amendments_count_once_and_fit_from_the_logs_agrees(start, tmp_path, eventually):
    first = plain_model(tmp_path)
    server = start("--workers", "1", "--log", "log")
    for number in range(4):
        event = {"event_id": f"e{number}", "arm": "c1", "reward": 1, "context": "u"}
        server.post("/feedback", event)
    refund = {"event_id": "r1", "amends": "e1", "reward": None}
    assert server.post("/feedback/amend", refund)["duplicate"] is False
    eventually(lambda: logged(server) == 5)  # a kill may lose lines that are not written yet
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = start("--workers", "1", "--log", "log")
    assert server.post("/feedback/amend", refund)["duplicate"] is True
    changes = [
        {"event_id": "r2", "amends": "e2", "reward": 0.5},
        {"event_id": "r3", "amends": "e2", "reward": 0.25},
        {"event_id": "r4", "amends": "e1", "reward": 0},
    ]
    assert [each["ignored"] for each in server.post("/feedback/amend", changes)] == [False] * 3
    assert server.call("POST", "/feedback/amend", {**refund, "reward": 1}).status == 409
    unknown = server.call("POST", "/feedback/amend", {**refund, "event_id": "x", "amends": "no"})
    assert (unknown.status, "no such event" in unknown.body["error"]) == (422, True)
    wrong = server.call("POST", "/feedback/amend", {"event_id": "x", "amends": "e1", "reward": 2})
    assert wrong.status == 422
    assert server.call("POST", "/feedback/amend", {"event_id": "x", "amends": "e1"}).status >= 400
    found = server.get("/arms/c1")
    assert (found["a"], found["b"], found["pulls"]) == (4.25, 2.75, 5)
    assert server.stop() == 143
    own = {key: row for key, row in exported(server).items() if key[0] is None}
    assert own[None, "c1"] == (4.25, 2.75, 5)
    of_logs = fitted(server, first)
    assert {key: of_logs[key] for key in own} == own


def test_what_had_no_reward_in_time_counts_as_0_once_and_a_late_reward_corrects_it(
    start, tmp_path, eventually
):
    first = plain_model(tmp_path)
    options = ("--workers", "1", "--log", "log", "--attribution", "1s", "--half-life", "7d")
    server = start(*options)
    shown = [server.post("/predict", {"k": 3}) for _ in range(4)]
    prompt = {"decision_id": shown[0]["decision_id"], "arm": "c1", "reward": 1}
    server.post("/feedback", prompt)
    eventually(lambda: logged(server) == 5)
    os.kill(server.process.pid, signal.SIGKILL)  # all have been answered, so all are kept
    server.process.wait()
    server = start(*options)
    pulls = {"c1": 5, "c2": 5, "c3": 5}
    eventually(lambda: {arm: server.get(f"/arms/{arm}")["pulls"] for arm in pulls} == pulls)
    zero = server.get("/arms/c2")
    late = {"decision_id": shown[1]["decision_id"], "arm": "c2", "reward": 1}
    assert server.post("/feedback", late) | {"event_id": ""} == {
        "event_id": "", "duplicate": False, "ignored": False,
    }  # fmt: skip
    assert server.post("/feedback", late)["duplicate"] is True
    found = server.get("/arms/c2")
    assert (found["pulls"], found["a"]) == (5, pytest.approx(zero["a"] + 1, rel=1e-4))
    again = server.post("/feedback", prompt)
    assert again["duplicate"] is True
    assert "implied_zeros_total" in server.raw("GET", "/metrics")[1].decode()
    assert server.stop() == 143
    at = str(time.time() + 60)
    own = {key: row for key, row in exported(server, "--as-of", at).items() if key[0] is None}
    assert {arm: row[2] for (_, arm), row in own.items()} == pulls
    # The first file is as old as the state; its rows are of no time in the log, so leave them out.
    alone = tmp_path / "alone.parquet"
    logs = sorted(tmp_path.glob("log/*.jsonl"))
    run("fit", *logs, "--half-life", "7d", "--attribution", "1s", "--as-of", at, "-o", alone)
    of_logs = rows_of(alone)
    assert {arm: row[2] for (_, arm), row in of_logs.items()} == dict.fromkeys(pulls, 4)
    start_of = {"c1": (2, 1), "c2": (2, 1), "c3": (1, 2)}
    for arm, (a, b) in start_of.items():
        rest = own[None, arm][0] - of_logs[None, arm][0], own[None, arm][1] - of_logs[None, arm][1]
        assert rest == pytest.approx((a - 1, b - 1), abs=1e-3)  # what a minute has left of it
    refused = run("fit", first, "--arm", "arm", "--reward", "reward", "--attribution", "1s",
                  "-o", alone, code=2)  # fmt: skip
    assert "the logs have no decisions" in refused.stderr


@pytest.mark.slow
def test_a_model_of_counts_forgets_in_the_server_as_in_fit(start, tmp_path):
    log, model = first_log(tmp_path), tmp_path / "posteriors.parquet"
    policy = ("--policy", "gamma-poisson", "--half-life", "2h")
    run("fit", log, *COLUMNS[:4], *COLUMNS[6:], *policy, "-o", model)
    server = start("--workers", "2", "--log", "log")
    for number in range(6):
        server.post("/feedback", {"event_id": f"e{number}", "arm": "c1", "reward": number})
    assert server.post("/predict", {"k": 2, "propensities": True})["propensities"]["slate"] > 0
    before = server.get("/arms/c1")["mean"]
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = start("--workers", "1")
    assert server.get("/arms/c1")["mean"] == pytest.approx(before, rel=0.05)
    assert server.stop() == 143
    at = time.time() + 7200
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    run("export", "--state", server.state, "--as-of", at, "-o", out)
    found = model_file.read(out)
    document = json.loads(run("show", out, "--json").stdout)
    assert {arm["arm"] for arm in document["arms"]} == {"c1", "c2"}
    lines = log.read_text().splitlines()
    assert found.pulls[found.place("c1")] == (len(lines) - 1) / 2 + 6
    run("fit", log, *COLUMNS[:4], *COLUMNS[6:], *policy, "--as-of", at, "-o", whole)
    rest = model_file.read(whole)  # without the last rewards, of which a little over half is left
    ours, theirs = (each.policy.rate[each.place("c1")] for each in (found, rest))
    assert ours - theirs == pytest.approx(3, rel=0.05)


@pytest.mark.slow
def test_a_window_of_hours_in_fit_serve_and_export(start, tmp_path):
    log, model = first_log(tmp_path), tmp_path / "posteriors.parquet"
    run("fit", log, *COLUMNS, "--window", "2d", "-o", model)
    server = start("--workers", "1", "--log", "log", "--new-arms", "from-feedback")
    for number in range(6):
        event = {"event_id": f"e{number}", "arm": ("c1", "new")[number % 2], "reward": 1}
        server.post("/feedback", event | ({"context": "u3"} if number % 4 == 0 else {}))
    before = server.get("/arms")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = start("--workers", "1", "--log", "more", "--new-arms", "from-feedback")
    assert server.get("/arms") == before
    assert server.stop() == 143
    out, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    at = str(time.time() + 20 * 3600)
    run("export", "--state", server.state, "--as-of", at, "-o", out)
    rest = tmp_path / "rest.csv"
    lines = ["context,arm,reward,time"]
    lines += [
        f"{'u3' if n % 4 == 0 else ''},{('c1', 'new')[n % 2]},1,{time.time()}" for n in range(6)
    ]
    rest.write_text("\n".join(lines) + "\n")
    run("fit", log, rest, *COLUMNS, "--window", "2d", "--as-of", at, "-o", whole)
    found, wanted = rows_of(out), rows_of(whole)
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-12), key
    assert all(row[2] == 0 for key, row in found.items() if key not in wanted)
    run("export", "--state", server.state, "-o", "-", code=2)
    both = run("fit", log, *COLUMNS, "--window", "2d", "--half-life", "1d", "-o", out, code=2)
    assert "only one of them" in both.stderr
    other = ("--policy", "ucb1", "--window", "2d", "-o", out)
    assert "ucb1 has none" in run("fit", log, *COLUMNS[:4], *other, code=2).stderr
