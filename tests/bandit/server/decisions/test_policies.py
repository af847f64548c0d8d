"""Serving policies other than Thompson sampling, and limits of what is shown."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from served_models import exported, model_file, read_log

from mlkit.bandit.models import file
from mlkit.bandit.policies import catalog
from mlkit.bandit.posteriors import file as posteriors_file
from mlkit.bandit.propensities import top_k


@pytest.fixture
def serve(start, tmp_path):
    """Start a server of a model."""

    def run(text, *options, contexts=(), arms=()):
        model_file(tmp_path, text, contexts, arms)
        return start("--workers", "1", *options)

    return run


def test_a_model_learns_from_features_and_keeps_every_bit_after_a_kill(serve, start):
    server = serve("lin-ts:scale=0.1", contexts=("x",))
    assert server.call("POST", "/predict", {}).status == 422
    assert server.call("POST", "/predict", {"features": {"y": 1}}).status == 422
    for number in range(30):
        x = number / 10
        found = server.post("/predict", {"features": {"x": x}, "k": 2, "seed": number})
        arm = found["arms"][0]
        event = {"decision_id": found["decision_id"], "arm": arm, "reward": x if arm == "c2" else 0}
        assert server.post("/feedback", event)["duplicate"] is False
        assert server.post("/feedback", event)["duplicate"] is True
    direct = {"event_id": "e", "arm": "c1", "reward": -4.5, "features": {"x": 1}}
    assert server.post("/feedback", direct)["ignored"] is False
    assert server.call("POST", "/feedback", {**direct, "features": {"x": 2}}).status == 409
    before = exported(server).read_bytes()
    question = {"features": {"x": 3}, "k": 3, "seed": 7}
    answer = server.post("/predict", question)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert exported(server).read_bytes() == before
    again = start("--workers", "2")
    assert exported(again).read_bytes() == before
    same = again.post("/predict", question)
    assert (same["arms"], same["scores"]) == (answer["arms"], answer["scores"])
    assert again.post("/feedback", direct)["duplicate"] is True


def test_what_is_learned_is_what_the_library_learns(serve):
    server = serve("gamma-poisson")
    model = file.read(server.posteriors)
    for number in range(10):
        event = {"event_id": f"{number}", "arm": "c2", "reward": number}
        assert server.post("/feedback", event)["ignored"] is False
        model.learn(model.place("c2"), number, None)
    assert server.call("POST", "/feedback", {**event, "event_id": "n", "reward": -1}).status == 422
    found = file.read(exported(server))
    place = found.place("c2")
    assert catalog.pack(found.policy, place) == catalog.pack(model.policy, place)
    assert server.get("/arms/c2")["pulls"] == 14
    assert server.get("/arms/c2")["mean"] == pytest.approx(model.policy.expected([place])[0])


def test_arms_of_a_shared_model_come_with_their_features(serve):
    server = serve("lin-ucb:shared=true", contexts=("x",), arms=("z",))
    assert server.call("PUT", "/arms/new", {}).status == 422
    assert server.call("PUT", "/arms/new", {"a": 1, "b": 2}).status == 422
    assert server.call("PUT", "/arms/new", {"features": {"z": 9}}).status == 201
    found = server.post("/predict", {"features": {"x": 2}, "propensities": True})
    assert found["arms"][0] == "new"  # the widest bound, since nothing like it was seen
    assert found["propensities"]["first"][0] == 1
    only = server.post("/predict", {"features": {"x": 2}, "candidates": ["c1", "nobody"]})
    assert (only["arms"], only["unknown"]["arms"]) == (["c1"], 0.5)
    assert server.call("DELETE", "/arms/new").status == 204
    assert "new" not in server.post("/predict", {"features": {"x": 2}})["arms"]
    names = [arm["arm"] for arm in server.get("/arms?limit=2&after=c1")["arms"]]
    assert names == ["c2", "c3"]


def test_new_arms_are_served_when_the_model_has_outgrown_its_file(serve):
    server = serve("softmax:temperature=0.2")
    for number in range(60):
        name = f"{'long' * 60} {number}"
        assert server.call("PUT", f"/arms/{name.replace(' ', '%20')}", {}).status == 201
    server.post("/feedback", {"event_id": "1", "arm": name, "reward": 1})
    found = server.post("/predict", {"k": 100, "seed": 1})
    assert len(found["arms"]) == 63
    assert name in found["arms"]
    assert server.get("/health")["arms"] == 63


def test_beta_posteriors_serve_another_policy(start):
    server = start("--workers", "1", "--policy", "epsilon-greedy:scale=0")
    best = server.post("/predict", {"k": 3, "propensities": True})
    assert best["propensities"]["first"] == [1, 0, 0]
    assert best["scores"] == sorted(best["scores"], reverse=True)
    assert best["arms"][0] == "c2"  # 2 of 51 rewards, c1 1 of 30: see conftest
    server.stop()
    other = start("--workers", "1", ready=False)
    assert other.process.wait(180) == 78  # the state belongs to the other policy


def test_propensities_are_those_of_the_posteriors(server):
    asked = {"context": "u1", "k": 2, "propensities": True, "seed": 3}
    found = server.post("/predict", asked)
    a, b = [5, 3, 1], [50, 50, 50]  # as in conftest: c1 in u1, then the arms' own
    shown = [("c1", "c2", "a/b é").index(arm) for arm in found["arms"]]
    right = top_k(a, b, 2, shown)
    assert found["propensities"]["first"] == pytest.approx(right.first.tolist())
    assert found["propensities"]["included"] == pytest.approx(right.included.tolist())
    assert found["propensities"]["slate"] == pytest.approx(right.slate)
    assert found["propensities"]["position"][1] == pytest.approx(right.ranks[1, 1])
    assert "propensities" not in server.post("/predict", {"k": 1})
    twice = {"candidates": ["c1", "c1"], "propensities": True}
    assert server.call("POST", "/predict", twice).status == 422


def test_propensities_that_doubles_cannot_hold_are_refused(server):
    for arm, size in (("tiny", 1e-50), ("huge", 1e15)):
        assert server.call("PUT", f"/arms/{arm}", {"a": size, "b": size}).status == 201
    asked = {"candidates": ["tiny", "huge"], "k": 1}
    refused = server.call("POST", "/predict", {**asked, "propensities": True})
    assert refused.status == 422
    assert "from 1e-50 to 1e+15 are too far apart" in str(refused.body)
    assert len(server.post("/predict", asked)["arms"]) == 1


# Limits


def frequencies(server, requests=600, **request):
    """Count how often each arm is first, and the propensities that the server stated."""
    body = [{"k": 1, "propensities": True, "seed": seed, **request} for seed in range(requests)]
    answers = []
    for begin in range(0, requests, 50):
        answers += server.post("/predict/batch", body[begin : begin + 50])
    stated = {}
    for answer in answers:
        stated[answer["arms"][0]] = answer["propensities"]["first"][0]
    counts = Counter(answer["arms"][0] for answer in answers)
    return {arm: counts[arm] / requests for arm in stated}, stated


@pytest.mark.parametrize(
    "options",
    [("--holdout", "0.3"), ("--min-share", "0.2"), ("--max-share", "0.5", "--holdout", "0.1")],
)
def test_limits_hold_and_their_propensities_are_exact(start, options):
    server = start("--workers", "1", *options)
    counted, stated = frequencies(server)
    assert sum(stated.values()) == pytest.approx(1)
    assert counted == pytest.approx(stated, abs=0.1)  # 5 standard errors
    if "--min-share" in options:
        assert min(stated.values()) >= 0.2
    if "--max-share" in options:
        assert max(stated.values()) <= 0.5 + 1e-9
        refused = server.call("POST", "/predict", {"k": 2, "propensities": True})
        assert refused.status == 422
        assert "--max-share" in refused.body["error"]


def test_pinned_and_blocked_arms(start):
    server = start("--workers", "1", "--pin", "c2", "--block", "c1")
    found = server.post("/predict", {"k": 3, "propensities": True})
    assert found["arms"] == ["c2", "a/b é"]
    assert found["propensities"]["first"] == [1, 0]
    assert found["propensities"]["position"] == pytest.approx([1, 1])
    assert server.post("/predict", {"candidates": ["c1", "a/b é"]})["arms"] == ["a/b é"]
    assert server.post("/predict", {"candidates": ["c1"]})["arms"] == []


def test_a_kill_switch_shows_a_fixed_list(start, tmp_path, eventually):
    (tmp_path / "safe.txt").write_text("c2\nc1\n")
    switch = tmp_path / "off"
    options = ("--kill-switch", str(switch), "--fallback", str(tmp_path / "safe.txt"))
    server = start("--workers", "1", *options, "--log", str(tmp_path / "log"))

    def shows(arms):
        return lambda: server.post("/predict", {"k": 5})["arms"] == arms

    assert len(server.post("/predict", {"k": 5})["arms"]) == 3
    switch.touch()
    eventually(shows(["c2", "c1"]))
    asked = {"k": 1, "propensities": True, "candidates": ["c1"]}
    assert server.post("/predict", asked)["propensities"]["first"] == [1]
    switch.write_text("a/b é\n", encoding="utf-8")
    eventually(shows(["a/b é"]))
    switch.unlink()
    eventually(lambda: len(server.post("/predict", {"k": 5})["arms"]) == 3)


def test_new_arms_start_from_the_stated_prior(start):
    options = ("--new-arm-prior", "3,7", "--new-arms", "from-feedback")
    server = start("--workers", "1", *options)
    assert server.call("PUT", "/arms/put", {}).status == 201
    server.post("/feedback", {"event_id": "1", "arm": "met", "reward": 1})
    assert (server.get("/arms/put")["a"], server.get("/arms/put")["b"]) == (3, 7)
    assert (server.get("/arms/met")["a"], server.get("/arms/met")["b"]) == (4, 7)
    assert server.stop() == 143
    table = posteriors_file.read(exported(server)).arms.to_pydict()
    assert table["a"][table["arm"].index("met")] == 4


def test_rewards_are_corrected_by_position(start):
    server = start("--workers", "1", "--position-model", "1,0.25", "--pin", "c1")
    found = server.post("/predict", {"candidates": ["c1", "c2"], "k": 2})
    assert found["arms"] == ["c1", "c2"]
    for arm in found["arms"]:
        server.post("/feedback", {"decision_id": found["decision_id"], "arm": arm, "reward": 0})
    first, second = (server.get(f"/arms/{arm}") for arm in found["arms"])
    assert (first["a"], first["b"]) == (2, 31)  # looked at for certain: a whole failure
    missed = 0.25 * 50 / 53  # c2 was looked at and not taken
    assert second["a"] == 3
    assert second["b"] == pytest.approx(50 + missed / (missed + 0.75))
    table = posteriors_file.read(exported(server).with_suffix(".parquet")).arms.to_pydict()
    assert table["b"][table["arm"].index("c2")] == second["b"]
    direct = {"event_id": "e", "arm": "c2", "reward": 1}
    server.post("/feedback", direct)
    assert server.get("/arms/c2")["a"] == 4


def test_the_log_has_what_a_decision_can_be_repeated_from(start, tmp_path, eventually):
    log = tmp_path / "log"
    server = start("--workers", "1", "--log", str(log), "--propensities", "1")
    found = server.post("/predict", {"context": "u1", "k": 3})
    server.post("/feedback", {"decision_id": found["decision_id"], "arm": "c1", "reward": 1})
    later = server.post("/predict", {"context": "u1", "k": 2, "candidates": ["c1", "c2"]})
    eventually(lambda: len(read_log(log)) == 3)
    first, _, second = read_log(log)
    assert first["policy"] == "thompson"
    assert sorted(first["candidates"]) == ["a/b é", "c1", "c2"]
    assert first["propensities"]["first"][0] > 0
    assert first["version"].split(".")[0] == second["version"].split(".")[0]
    assert [line["version"].split(".")[1] for line in (first, second)] == ["0", "1"]
    again = {"context": "u1", "k": 2, "candidates": second["candidates"], "seed": second["seed"]}
    repeated = server.post("/predict", again)
    assert (repeated["arms"], repeated["scores"]) == (later["arms"], later["scores"])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--policy", "normal"), 2),
        (("--min-share", "0.5", "--max-share", "0.1"), 2),
        (("--propensities", "0.5"), 2),
        (("--policy", "ucb1", "--position-model", "1,0.5"), 2),
        (("--kill-switch", "off", "--fallback", "none.txt"), 66),
    ],
)
def test_what_cannot_be_served_ends_at_once(start, options, code):
    server = start(*options, ready=False)
    assert server.process.wait(180) == code
    assert not server.state.exists()
