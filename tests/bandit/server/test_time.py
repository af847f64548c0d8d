"""Serving that forgets: fit of all logs, serve event by event, and export have the same numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from mlkit.bandit.posteriors import file

COLUMNS = ("--arm", "arm", "--reward", "reward", "--context", "context", "--time", "time")


def run(*arguments, code=0):
    command = [sys.executable, "-m", "mlkit", "bandit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def rows_of(path):
    found = [row for batch in file.read(path).batches() for row in batch.to_pylist()]
    return {(r["context"], r["arm"]): (r["a"], r["b"], r["pulls"]) for r in found}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-12), key


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


def test_fit_serve_and_export_forget_alike_and_outlive_a_kill(start, tmp_path):
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
    run("export", "--state", server.state, "--as-of", at, "-o", first)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = start("--workers", "1", "--log", "log", "--new-arms", "from-feedback")
    now = server.get("/arms/new")
    assert (now["pulls"], now["a"]) == (10, pytest.approx(11, rel=0.01))
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


def test_another_half_life_is_another_state_and_other_policies_refuse_by_name(start, tmp_path):
    server = start("--workers", "1", "--half-life", "7d")
    assert server.stop() == 143
    again = start("--workers", "1", "--half-life", "8d", ready=False)
    assert again.process.wait(60) == 78
    assert "half-life" in again.stderr
    refused = run("fit", first_log(tmp_path), *COLUMNS, "--half-life", "7d", "--policy",
                  "explore-then-commit", "-o", tmp_path / "m.parquet", code=2)  # fmt: skip
    assert "explore-then-commit" in refused.stderr
    wrong = run("fit", first_log(tmp_path), *COLUMNS, "--half-life", "7 days", "-o",
                tmp_path / "m.parquet", code=2)  # fmt: skip
    assert "--half-life 7 days: no duration" in wrong.stderr
