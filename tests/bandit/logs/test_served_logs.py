"""The logs of the server: joined to a table, and checked against their propensities."""

from __future__ import annotations

import json
import random

import pyarrow.parquet as pq
import pytest

ARMS = ["a", "b", "c"]
FIRST = [0.6, 0.3, 0.1]


def decision(number, shown, first=FIRST):
    place = ARMS.index(shown)
    stated = {name: [first[place]] for name in ("first", "included", "position")}
    return {
        "type": "decision",
        "at": f"2026-11-24T09:30:00.{number:06d}Z",
        "decision_id": f"d{number}",
        "context": None,
        "arms": [shown],
        "scores": [0.5],
        "candidates": ARMS,
        "seed": 2**64 - 1,
        "features": {"x": 1},
        "arm_features": {"b": {"z": 2.5}},
        "propensities": {**stated, "slate": first[place]},
        "first": first,
    }


def reward(number, arm, value, event=None):
    name = event or f"d{number}:{arm}"
    line = {"type": "feedback", "event_id": name, "decision_id": f"d{number}"}
    return line | {"arm": arm, "reward": value}


@pytest.fixture
def write(tmp_path):
    def lines(*documents):
        (tmp_path / "log").mkdir(exist_ok=True)
        path = tmp_path / "log" / "day.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in documents))

    return lines


def drawn(first, count=2000):
    draw = random.Random(5)
    return [decision(n, draw.choices(ARMS, first)[0]) for n in range(count)]


def test_right_propensities_fit_and_wrong_ones_do_not(write, mlkit):
    write(*drawn(FIRST))
    right = mlkit("bandit", "log", "verify", "log", "--json")
    assert right.returncode == 0, right.stderr
    found = json.loads(right.stdout)
    assert found["checked"] == 2000
    assert sum(arm["expected"] for arm in found["arms"]) == pytest.approx(2000)
    write(*drawn([0.5, 0.3, 0.2]))  # and FIRST is what is stated
    wrong = mlkit("bandit", "log", "verify", "log")
    assert wrong.returncode == 1
    assert "do NOT fit" in wrong.stdout


def test_a_policy_that_never_shows_an_arm_is_found(write, mlkit):
    write(*(decision(n, "a", [1 / 3, 1 / 3, 1 / 3]) for n in range(100)))
    assert mlkit("bandit", "log", "verify", "log").returncode == 1


def test_certain_decisions_fit(write, mlkit):
    write(*(decision(n, "a", [1.0, 0.0, 0.0]) for n in range(100)))
    assert mlkit("bandit", "log", "verify", "log").returncode == 0


def test_rewards_join_their_decisions(write, mlkit, tmp_path):
    lines = [decision(0, "a"), decision(1, "b"), reward(0, "a", 1), reward(0, "a", 1)]
    write(*lines, decision(1, "b"), reward(1, "b", 0.5), reward(1, "b", 0.25, "more"))
    with (tmp_path / "log" / "other.jsonl").open("w") as more:
        more.write(json.dumps(reward(7, "c", 1)) + "\n" + json.dumps(decision(2, "c")) + "\n")
    done = mlkit("bandit", "log", "compact", "log", "-o", "log.parquet", "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert [counts[name] for name in ("decisions", "rows", "rewarded", "orphans")] == [3, 3, 2, 1]
    rows = pq.read_table(tmp_path / "log.parquet").to_pylist()
    assert [row["reward"] for row in rows] == [1, 0.75, None]
    assert [row["propensity"] for row in rows] == FIRST
    assert rows[0]["seed"] == 2**64 - 1
    assert [row["arm_features"] for row in rows] == [None, '{"z":2.5}', None]
    assert [row["candidate_features"] for row in rows] == ['{"b":{"z":2.5}}'] * 3
    judged = ["--policy", "uniform", "--missing", "zero", "--json"]
    done = mlkit("bandit", "evaluate", "log.parquet", *judged)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["log"]["value"]["value"] == pytest.approx(1.75 / 3)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"arms": ["z"]}, "line 1"),
        ({"scores": []}, "line 1"),
        ({"first": [0.5, 0.5]}, "line 1"),
        ({"first": [0.5, 0.1, 0.1]}, "d0"),
        ({"propensities": {"first": [2], "included": [1], "position": [1], "slate": 1}}, "line 1"),
    ],
)
def test_lines_that_do_not_fit_are_refused(write, mlkit, change, where):
    write(decision(0, "a") | change)
    done = mlkit("bandit", "log", "verify", "log")
    assert done.returncode == 65
    assert where in done.stderr


@pytest.mark.parametrize(
    "torn", ['{"type": "decision", "at": "20', '{"type": "amendment", "a', "{}"]
)
def test_lines_of_a_killed_server_are_refused_or_skipped(write, mlkit, tmp_path, torn):
    write(*(decision(n, "a", [1.0, 0.0, 0.0]) for n in range(20)), reward(0, "a", 1))
    with (tmp_path / "log" / "day.jsonl").open("a") as file:
        file.write(torn)
    compact = ("bandit", "log", "compact", "log", "-o", "log.parquet")
    for command in (compact, ("bandit", "log", "verify", "log")):
        refused = mlkit(*command)
        assert refused.returncode == 65
        assert "line 22" in refused.stderr
        assert "--skip-bad-rows" in refused.stderr
        skipped = mlkit(*command, "--skip-bad-rows", "--json")
        assert skipped.returncode == 0, skipped.stderr
        found = json.loads(skipped.stdout)
        assert (found["skipped"], found["decisions"]) == (1, 20)
    assert "1 bad line skipped" in mlkit(*compact, "--skip-bad-rows").stderr


def test_a_decision_without_a_time_is_named(write, mlkit):
    write(decision(0, "a"), decision(1, "a") | {"at": "yesterday"})
    done = mlkit("bandit", "log", "compact", "log", "-o", "log.parquet")
    assert done.returncode == 65
    assert "the decision d1: the time is 'yesterday'" in done.stderr


def test_positions_without_rewards_are_hardly_known(write, mlkit):
    lines = [decision(n, "a") | {"source": "uniform"} for n in range(30)]
    for line in lines:
        stated = dict.fromkeys(("first", "included", "position"), [1 / 3] * 2)
        line |= {
            "arms": ["a", "b"],
            "scores": [0.0] * 2,
            "propensities": {**stated, "slate": 1 / 6},
        }
    write(*lines, *(reward(n, "a", 1) for n in range(12)))
    done = mlkit("bandit", "log", "positions", "log", "--json")
    second = json.loads(done.stdout)["positions"][1]
    assert second["rewards"] == 0
    assert second["error"] == pytest.approx(1 / 12, rel=1e-6)  # that of one reward
    assert (
        "fewer than 10 rewards at the positions 2 (0)"
        in mlkit("bandit", "log", "positions", "log").stderr
    )


def test_logs_without_propensities_or_decisions(write, mlkit):
    write(decision(0, "a") | {"propensities": None, "first": None})
    done = mlkit("bandit", "log", "verify", "log")
    assert done.returncode == 65
    assert "--propensities" in done.stderr
    write(reward(0, "a", 1))
    assert mlkit("bandit", "log", "compact", "log", "-o", "x.parquet").returncode == 65
    assert mlkit("bandit", "log", "verify", "none").returncode == 66


def test_positions_are_estimated_from_random_rankings(write, mlkit):
    draw, examined, lines = random.Random(3), [1.0, 0.5, 0.2], []
    for number in range(3000):
        arms = draw.sample(ARMS, 3)
        flat = dict.fromkeys(("first", "included", "position"), [1 / 3] * 3)
        line = decision(number, "a") | {"arms": arms, "scores": [0.0] * 3, "source": "uniform"}
        lines.append(line | {"propensities": {**flat, "slate": 1 / 6}})
        for arm, seen in zip(arms, examined, strict=True):
            if draw.random() < seen * (0.8 if arm == "a" else 0.4):
                lines.append(reward(number, arm, 1))
    write(*lines)
    done = mlkit("bandit", "log", "positions", "log", "--json")
    assert done.returncode == 0, done.stderr
    for row, right in zip(json.loads(done.stdout)["positions"], examined, strict=True):
        assert row["examined"] == pytest.approx(right, abs=5 * (row["error"] or 0.001))
    write(decision(0, "a"))
    done = mlkit("bandit", "log", "positions", "log")
    assert done.returncode == 65
    assert "--holdout" in done.stderr
