"""Models of every policy, judged by `mlkit bandit evaluate` on logs with features."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlkit.bandit import targets
from mlkit.bandit.logs import decisions
from mlkit.bandit.logs.decision_tables import DecisionColumns
from mlkit.bandit.logs.decisions import MissingRewards
from mlkit.bandit.models import file
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.errors import BadData, UsageError

ROWS = 2000
OTHER, BEST = 0.1, 0.7


@pytest.fixture(scope="module")
def rows():
    """Return a log of random choices: arm a is the best one where sun is 1, b where it is 0."""
    chance = np.random.default_rng(3)
    found = []
    for _ in range(ROWS):
        sun, arm = int(chance.integers(2)), "ab"[chance.integers(2)]
        reward = int(chance.random() < (BEST if (arm == "a") == bool(sun) else OTHER))
        found.append({"arm": arm, "reward": reward, "propensity": 0.5, "sun": sun})
    return found


def as_csv(rows, path):
    names = list(rows[0])
    lines = [",".join(str(row[name]) for name in names) for row in rows]
    path.write_text("\n".join([",".join(names), *lines]))


def as_objects(rows):
    """Return rows as the server logs them, with one more feature than a model reads."""
    return [
        {name: row[name] for name in ("arm", "reward", "propensity")}
        | {"features": {"sun": row["sun"], "wind": 3}}
        for row in rows
    ]


def fitted(spec, rows, path, schema=None):
    """Write a model that has learned the rows."""
    model = PolicyModel(ModelHeader("m", catalog.parse(spec), schema or FeatureSchema(("sun",))))
    for name in ("a", "b"):
        model.put(name)
    for row in rows:
        named = {name: row[name] for name in model.header.features.context}
        model.learn(model.place(row["arm"]), row["reward"], named)
    file.write(model, path)
    return model


def value(document, estimator):
    (policy, *_) = document["policies"]
    return next(e["value"] for e in policy["estimates"] if e["estimator"] == estimator)


@pytest.mark.parametrize("spec", ["lin-ucb", "lin-ts", "logistic"])
def test_a_policy_that_reads_the_context_is_worth_what_it_would_earn(
    rows, evaluate, tmp_path, spec
):
    """It knows which arm is the best one after 1,000 rows, and is judged on the others."""
    as_csv(rows[ROWS // 2 :], tmp_path / "log.csv")
    fitted(spec, rows[: ROWS // 2], tmp_path / "m.parquet")
    document = evaluate("log.csv", "--policy", "m.parquet", "--against", "uniform")
    for estimator in ("ips", "snips", "dm", "dr"):
        assert value(document, estimator) == pytest.approx(BEST, abs=0.06), estimator
    assert document["log"]["value"]["value"] == pytest.approx((BEST + OTHER) / 2, abs=0.06)
    assert document["policies"][0]["warnings"] == []


def test_features_are_read_from_columns_and_from_objects_alike(rows, evaluate, tmp_path):
    rows = rows[:200]
    fitted("lin-ts", rows, tmp_path / "m.parquet")
    as_csv(rows, tmp_path / "log.csv")
    objects = as_objects(rows)
    lines = "\n".join(map(json.dumps, objects))
    (tmp_path / "log.jsonl").write_text(lines)
    texts = [row | {"features": json.dumps(row["features"])} for row in objects]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "log.parquet")
    (tmp_path / "named.jsonl").write_text(lines.replace('"features"', '"seen"'))
    wanted = evaluate("log.csv", "--policy", "m.parquet")["policies"]
    for log in ("log.jsonl", "log.parquet"):
        assert evaluate(log, "--policy", "m.parquet")["policies"] == wanted
    named = evaluate("named.jsonl", "--policy", "m.parquet", "--features", "seen")
    assert named["policies"] == wanted


def test_a_category_is_the_one_that_the_model_was_fitted_with(rows, evaluate, tmp_path):
    """Also where a log has it as a number, and the model as text."""
    schema = FeatureSchema(("sun",), categories=("sun",), hashed=16)
    texts = [row | {"sun": str(row["sun"])} for row in rows]
    fitted("lin-ucb", texts[:1000], tmp_path / "m.parquet", schema)
    as_csv(rows[1000:], tmp_path / "log.csv")
    document = evaluate("log.csv", "--policy", "m.parquet")
    assert value(document, "snips") == pytest.approx(BEST, abs=0.06)


@pytest.mark.parametrize(
    ("spec", "scale"), [("gamma-poisson", 3.0), ("normal", 20.0), ("kl-ucb", 1.0)]
)
def test_models_without_features_have_their_own_probabilities(
    rows, evaluate, tmp_path, spec, scale
):
    """The mean weight of an arm is its probability over the log's, which is one half."""
    rows = [row | {"reward": scale * row["reward"]} for row in rows[:300]]
    model = fitted(spec, rows, tmp_path / "m.parquet", FeatureSchema())
    as_csv(rows, tmp_path / "log.csv")
    places = model.present()
    chances = dict(zip(model.ids, model.ranks(places, places, 1, None).first, strict=True))
    wanted = np.mean([chances[row["arm"]] / 0.5 * row["reward"] for row in rows])
    assert value(evaluate("log.csv", "--policy", "m.parquet"), "ips") == pytest.approx(wanted)


def test_candidates_that_the_model_lacks_have_the_prior(evaluate, tmp_path, rows):
    fitted("gamma-poisson", rows[:50], tmp_path / "m.parquet", FeatureSchema())
    log = "arm,reward,propensity,candidates\n" + "new,1,0.5,a|new\na,0,0.5,a|new\nb,0,1,b\n" * 9
    (tmp_path / "log.csv").write_text(log)
    found = evaluate("log.csv", "--policy", "m.parquet")["policies"][0]
    assert found["support"]["mean"] == pytest.approx(1)
    assert found["support"]["unsupported"] == 0


@pytest.mark.parametrize(
    ("log", "kind", "message"),
    [
        ("arm,reward,propensity\na,1,0.5\n", BadData, "no column 'sun'"),
        ("arm,reward,propensity,sun\na,1,0.5,bright\n", BadData, "'sun' is 'bright'"),
        ("arm,reward,propensity,sun\na,1,0.5,\n", BadData, "m.parquet: .*'sun' is missing"),
        ("arm,reward,propensity,features\na,1,0.5,[1]\n", BadData, "expected a JSON object"),
        ("arm,reward,propensity,sun,position\na,1,0.5,1,top\n", UsageError, "'top'"),
        ("arm,reward,propensity,sun,position\na,1,0.5,1,4\n", BadData, "2 arms for the positions"),
    ],
)
def test_what_a_model_cannot_read_is_named(tmp_path, rows, log, kind, message):
    fitted("lin-ucb", rows[:20], tmp_path / "m.parquet")
    (tmp_path / "log.csv").write_text(log)
    spec = str(tmp_path / "m.parquet")
    columns = DecisionColumns(named=targets.features_of([spec]).context)
    with pytest.raises(kind, match=message):
        targets.load(spec, decisions.read([tmp_path / "log.csv"], columns, MissingRewards()))


def test_features_that_never_recur_leave_the_direct_method_an_honest_interval(evaluate, tmp_path):
    """Means of single rows would have no error; those of the arms have that of 400 rows each."""
    chance = np.random.default_rng(5)
    rows = [
        {"arm": "ab"[n % 2], "reward": float(chance.normal()), "propensity": 0.5, "sun": n / 800}
        for n in range(800)
    ]
    fitted("lin-ucb", [row | {"reward": 0.0} for row in rows[:9]], tmp_path / "m.parquet")
    as_csv(rows, tmp_path / "log.csv")
    (found,) = evaluate("log.csv", "--policy", "m.parquet")["policies"]
    low, high = next(e["bootstrap"] for e in found["estimates"] if e["estimator"] == "dm")
    assert 2 * 1.96 / 800**0.5 < high - low < 2 * 1.96 / 300**0.5


@pytest.fixture(scope="module")
def priced():
    """Return a log of random choices: the arm with the lower price is the best one."""
    chance = np.random.default_rng(7)
    found = []
    for number in range(1200):
        arm, prices = "ab"[chance.integers(2)], chance.permutation([-1.0, 1.0])
        by_arm = {name: {"price": price} for name, price in zip("ab", prices, strict=True)}
        reward = int(chance.random() < (BEST if by_arm[arm]["price"] < 0 else OTHER))
        row = {"arm": arm, "reward": reward, "propensity": 0.5, "decision_id": str(number)}
        found.append(row | {"candidates": ["a", "b"], "candidate_features": by_arm})
    return found


def fitted_prices(rows, path):
    schema = FeatureSchema((), ("price",))
    model = PolicyModel(ModelHeader("m", catalog.parse("lin-ucb:shared=true,alpha=0.0"), schema))
    for name in ("a", "b"):
        model.put(name, {"price": 0})
    for row in rows:
        arm = row["arm"]
        model.learn(model.place(arm), row["reward"], None, arm=row["candidate_features"][arm])
    file.write(model, path)


def test_a_policy_that_reads_arms_is_judged_by_what_they_were_when_they_were_shown(
    priced, evaluate, tmp_path
):
    fitted_prices(priced[:200], tmp_path / "m.parquet")
    rows = priced[200:]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    document = evaluate("log.jsonl", "--policy", "m.parquet")
    assert value(document, "snips") == pytest.approx(BEST, abs=0.06)
    texts = [row | {"candidate_features": json.dumps(row["candidate_features"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(texts), tmp_path / "log.parquet")
    assert evaluate("log.parquet", "--policy", "m.parquet")["policies"] == document["policies"]
    ignored = evaluate("log.jsonl", "--policy", "m.parquet", "--candidate-features", "")
    assert value(ignored, "snips") == pytest.approx((BEST + OTHER) / 2, abs=0.06)


def test_one_row_of_a_slate_has_the_features_of_all_its_candidates(priced, evaluate, tmp_path):
    """A row of the other arm, without a reward, stands before or after each."""
    fitted_prices(priced[:200], tmp_path / "m.parquet")
    lines = []
    for number, row in enumerate(priced[200:]):
        other = {"arm": "ba"["ab".index(row["arm"])], "reward": None, "propensity": 0.5}
        bare = {name: row[name] for name in row if name != "candidate_features"}
        pair = [bare | {"position": 1}, bare | other | {"position": 2}]
        pair[number % 2]["candidate_features"] = row["candidate_features"]
        lines += pair
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    document = evaluate("log.jsonl", "--policy", "m.parquet", "--missing", "drop")
    assert value(document, "snips") == pytest.approx(BEST, abs=0.06)


def test_an_arm_that_the_model_lacks_has_the_features_of_the_log(priced, evaluate, tmp_path):
    fitted_prices(priced[:200], tmp_path / "m.parquet")
    lines = [json.dumps(row).replace('"b"', '"new"') for row in priced[200:]]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    document = evaluate("log.jsonl", "--policy", "m.parquet")
    assert value(document, "snips") == pytest.approx(BEST, abs=0.06)


@pytest.mark.parametrize("wrong", ['"cheap"', "[1]", '{"a": 3}', '{"a": {"price": "low"}}'])
def test_features_of_arms_that_are_wrong_are_named(priced, tmp_path, wrong):
    fitted_prices(priced[:50], tmp_path / "m.parquet")
    row = json.dumps(priced[0] | {"candidate_features": 0}).replace(": 0}", f": {wrong}}}")
    (tmp_path / "log.jsonl").write_text(row)
    spec = str(tmp_path / "m.parquet")
    columns = DecisionColumns(named=(), of_arms=targets.features_of([spec]).of_arms)
    with pytest.raises(BadData, match=r"candidate_features|price"):
        targets.load(spec, decisions.read([tmp_path / "log.jsonl"], columns, MissingRewards()))
