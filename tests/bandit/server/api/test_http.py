"""Each endpoint and each error, over HTTP from a server with two workers."""

from __future__ import annotations

import base64
import json
import re
import time
from urllib.parse import quote

import pytest

from mlkit.bandit.server.decisions.decision import DecisionIds


def test_health_tells_the_model(server):
    found = server.get("/health")
    assert found["status"] == "ok"
    assert found["model"] == "posteriors"
    assert found["arms"] >= 3
    assert found["uptime"] > 0


def test_predict_ranks_the_candidates(server):
    found = server.post("/predict", {"candidates": ["c1", "c2", "a/b é"], "k": 2})
    assert len(found["arms"]) == 2
    assert set(found["arms"]) < {"c1", "c2", "a/b é"}
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert found["unknown"] == {"contexts": 0, "arms": 0}
    assert found["decision_id"]


def test_predict_without_candidates_ranks_all_arms(server):
    found = server.post("/predict", {"k": 20})
    assert {"c1", "c2", "a/b é"} <= set(found["arms"])


def test_predict_tells_the_share_of_unknown(server):
    found = server.post("/predict", {"context": "u1", "candidates": ["c1", "c2", "x", "y"]})
    assert found["unknown"] == {"contexts": 0.75, "arms": 0.5}


def test_a_seed_makes_the_answer_repeatable(server):
    request = {"context": "u1", "candidates": ["c1", "c2", "x"], "seed": 2**64 - 1}
    first, second = server.post("/predict", request), server.post("/predict", request)
    assert first["scores"] == second["scores"]
    assert first["arms"] == second["arms"]
    assert first["decision_id"] != second["decision_id"]


def test_without_a_seed_answers_differ(server):
    scores = {server.post("/predict", {"candidates": ["c1"]})["scores"][0] for _ in range(6)}
    assert len(scores) == 6


def test_a_list_of_requests_is_a_batch(server):
    found = server.post("/predict", [{"k": 1}, {"candidates": []}, {"candidates": ["z"]}])
    assert [len(each["arms"]) for each in found] == [1, 0, 1]
    assert found[2]["unknown"] == {"contexts": 0, "arms": 1}


def test_a_batch_has_a_route_of_its_own(server):
    found = server.post("/predict/batch", [{"k": 1}, {"candidates": ["z"]}])
    assert [len(each["arms"]) for each in found] == [1, 1]
    server.call("PUT", "/arms/batched")
    events = [{"event_id": f"batch-{n}", "arm": "batched", "reward": 1} for n in range(3)]
    assert [each["duplicate"] for each in server.post("/feedback/batch", events)] == [False] * 3
    assert [each["duplicate"] for each in server.post("/feedback", events)] == [True] * 3


def test_feedback_moves_the_posterior_of_the_arm_and_of_the_context(server):
    server.call("PUT", "/arms/fed", {"a": 2, "b": 8})
    decision = server.post("/predict", {"context": "u-fed", "candidates": ["fed"]})
    event = {"decision_id": decision["decision_id"], "arm": "fed", "reward": 1}
    assert server.post("/feedback", event)["duplicate"] is False
    assert server.get("/arms/fed") | {"mean": None} == {
        "arm": "fed",
        "a": 3.0,
        "b": 8.0,
        "pulls": 1,
        "mean": None,
    }
    found = server.post("/predict", {"context": "u-fed", "candidates": ["fed"]})
    assert found["unknown"]["contexts"] == 0


def test_a_repeat_is_told_and_changes_nothing(server):
    server.call("PUT", "/arms/repeated")
    event = {"event_id": "repeat-1", "context": "u2", "arm": "repeated", "reward": 0.25}
    first = server.post("/feedback", event)
    assert first == {"event_id": "repeat-1", "duplicate": False, "ignored": False}
    assert server.post("/feedback", event) == first | {"duplicate": True}
    assert server.get("/arms/repeated")["pulls"] == 1


def test_a_repeat_within_a_list_is_told(server):
    server.call("PUT", "/arms/twin")
    event = {"event_id": "twin", "arm": "twin", "reward": 1}
    found = server.post("/feedback", [event, event])
    assert [each["duplicate"] for each in found] == [False, True]
    assert server.get("/arms/twin")["pulls"] == 1


def test_the_same_id_with_another_body_is_a_conflict_and_takes_nothing(server):
    server.call("PUT", "/arms/conflicted")
    server.post("/feedback", {"event_id": "one", "arm": "conflicted", "reward": 1})
    other = {"event_id": "one", "arm": "conflicted", "reward": 0}
    fresh = {"event_id": "two", "arm": "conflicted", "reward": 1}
    answer = server.call("POST", "/feedback", [fresh, other])
    assert answer.status == 409
    assert answer.body["error"].startswith("[1].event_id")
    assert server.get("/arms/conflicted")["pulls"] == 1


def test_the_default_event_id_is_the_decision_and_the_arm(server):
    asked = {"candidates": ["c1", "c2"]}
    decision_id = server.post("/predict", asked)["decision_id"]
    event = {"decision_id": decision_id, "arm": "c1", "reward": 0}
    found = server.post("/feedback", event)
    assert found["event_id"] == f"{decision_id}:c1"
    other_arm = server.post("/feedback", event | {"arm": "c2"})
    assert other_arm["duplicate"] is False


def test_feedback_for_an_arm_that_the_decision_did_not_show_is_refused(server):
    asked = {"context": "u-phantom", "candidates": ["c1", "c2"], "k": 1}
    decision = server.post("/predict", asked)
    other = {"c1": "c2", "c2": "c1"}[decision["arms"][0]]
    before = server.get("/arms")
    for arm in ("1c", other, "c", decision["arms"][0] + " "):
        event = {"decision_id": decision["decision_id"], "arm": arm, "reward": 1}
        answer = server.call("POST", "/feedback", [event | {"arm": decision["arms"][0]}, event])
        assert answer.status == 422
        assert answer.body["error"].startswith("[1].arm: the decision did not show")
    assert server.get("/arms") == before


@pytest.mark.parametrize("k", [2, 20])
def test_every_arm_that_was_shown_can_be_rewarded(server, k):
    names = [f"shown-{n} é" for n in range(k)]
    for name in names:
        server.call("PUT", f"/arms/{quote(name)}")
    decision = server.post("/predict", {"candidates": names, "k": k})
    events = [
        {"decision_id": decision["decision_id"], "arm": name, "reward": 0.5} for name in names
    ]
    assert not any(each["duplicate"] for each in server.post("/feedback/batch", events))
    repeats = [{**event, "event_id": f"{event['decision_id']}:{event['arm']}"} for event in events]
    assert all(each["duplicate"] for each in server.post("/feedback/batch", repeats))


def test_feedback_makes_no_arm_that_was_never_added(server):
    decision = server.post("/predict", {"candidates": ["typed-wrong"]})
    for event in (
        {"event_id": "never-added", "arm": "typed-wrong", "reward": 1},
        {"decision_id": decision["decision_id"], "arm": "typed-wrong", "reward": 1},
    ):
        answer = server.call("POST", "/feedback", event)
        assert answer.status == 422
        assert "typed-wrong" in answer.body["error"]
        assert "--new-arms" in answer.body["hint"]
    assert server.call("GET", "/arms/typed-wrong").status == 404
    server.call("PUT", "/arms/typed-wrong")
    assert server.post("/feedback", event)["duplicate"] is False


def test_all_arms_count_against_the_limit_of_candidates(server):
    arms = server.get("/health")["arms"]
    assert server.call("POST", "/predict", {"k": 1}).status == 200
    requests = [{"k": 1}] * (server.max_candidates // arms + 1)
    for path in ("/predict", "/predict/batch"):
        answer = server.call("POST", path, requests)
        assert answer.status == 422
        assert answer.body["error"].startswith(f"candidates: {arms * len(requests)}")
        assert "--max-candidates" in answer.body["hint"]
    assert server.call("POST", "/predict/batch", requests[1:]).status == 200


def test_a_changed_decision_id_is_refused(server):
    decision_id = server.post("/predict", {"context": "u1"})["decision_id"]
    raw = bytearray(base64.urlsafe_b64decode(decision_id + "=" * (-len(decision_id) % 4)))
    raw[20] ^= 1
    changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    event = {"decision_id": changed, "arm": "c1", "reward": 1}
    answer = server.call("POST", "/feedback", event)
    assert answer.status == 422
    assert "decision_id" in answer.body["error"]


@pytest.mark.parametrize(("days", "status"), [(6.9, 200), (7.1, 410)])
def test_a_decision_older_than_the_window_is_refused(server, days, status):
    key = (server.state / "key").read_bytes()
    decision_id = DecisionIds(key, clock=lambda: time.time() - days * 86400).make("late", ["c2"])
    event = {"decision_id": decision_id, "arm": "c2", "reward": 1}
    answer = server.call("POST", "/feedback", event)
    assert answer.status == status
    if status == 410:
        assert "older than 7 days" in answer.body["error"]
        assert "--dedupe-window" in answer.body["hint"]


@pytest.mark.parametrize(("ahead", "status"), [(30, 200), (3600, 422), (30 * 86400, 422)])
def test_a_decision_of_the_future_is_refused_beyond_a_small_skew(server, ahead, status):
    key = (server.state / "key").read_bytes()
    decision_id = DecisionIds(key, clock=lambda: time.time() + ahead).make("early", ["c2"])
    event = {"decision_id": decision_id, "arm": "c2", "reward": 1}
    answer = server.call("POST", "/feedback", event)
    assert answer.status == status
    if status == 422:
        assert "in the future" in answer.body["error"]


def test_arms_come_in_pages(server):
    for n in range(5):
        server.call("PUT", f"/arms/page-{n}")
    names, after = [], "page-"
    while after is not None and after.startswith("page-"):
        page = server.get(f"/arms?limit=2&after={after}")
        names += [each["arm"] for each in page["arms"]]
        after = page["next"]
    assert [name for name in names if name.startswith("page-")] == [f"page-{n}" for n in range(5)]


def test_arms_are_added_read_and_removed(server):
    path = "/arms/new/with%20slash%252F%C3%A9"
    name = "new/with slash%2Fé"
    assert server.call("PUT", path, {"a": 1, "b": 3, "pulls": 2}).status == 201
    assert server.call("PUT", path, {"a": 2, "b": 2}).status == 200
    assert server.get(path) == {"arm": name, "a": 2.0, "b": 2.0, "pulls": 0, "mean": 0.5}
    assert server.call("DELETE", path).status == 204
    assert server.call("GET", path).status == 404
    assert server.call("DELETE", path).status == 404


def test_a_new_arm_has_the_prior(server):
    answer = server.call("PUT", "/arms/plain")
    assert answer.status == 201
    assert (answer.body["a"], answer.body["b"]) == (1.0, 1.0)


def test_feedback_of_a_removed_arm_is_ignored(server):
    server.call("PUT", "/arms/gone")
    server.call("DELETE", "/arms/gone")
    event = {"event_id": "late", "arm": "gone", "reward": 1}
    assert server.post("/feedback", event)["ignored"] is True
    assert server.call("GET", "/arms/gone").status == 404


@pytest.mark.parametrize(
    ("path", "document", "field"),
    [
        ("/predict", {"k": "many"}, "k"),
        ("/predict", {"k": 0}, "k"),
        ("/predict", {"k": 21}, "k"),
        ("/predict", {"seed": -1}, "seed"),
        ("/predict", {"seed": 2**64}, "seed"),
        ("/predict", {"context": 7}, "context"),
        ("/predict", {"context": "é" * 129}, "context"),
        ("/predict", {"candidates": ["a", 1]}, "candidates[1]"),
        ("/predict", {"candidates": ["a", "x" * 257]}, "candidates[1]"),
        ("/predict", {"candidates": ["a"] * 201}, "candidates"),
        ("/predict", {"candidates": ["a", ""]}, "candidates[1]"),
        ("/predict", {"context": ""}, "context"),
        ("/predict", {"candidate": ["a"]}, "candidate"),
        ("/predict", [{"k": 1}, {"k": None}], "[1].k"),
        ("/predict/batch", {"k": 1}, "array"),
        ("/predict/batch", [], "the list"),
        ("/predict/batch", [{"k": 1}, {"k": 0}], "[1].k"),
        ("/feedback/batch", {"event_id": "x", "arm": "c1", "reward": 1}, "array"),
        ("/predict", [], "the list"),
        ("/predict", 5, "int"),
        ("/feedback", {"arm": "c1"}, "reward"),
        ("/feedback", {"event_id": "x", "arm": "c1", "reward": 1.5}, "reward"),
        ("/feedback", {"event_id": "x", "arm": "c1", "reward": True}, "reward"),
        ("/feedback", {"event_id": "x", "arm": "", "reward": 1}, "arm"),
        ("/feedback", {"event_id": "", "arm": "c1", "reward": 1}, "event_id"),
        ("/feedback", {"event_id": "x", "context": "", "arm": "c1", "reward": 1}, "context"),
        ("/feedback", {"arm": "c1", "reward": 1}, "event_id"),
        ("/feedback", {"context": "u", "arm": "c1", "reward": 1}, "event_id"),
        ("/feedback", [{"event_id": "x", "arm": "c1", "reward": 1}, {}], "[1]"),
    ],
)
def test_wrong_documents_name_the_field(server, path, document, field):
    answer = server.call("POST", path, document)
    assert answer.status == 422
    assert set(answer.body) == {"error", "hint"}
    assert field in answer.body["error"]


@pytest.mark.parametrize(
    ("body", "position"),
    [(b'{"k": 1,,}', "8"), (b"{", "1"), (b"", "0"), (b'{"context": "\xff"}', "13")],
)
def test_malformed_json_names_the_position(server, body, position):
    status, text, _ = server.raw("POST", "/predict", body)
    assert status == 400, text
    assert f"(byte {position}".encode() in text


def test_arm_parameters_are_checked(server):
    for document in (
        {"a": 1},
        {"a": 0, "b": 1},
        {"a": 1, "b": 1e16},
        {"a": 1, "b": 1, "pulls": -1},
    ):
        assert server.call("PUT", "/arms/bad", document).status == 422
    assert server.call("GET", "/arms/bad").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/arms/%FF",
        "/arms?after=%FF",
        "/arms?after=",
        "/arms?limit=0",
        "/arms/",
        "/arms/" + 300 * "x",
    ],
)
def test_bad_paths_are_explained(server, path):
    answer = server.call("GET", path)
    assert answer.status in (400, 422)
    assert set(answer.body) == {"error", "hint"}


def test_an_unknown_path_is_404(server):
    answer = server.call("GET", "/nowhere")
    assert answer.status == 404
    assert set(answer.body) == {"error", "hint"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("HEAD", "/predict", "POST"),
        ("POST", "/arms/c1", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/arms", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_with_the_allowed_ones(server, method, path, allowed):
    answer = server.call(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed


def test_head_is_answered_where_get_is(server):
    for path in ("/health", "/arms", "/arms/c1", "/metrics", "/openapi.json", "/docs"):
        status, body, headers = server.raw("HEAD", path)
        assert (status, body) == (200, b""), path
        assert int(headers["content-length"]) > 0
    assert server.raw("HEAD", "/arms/nobody")[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br, gzip"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": 'application/json; charset="ISO-8859-1"'},
    ],
)
def test_a_body_in_an_unknown_encoding_is_415(server, headers):
    status, text, found = server.raw("POST", "/predict", b'{"k": 1}', **headers)
    assert status == 415, text
    assert set(json.loads(text)) == {"error", "hint"}
    assert found["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Encoding": "identity"},
        {"Content-Type": "application/json; charset=UTF-8"},
        {"Content-Type": "application/x-www-form-urlencoded"},  # as curl -d says
    ],
)
def test_utf_8_with_and_without_a_byte_order_mark_is_read(server, headers):
    for mark in (b"", b"\xef\xbb\xbf"):
        assert server.raw("POST", "/predict", mark + b'{"k": 1}', **headers)[0] == 200


def test_a_large_body_is_413(server):
    answer = server.call("POST", "/predict", {"context": "x" * 20000})
    assert answer.status == 413
    assert "--max-body" in answer.body["hint"]


def test_a_large_body_in_chunks_is_413(server):
    connection = server.connect()
    try:
        connection.request("POST", "/predict", iter([b"x" * 8000] * 3), encode_chunked=True)
        assert connection.getresponse().status == 413
    finally:
        connection.close()


def test_the_docs_page_shows_examples_for_the_address_that_was_asked(server):
    page = server.raw("GET", "/docs", Host="models.example:8123")[1]
    assert b"http://models.example:8123/predict" in page
    page = server.raw("GET", "/docs", Host='"><script>')[1]
    assert b"<script>" not in page


def test_the_docs_page_loads_nothing_from_elsewhere(server):
    status, text, headers = server.raw("GET", "/docs", Host="127.0.0.1:8000")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"/predict" in text
    assert b"src=" not in text
    assert b"//" not in text.replace(b"http://127.0.0.1:8000", b"")
    assert b"<style" not in text
    assert b"style=" not in text
    assert "unsafe-inline" not in headers["content-security-policy"]
    kinds = []
    for asset in re.findall(rb'href="(assets/[^"]+)"', text):
        status, _, headers = server.raw("GET", "/" + asset.decode())
        kinds.append((status, headers["content-type"]))
        assert "immutable" in headers["cache-control"]
    assert kinds == [(200, "image/svg+xml"), (200, "text/css; charset=utf-8")]


def test_the_openapi_document_lists_every_path(server):
    paths = server.get("/openapi.json")["paths"]
    assert set(paths) == {
        *(
            "/predict",
            "/predict/batch",
            "/feedback",
            "/feedback/amend",
            "/feedback/batch",
            "/health",
            "/arms",
            "/versions",
            "/promote",
            "/rollback",
            "/arms/{id}",
        ),
        *("/overview", "/overview/events"),
        *("/metrics", "/openapi.json", "/docs"),
    }


def test_metrics_are_summed_over_the_workers(server):
    def predictions() -> float:
        lines = server.raw("GET", "/metrics")[1].decode().splitlines()
        return float(next(x for x in lines if x.startswith("mlkit_predictions_total")).split()[1])

    before = predictions()
    for _ in range(20):  # each on a connection of its own, so both workers get some
        server.post("/predict", {"candidates": ["c1", "c2"]})
    assert predictions() == before + 40
    text = server.raw("GET", "/metrics")[1].decode()
    for name in ("requests_total", "request_seconds_bucket", "feedback_lag_seconds_count"):
        assert f"mlkit_{name}" in text
