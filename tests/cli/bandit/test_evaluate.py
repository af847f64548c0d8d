"""`mlkit bandit evaluate` as a user calls it."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter

import numpy as np
import pytest

BASE = "arm,reward,propensity,q\na,1,0.5,0.25\nb,0,0.5,0.75\n"


@pytest.fixture
def logs(repository):
    """Return the bundled logs: path and rows, by policy."""
    found = {}
    for policy in ("random", "bts"):
        path = repository / "examples" / "bandit" / f"{policy}_men.csv.gz"
        with gzip.open(path, "rt") as file:
            found[policy] = path, list(csv.DictReader(file))
    return found


@pytest.fixture
def as_table(tmp_path):
    """Write the shares in which a policy showed its arms, by position, as a table."""

    def write(rows):
        shown = Counter((row["position"], row["item_id"]) for row in rows)
        places = Counter(row["position"] for row in rows)
        lines = [f"{p},{arm},{n / places[p]!r}" for (p, arm), n in shown.items()]
        (tmp_path / "policy.csv").write_text("\n".join(["position,arm,probability", *lines]))
        return "policy.csv"

    return write


def test_thompson_sampling_judged_from_the_random_log_earns_what_it_earned(
    logs, as_table, evaluate
):
    """10,000 decisions each of two policies on the same site: the real check."""
    (log, _), (_, rows) = logs["random"], logs["bts"]
    earned = np.mean([float(row["click"]) for row in rows])
    document = evaluate(log, "--policy", as_table(rows), "--against", "uniform")
    first, uniform = document["policies"]
    by_name = {each["estimator"]: each for each in first["estimates"]}
    for name in ("replay", "ips", "snips", "dm", "dr", "switch-dr"):
        low, high = by_name[name]["bootstrap"]
        assert low < earned < high, name
    low, high = by_name["ips"]["bernstein"]
    assert low < earned < high
    assert by_name["ips"]["bootstrap"][1] - by_name["ips"]["bootstrap"][0] < earned
    assert first["support"]["mean"] == pytest.approx(1, abs=0.05)
    assert first["support"]["unsupported"] == 0
    assert first["warnings"] == []
    # The log is that of the uniform policy: judged by itself it earned what it earned.
    own = {each["estimator"]: each["value"] for each in uniform["estimates"]}
    for name in ("replay", "ips", "snips"):
        assert own[name] == pytest.approx(document["log"]["value"]["value"])
    gain = next(each for each in uniform["advantage"] if each["estimator"] == "ips")
    assert gain["value"] == pytest.approx(by_name["ips"]["value"] - own["ips"])


def test_the_random_policy_judged_from_the_log_of_thompson_sampling(logs, evaluate):
    """The other way round: few rows of that log say anything of the uniform policy."""
    (_, rows), (log, _) = logs["random"], logs["bts"]
    earned = np.mean([float(row["click"]) for row in rows])
    document = evaluate(log, "--policy", "uniform")
    found = document["policies"][0]
    by_name = {each["estimator"]: each for each in found["estimates"]}
    low, high = by_name["snips"]["bootstrap"]
    assert low < earned < high
    low, high = by_name["dr"]["bernstein"]
    assert low < earned < high
    assert found["support"]["effective"] < 1000
    assert any("replay keeps" in each for each in found["warnings"])


def test_a_document_is_versioned_and_repeatable(mlkit, tmp_path):
    (tmp_path / "log.csv").write_text(BASE + "a,1,0.5,0.5\nb,1,0.25,0.5\n" * 20)
    command = ["bandit", "evaluate", "log.csv", "--policy", "column:q", "--json"]
    one, again = (mlkit(*command).stdout for _ in range(2))
    assert one == again
    document = json.loads(one)
    assert (document["schema"], document["version"]) == ("mlkit.bandit.evaluate", 1)
    assert document["settings"]["seed"] == 0
    names = [each["estimator"] for each in document["policies"][0]["estimates"]]
    assert names == ["replay", "ips", "clipped", "snips"]


def test_people_see_a_table_and_the_warnings(mlkit, tmp_path):
    (tmp_path / "log.csv").write_text("action,click,propensity_score\na,1,0.5\nb,,0.5\n")
    policy = ["--policy", "uniform", "--missing", "zero"]
    done = mlkit("-q", "bandit", "evaluate", "log.csv", *policy)
    assert (done.returncode, done.stderr) == (0, "")
    assert "doubly robust" in done.stdout
    assert "log: 2 rows; 1 rewards missing, of which 0 rows dropped" in done.stdout
    assert "warning: uniform: the effective sample size is 2.0 rows, below 100" in done.stdout


def test_tables_fit_80_columns_and_show_what_the_first_policy_gains(mlkit, tmp_path):
    rows = [f"[b]x{n % 3},{n % 7 == 0:d},0.0{n % 8 + 1},1{n % 3},0.3333{n % 5}" for n in range(60)]
    log = "\n".join(["arm,reward,propensity,position,a_policy_with_a_name_beyond_reason", *rows])
    (tmp_path / "log.csv").write_text(log)
    named = "column:a_policy_with_a_name_beyond_reason"
    done = mlkit("bandit", "evaluate", "log.csv", "--policy", named, "--against", "uniform")
    assert done.returncode == 0, done.stderr
    tables = done.stdout.split("\nlog: ")[0].splitlines()
    assert max(map(len, tables)) <= 80
    assert any(each.rstrip().endswith("minus uniform") for each in tables)
    assert "IPS at position 10" in done.stdout


def test_weights_beyond_all_reason_are_a_document_too(evaluate, tmp_path):
    rows = "a,1,1e-290,1\nb,-1e15,1e-290,2\na,1e15,1,1\n"
    (tmp_path / "log.csv").write_text("arm,reward,propensity,position\n" + rows)
    (found,) = evaluate("log.csv", "--policy", "uniform")["policies"]
    assert found["support"]["largest"][:2] == pytest.approx([5e289, 5e289])
    assert found["support"]["effective"] == pytest.approx(2)
    assert any("worthless" in each for each in found["warnings"])


def test_attribution_alone_counts_what_is_over_as_zero(evaluate, tmp_path):
    rows = "a,,1,0\na,1,1,3600\na,,1,7200\n"
    (tmp_path / "log.csv").write_text("arm,reward,propensity,time\n" + rows)
    log = evaluate("log.csv", "--policy", "uniform", "--attribution", "1.5h")["log"]
    assert (log["rows"], log["missing_rewards"], log["dropped"]) == (2, 2, 1)
    assert log["value"]["value"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.csv", "--policy", "uniform"], 66, "nowhere.csv"),
        (["log.csv", "--policy", "nowhere.csv"], 66, "nowhere.csv"),
        (["log.csv"], 2, "--policy"),
        (["log.csv", "--policy", "column:p"], 65, "no column 'p'"),
        (["log.csv", "--policy", "uniform", "--propensity", ""], 65, "no propensities"),
        (["log.csv", "--policy", "uniform", "--attribution", "1w"], 2, "--attribution 1w"),
        (["log.csv", "--policy", "uniform", "--clip", "0"], 2, "--clip 0"),
    ],
)
def test_errors_are_one_line_with_their_code(mlkit, tmp_path, arguments, code, message):
    (tmp_path / "log.csv").write_text(BASE)
    done = mlkit("bandit", "evaluate", *arguments)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stdout == ""
