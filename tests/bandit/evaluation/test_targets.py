"""Logs in their formats, and policies as users name them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mlkit.bandit import targets
from mlkit.bandit.evaluation.target import unsupported
from mlkit.bandit.logs import decisions
from mlkit.bandit.logs.decision_tables import DecisionColumns
from mlkit.bandit.logs.decisions import MissingRewards
from mlkit.bandit.propensities import top_k
from mlkit.errors import BadData, MlkitError, UsageError

CSV = "arm,reward,propensity,context,position\na,1,0.5,u,1\nb,0,0.25,v,2\na,0.5,1,,1\nc,0,0.5,u,2\n"


@pytest.fixture
def read(tmp_path):
    """Read a log that is given as text."""

    def read_text(text, name="log.csv", rule=None, attribution=None, probabilities=(), **columns):
        path = tmp_path / name
        path.write_text(text)
        return decisions.read(
            [path],
            DecisionColumns(**columns),
            MissingRewards(rule, attribution),
            probabilities=probabilities,
        )

    return read_text


@pytest.fixture
def load(tmp_path):
    """Load a policy from a file that is given as text."""

    def load_text(text, logged, name="policy.csv"):
        path = tmp_path / name
        path.write_text(text)
        return targets.load(str(path), logged)

    return load_text


def test_a_log_is_read_into_arrays(read):
    log = read(CSV).decisions
    assert (log.arms, log.contexts, log.positions) == (
        ["a", "b", "c"],
        [None, "u", "v"],
        ["1", "2"],
    )
    assert log.arm.tolist() == [0, 1, 0, 2]
    assert log.context.tolist() == [1, 2, 0, 1]
    assert log.reward.tolist() == [1, 0, 0.5, 0]
    assert log.propensity.tolist() == [0.5, 0.25, 1, 0.5]
    assert len(log.cells) == 4


def test_all_formats_of_a_log_say_the_same(read, tmp_path):
    frame = pd.read_csv(_written(tmp_path, CSV))
    frame = frame.assign(candidates=[["a", "b"], ["b", "a"], ["a"], ["c", "a"]])
    frame.to_parquet(tmp_path / "log.parquet")
    lines = [{k: v for k, v in row.items() if v == v} for row in frame.to_dict("records")]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    frame.assign(candidates=["a|b", "b|a", '["a"]', "c|a"]).to_csv(tmp_path / "log.csv")
    frame.assign(candidates=["a|b", "b|a", '["a"]', "c|a"]).to_csv(
        tmp_path / "log.csv.gz", sep="\t"
    )
    found = [
        decisions.read([tmp_path / f"log.{kind}"], DecisionColumns(), MissingRewards()).decisions
        for kind in ("csv", "csv.gz", "parquet", "jsonl")
    ]
    for log in found:
        assert log.arms == ["a", "b", "c"]
        for name in ("arm", "reward", "propensity", "context", "position", "available"):
            assert getattr(log, name).tolist() == getattr(found[0], name).tolist()
    assert found[0].allowed.sum() == 2 + 2 + 1 + 2


def _written(tmp_path, text):
    path = tmp_path / "source.csv"
    path.write_text(text)
    return path


def test_several_logs_are_one(tmp_path):
    for name, row in (("1", "a,1,0.5"), ("2", "b,0,0.5")):
        (tmp_path / f"{name}.csv").write_text(f"action,click,pscore\n{row}\n")
    paths = [tmp_path / "1.csv", tmp_path / "2.csv"]
    found = decisions.read(paths, DecisionColumns(), MissingRewards())
    assert found.decisions.arms == ["a", "b"]
    assert found.fields == {"arm": "action", "reward": "click", "propensity": "pscore"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm,reward\na,1\n", "log.csv: no propensities"),
        ("reward,propensity\n1,1\n", "no column of arms"),
        ("arm,reward,propensity\na,1,0.5\nb,1,\n", "line 3: propensity is missing"),
        ("arm,reward,propensity\na,1,0\n", r"line 2: propensity is 0.0, expected .* \(0, 1\]"),
        ("arm,reward,propensity\na,1,1.01\n", "propensity is 1.01"),
        ("arm,reward,propensity\na,1,nan\n", "propensity is missing"),
        ("arm,reward,propensity\na,1,x\n", "propensity is 'x', expected a number"),
        ("arm,reward,propensity\na,,1\n", "line 2: reward is missing"),
        ("arm,reward,propensity\na,inf,1\n", "reward is inf"),
        ("arm,reward,propensity\na,yes,1\n", "reward is 'yes'"),
        ("arm,reward,propensity\n,1,1\n", "line 2: arm is missing"),
        ("arm,reward,propensity\na,1\n", "line 2: 2 fields, expected 3"),
        ("arm,reward,propensity\n", "no decisions"),
        ("", "empty"),
        ("arm,reward,propensity,candidates\na,1,1,b|c\n", "'a' was shown and is not a candidate"),
        ("arm,reward,propensity,candidates\na,1,1,\n", "line 2: candidates is missing"),
        ("arm,reward,propensity,candidates\na,1,1,[1.5]\n", "expected a JSON array of ids"),
        ("arm,reward,propensity,slate,position\na,1,1,s,1\nb,1,1,s,1\n", "position '1' twice"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(read, text, message):
    with pytest.raises(BadData, match=message):
        read(text)


@pytest.mark.parametrize("rows", [b"a,1,1\nb\xff,1\n", b"a,1,1\nb,1,1\xe2\x82"])
def test_a_log_that_is_no_text_is_refused_with_the_line(tmp_path, rows):
    (tmp_path / "log.csv").write_bytes(b"arm,reward,propensity\n" + rows)
    with pytest.raises(BadData, match="line 3: not UTF-8 text"):
        decisions.read([tmp_path / "log.csv"], DecisionColumns(), MissingRewards())


def test_times_far_away_are_times(read):
    text = "arm,reward,propensity,time\na,,1,0001-01-01\nb,1,1,9999-12-31T00:00Z\n"
    assert read(text, rule="zero", attribution=60.0).decisions.arms == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 1: Expected `object`"),
        ('{"arm": {}, "reward": 1, "propensity": 1}', "line 1: arm is an object"),
        ('{"arm": "a", "reward": 1}', "no propensities"),
        ('{"arm": "a", "reward": 1, "propensity": 1}\n{"arm": "a"}', "line 2: propensity is miss"),
        ("{" * 5000, "line 1"),
    ],
)
def test_bad_lines_are_refused(read, line, message):
    with pytest.raises(BadData, match=message):
        read(line, "log.jsonl")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("arm", [1.5], "arm is double, expected text or integers"),
        ("reward", [[1]], "reward is list<.*>, expected numbers"),
        ("propensity", [b"1"], "propensity is binary, expected numbers"),
        ("candidates", [{"a": 1}], "candidates is struct<.*>, expected lists or text"),
        ("candidates", [[None]], "expected a JSON array of ids"),
        ("time", [{"a": 1}], "time is struct<.*>, expected times"),
    ],
)
def test_columns_of_the_wrong_type_are_refused(tmp_path, column, values, message):
    good = {"arm": ["a"], "reward": [True], "propensity": [1]}
    pd.DataFrame(good | {column: values}).to_parquet(tmp_path / "log.parquet")
    how = MissingRewards("zero", 60.0 if column == "time" else None)
    with pytest.raises(BadData, match=message):
        decisions.read([tmp_path / "log.parquet"], DecisionColumns(), how)


def test_times_and_rewards_keep_the_types_of_parquet(tmp_path):
    moments = pd.to_datetime(["2026-01-01", "2026-01-03"], utc=True)
    frame = pd.DataFrame({"arm": [1, 2], "reward": [None, True], "propensity": [1, 0.5]})
    frame.assign(time=moments).to_parquet(tmp_path / "log.parquet")
    how = MissingRewards("zero", 86400.0)
    found = decisions.read([tmp_path / "log.parquet"], DecisionColumns(), how).decisions
    assert (found.arms, found.reward.tolist()) == (["1", "2"], [0, 1])


def test_missing_rewards_count_by_rule(read):
    text = "arm,reward,propensity\na,1,1\nb,,1\nc,NaN,1\n"
    zero, drop = read(text, rule="zero"), read(text, rule="drop")
    assert zero.decisions.reward.tolist() == [1, 0, 0]
    assert (zero.missing, zero.dropped) == (2, 0)
    assert drop.decisions.reward.tolist() == [1]
    assert (drop.missing, drop.dropped) == (2, 2)


@pytest.mark.parametrize(
    "times",
    [
        ("2026-01-01T00:00:00Z", "2026-01-02 01:00:00+01:00", "2026-01-02T12:00:00"),
        ("0", "86400", "129600.0"),
    ],
)
def test_a_reward_that_may_still_come_is_not_zero(read, times):
    """The log ends at noon of the second day: with 24 h, only the first decision is over."""
    rows = "".join(f"{arm},,1,{time}\n" for arm, time in zip("abc", times, strict=True))
    text = f"arm,reward,propensity,time\n{rows}d,1,1,{times[2]}\n"
    found = read(text, rule="zero", attribution=86400.0)
    assert found.decisions.arms == ["a", "d"]
    assert found.decisions.reward.tolist() == [0, 1]
    assert (found.missing, found.dropped) == (3, 2)


def test_attribution_needs_times(read):
    with pytest.raises(UsageError, match="no times"):
        read("arm,reward,propensity\na,1,1\n", rule="zero", attribution=60.0)
    with pytest.raises(BadData, match="line 2: time is 'noon'"):
        read("arm,reward,propensity,at\na,1,1,noon\n", rule="zero", attribution=60.0)


def test_a_column_can_be_named_or_left_out(read):
    text = "arm,shown,reward,propensity,position\na,b,1,1,2\nx,c,1,1,3\n"
    found = read(text, arm="shown", position="").decisions
    assert (found.arms, len(found.positions)) == (["b", "c"], 1)
    with pytest.raises(BadData, match="no column 'shwn'"):
        read(text, arm="shwn")


def test_a_table_of_probabilities_by_context_and_position(read, load):
    logged = read(CSV)
    text = (
        "context,position,arm,probability\n"
        "u,1,a,0.25\nu,1,b,0.75\nu,2,c,1\n,1,a,0.5\n,1,new,0.5\n,2,b,0.125\n,2,c,0.875\n"
    )
    found = load(text, logged)
    assert found.taken.tolist() == [0.25, 0.125, 0.5, 1]
    # b and c at position 1, and `new` anywhere, are never shown: 0.75 and 0.5 of two rows.
    assert unsupported(found, logged.decisions) == pytest.approx((0.75 + 0.5) / 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm,probability\na,0.5\nb,0.4\n", "sum to 0.9, not 1"),
        ("arm,probability\na,1\na,0\n", "the arm 'a' appears twice"),
        ("arm,probability\na,-1\n", "row 1: arm 'a' has the probability '-1'"),
        ("arm,probability\na,x\n", "row 1: probability is 'x', expected a number"),
        ("arm,probability,user\na,1,u\n", "unknown column 'user'"),
        ("item,probability\na,1\n", "no column 'arm'|unknown column 'item'"),
        ("arm,probability,context\na,1,u\n", "no probabilities for decisions without a context"),
        ("arm,probability\n", "no probabilities"),
        ("arm,mean\na,1\n", "no column 'a'"),
        ("arm,probability\na,1,1\n", "3 fields"),
    ],
)
def test_a_wrong_policy_is_refused(read, load, text, message):
    logged = read("arm,reward,propensity,context\na,1,1,u\na,1,1,\n")
    with pytest.raises(MlkitError, match=message):
        load(text, logged)


def test_posteriors_are_thompson_sampling_at_each_rank(read, load):
    logged = read(CSV)
    text = "context,arm,a,b,pulls\n,a,3,20,1\n,b,2,30,1\n,d,5,9,1\nu,a,40,10,1\n"
    found = load(text, logged)
    plain = top_k([3, 2, 5], [20, 30, 9], k=2).ranks  # a, b, d
    of_user = top_k([40, 2, 5], [10, 30, 9], k=2).ranks
    assert_allclose(found.taken, [of_user[0, 0], plain[1, 1], plain[0, 0], 0])
    rows = found.table.sum(axis=1)
    assert rows.max() < 1  # d is not in the log


def test_candidates_compete_alone_and_new_ones_have_the_prior(read, load):
    text = "arm,reward,propensity,candidates\na,1,0.5,a|b\nb,1,0.5,a|b|c\n"
    logged = read(text)
    found = load("arm,a,b,prior_a,prior_b\na,3,20,1,4\nb,2,30,1,4\nd,9,1,1,4\n", logged)
    assert_allclose(
        found.taken, [top_k([3, 2], [20, 30]).first[0], top_k([3, 2, 1], [20, 30, 4]).first[1]]
    )
    assert_allclose(found.table.sum(axis=1), 1)
    scaled = load("arm,probability\na,0.2\nb,0.2\nc,0.6\n", logged)
    assert_allclose(scaled.taken, [0.5, 0.2])
    even = targets.load("uniform", logged)
    assert_allclose(even.taken, [1 / 2, 1 / 3])


def test_thompson_sampling_needs_ranks(read, load):
    logged = read("arm,reward,propensity,position\na,1,1,left\n")
    with pytest.raises(UsageError, match="position 'left'"):
        load("arm,a,b\na,1,1\n", logged)
    few = read("arm,reward,propensity,position\na,1,1,1\na,1,1,2\n")
    with pytest.raises(BadData, match="1 arms for the positions up to 2"):
        load("arm,a,b\na,1,1\n", few)


def test_a_column_of_target_probabilities(read):
    text = "arm,reward,propensity,new\na,1,0.5,0.25\nb,0,0.5,0\n"
    logged = read(text, probabilities=targets.columns_of(["uniform", "column:new"]))
    found = targets.load("column:new", logged)
    assert found.taken.tolist() == [0.25, 0]
    assert found.table is None
    assert unsupported(found, logged.decisions) is None
    with pytest.raises(BadData, match=r"line 3: new is 2.0, expected a number in \[0, 1\]"):
        read(text.replace(",0\n", ",2\n"), probabilities=["new"])
    with pytest.raises(UsageError, match="lacks a name"):
        targets.columns_of(["column:"])


def test_ids_that_are_numbers_stay_in_their_order(read):
    log = read("arm,reward,propensity,position\n10,1,1,10\n9,1,1,9\nx,1,1,1\n").decisions
    assert (log.arms, log.positions) == (["9", "10", "x"], ["1", "9", "10"])
    assert np.array_equal(log.arm, [1, 0, 2])
