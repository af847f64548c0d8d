"""Business rules after the policy: what they show, and what propensities and logs say of it."""

from __future__ import annotations

from hashlib import blake2b
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served_models import read_log

from mlkit.bandit.propensities import TopK
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.decisions.choice import Wanted
from mlkit.bandit.server.decisions.predictor import Predicted
from mlkit.bandit.server.post_process import rules
from mlkit.bandit.server.post_process.script import Script
from mlkit.bandit.server.post_process.stage import PostProcess
from mlkit.errors import ConfigurationError, InputMissing, UsageError
from mlkit.web.errors import RequestError
from mlkit.web.metrics import SharedCounters

KNOWN = {
    "a": {"brand": "x", "stock": "0"},
    "b": {"brand": "x", "stock": 3},
    "c": {"brand": "x", "stock": 2.5},
    "d": {"brand": "y", "stock": "many"},
}


@pytest.fixture
def process(tmp_path):
    """Return what the rules of a text make of rankings, and its counters."""

    def make(text, suffix=".toml"):
        path = tmp_path / f"rules{suffix}"
        path.write_text(text)
        counters = SharedCounters(metrics.LAYOUT, 1).row(0)
        found = PostProcess(path, counters)
        places = counters.layout.counters
        count = {each: lambda each=each: counters.values[places[each]] for each in places}
        return SimpleNamespace(process=found, count=count)

    return make


def shown(made, arms="abcde", k=3, known=KNOWN, may_pin=lambda arm: True):
    """Return the arms of a decision whose policy ranks by the alphabet."""
    request = PredictRequest(k=k, candidates=list(arms))
    decision = made.process.begin(request, list(arms), may_pin, known)
    asked = decision.request
    ranking = sorted(asked.candidates)[: asked.k]
    scores = [1.0 - 0.1 * place for place in range(len(ranking))]
    found = Predicted(ranking, scores, "policy", sorted(asked.candidates))
    return decision.end(found, 7)


FILTERS = {
    'feature = "stock"\nat_least = 1': "bcde",
    'feature = "stock"\nat_least = 1\nmissing = "remove"': "bc",
    'feature = "stock"\nat_most = 2.5': "acde",
    'feature = "stock"\nequals = 3': "be",
    'feature = "stock"\nequals = "0"': "ae",
    'feature = "brand"\none_of = ["y", "z"]': "de",
    'feature = "brand"\nnone_of = ["x"]\nmissing = "remove"': "d",
}


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_leaves_the_arms_that_fit(process, text):
    made = process(f"[[filter]]\n{text}\n")
    found = shown(made, k=9)
    assert "".join(found.arms) == FILTERS[text]
    assert found.candidates == found.arms
    assert sorted([*found.arms, *found.post_process.removed]) == list("abcde")
    assert made.count[metrics.REMOVED]() == 5 - len(found.arms)


@pytest.mark.parametrize(
    ("pins", "k", "expected"),
    [
        ({"d": 1}, 3, "dab"),
        ({"d": 2, "e": 1}, 3, "eda"),
        ({"a": 3}, 3, "bca"),
        ({"a": 9}, 3, "abc"),  # beyond what is shown: where the policy has it
        ({"z": 1}, 3, "abc"),  # no candidate
        ({"a": 5}, 9, "bcdea"),
        ({"a": 8}, 9, "bcdea"),  # no place stays empty
        ({"a": 1}, 1, "a"),
    ],
)
def test_a_pinned_arm_is_shown_at_its_position(process, pins, k, expected):
    text = "".join(f'[[pin]]\narm = "{arm}"\nposition = {at}\n' for arm, at in pins.items())
    assert "".join(shown(process(text), k=k).arms) == expected


def test_a_pinned_arm_is_shown_only_if_it_may_be(process):
    text = '[[pin]]\narm = "a"\nposition = 1\n[[filter]]\nfeature = "stock"\nat_least = 1\n'
    assert shown(process(text)).arms == ["b", "c", "d"]
    pinned = process('[[pin]]\narm = "c"\nposition = 1\n')
    assert shown(pinned, may_pin=lambda arm: False).arms == ["a", "b", "c"]


def test_diversity_shows_so_many_of_each_value_and_the_best_of_them(process):
    text = '[[diversity]]\nfeature = "brand"\nmost = 1\n'
    assert shown(process(text)).arms == ["a", "d", "e"]
    assert shown(process(text.replace("1", "2")), k=4).arms == ["a", "b", "d", "e"]
    pin = '[[pin]]\narm = "b"\nposition = 2\n'
    assert shown(process(text + pin)).arms == ["d", "b", "e"]  # b is of the brand of a


def test_the_list_has_features_beside_those_of_the_store(process):
    text = '[[filter]]\nfeature = "stock"\nat_least = 1\n[arms.e]\nstock = 0\n[arms.a]\nstock = 1\n'
    assert shown(process(text), k=9).arms == ["a", "b", "c", "d"]


def test_what_is_logged_is_what_the_policy_alone_had_ranked(process):
    found = shown(process('[[diversity]]\nfeature = "brand"\nmost = 1\n'))
    assert found.post_process.by.startswith("rules.toml@")
    assert found.post_process.ranked == ["a", "b", "c"]
    assert found.scores == [pytest.approx(1.0), pytest.approx(0.7), pytest.approx(0.6)]


def test_propensities_of_pins_are_exact_and_in_the_order_of_what_is_shown(process):
    made = process('[[pin]]\narm = "c"\nposition = 2\n')
    request = PredictRequest(k=3, candidates=["a", "b", "c"])
    decision = made.process.begin(request, request.candidates, lambda arm: True, {})
    assert (decision.request.candidates, decision.request.k) == (["a", "b"], 2)
    wanted = made.process.plan_policy(Wanted(True, True))
    assert wanted == Wanted(True, True)
    ranks = np.array([[0.7, 0.3], [0.3, 0.7]])
    about = {"propensities": TopK(ranks, 0.7), "first": [0.7, 0.3]}
    found = decision.end(Predicted(["a", "b"], [2.0, 1.0], "policy", ["a", "b"], **about), 1)
    assert found.arms == ["a", "c", "b"]
    assert found.propensities.ranks.tolist() == [[0.7, 0, 0.3], [0, 1, 0], [0.3, 0, 0.7]]
    assert found.propensities.slate == 0.7
    assert dict(zip(found.candidates, found.first, strict=True)) == {"c": 0, "a": 0.7, "b": 0.3}


def test_rules_about_the_ranking_have_no_exact_propensities(process):
    diverse = process('[[diversity]]\nfeature = "brand"\nmost = 1\n')
    assert diverse.process.plan_policy(Wanted(True, True)) == Wanted(False, True)
    script = process("def post_process(request, ranking): return []\n", ".py")
    assert script.process.plan_policy(Wanted(True, True)) == Wanted(False, False)
    request = PredictRequest(propensities=True, candidates=["a"])
    for made in (diverse, script):
        decision = made.process.begin(request, ["a"], lambda arm: True, {})
        with pytest.raises(RequestError, match="depends on the whole ranking"):
            decision.refuse_propensities("")


def test_a_python_file_gets_the_ranking_and_decides(process):
    made = process(
        "FEATURES = ['brand']\n"
        "def post_process(request, ranking):\n"
        "    assert request == {'context': None, 'features': {}, 'k': 2, 'seed': 7}\n"
        "    assert ranking[0] == {'arm': 'a', 'score': 1.0, 'brand': 'x'}\n"
        "    return [row['arm'] for row in ranking if row['brand'] != 'x']\n",
        ".py",
    )
    assert made.process.features == ("brand",)
    assert shown(made, "abcdef", k=2).arms == ["d", "e"]


BAD_ANSWERS = ["1 / 0", "return None", "return ['z']", "return ['a', 'a']", "return [['a']]"]


@pytest.mark.parametrize("body", BAD_ANSWERS)
def test_a_python_file_that_fails_is_a_503_and_counted(process, body):
    made = process(f"def post_process(request, ranking):\n    {body}\n", ".py")
    with pytest.raises(RequestError) as raised:
        shown(made)
    assert raised.value.status == 503
    assert made.count[metrics.POST_FAILURES]() == 1


BAD_SCRIPTS = [
    *("def post_process(", "1 / 0", "x = 1", "post_process = 1", "import sys; sys.exit(3)"),
    "FEATURES = 'brand'\ndef post_process(request, ranking): return []",
    "FEATURES = ['score']\ndef post_process(request, ranking): return []",
]


@pytest.mark.parametrize("text", BAD_SCRIPTS)
def test_a_python_file_that_cannot_be_used_is_refused(tmp_path, text):
    path = tmp_path / "rules.py"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"rules\.py"):
        Script(path)


BAD_RULES = {
    "[[filter]": "rules.toml",
    "[[filters]]\n": "filters",
    '[[filter]]\nfeature = "x"\n': "expected at_least",
    '[[filter]]\nfeature = "x"\nat_least = "1"\n': "at_least",
    '[[filter]]\nfeature = "x"\nequals = 1\nmissing = "drop"\n': "missing",
    '[[pin]]\narm = "a"\nposition = 0\n': "position",
    '[[pin]]\narm = "a"\nposition = 1\n[[pin]]\narm = "a"\nposition = 2\n': "arm 'a' appears twice",
    '[[pin]]\narm = "a"\nposition = 1\n[[pin]]\narm = "b"\nposition = 1\n': "position 1 appears",
    '[[diversity]]\nfeature = "x"\nmost = 0\n': "most",
    "[arms.a]\nx = [1]\n": "arms",
}


@pytest.mark.parametrize("text", BAD_RULES)
def test_a_wrong_rule_is_refused_by_name(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=BAD_RULES[text]):
        rules.read(path)


def test_a_file_of_rules_must_be_there_and_have_a_known_ending(process, tmp_path):
    for suffix in (".toml", ".py"):
        with pytest.raises(InputMissing):
            process("").process.__class__(tmp_path / f"none{suffix}", None)
    with pytest.raises(UsageError, match=r"neither \.py nor \.toml"):
        process("", ".txt")
    about_stock = process('[[filter]]\nfeature = "stock"\nat_least = 1\n').process
    about_stock.check(has_store=True)
    with pytest.raises(ConfigurationError, match="nothing has 'stock'"):
        about_stock.check(has_store=False)


def found_by(path):
    return f"{path.name}@{blake2b(path.read_bytes(), digest_size=4).hexdigest()}"


def test_a_server_shows_logs_and_learns_what_the_rules_left(start, tmp_path):
    features = {"arm": ["c1", "c2", "a/b é"], "stock": [1, 0, 5], "brand": ["x", "x", "y"]}
    pq.write_table(pa.table(features), tmp_path / "f.parquet")
    (tmp_path / "rules.toml").write_text(
        '[[filter]]\nfeature = "stock"\nat_least = 1\n[[pin]]\narm = "a/b é"\nposition = 1\n'
    )
    log = tmp_path / "log"
    server = start(
        *("--workers", "1", "--features", "parquet:f.parquet", "--post-process", "rules.toml"),
        *("--log", str(log), "--propensities", "1"),
    )
    found = server.post("/predict", {"k": 3, "propensities": True})
    assert found["arms"] == ["a/b é", "c1"]
    assert found["propensities"]["first"] == [1, 0]
    assert found["propensities"]["slate"] == pytest.approx(1)
    event = {"decision_id": found["decision_id"], "arm": "c2", "reward": 1}
    assert server.call("POST", "/feedback", event).status == 422  # it was not shown
    assert server.post("/feedback", {**event, "arm": "c1"})["ignored"] is False
    only = server.post("/predict/batch", [{"candidates": ["c2"]}, {"candidates": ["c1", "c2"]}])
    assert [each["arms"] for each in only] == [[], ["c1"]]
    _, text, _ = server.raw("GET", "/metrics")
    assert "mlkit_post_process_removed_total 3" in text.decode()
    assert server.stop() == 143
    lines = [line for line in read_log(log) if line["type"] == "decision"]
    assert lines[0]["candidates"] == ["a/b é", "c1"]
    assert lines[0]["first"] == [1, 0]
    assert lines[0]["post_process"]["removed"] == ["c2"]
    assert {line["post_process"]["by"] for line in lines} == {found_by(tmp_path / "rules.toml")}
