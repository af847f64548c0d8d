"""The contract of posterior stores: what the server relies on, whatever keeps the posteriors."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from mlkit.bandit._posterior_table import Fetched
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.endpoints import Endpoints
from mlkit.bandit.server.decisions.decision import DecisionIds
from mlkit.bandit.server.settings import Settings
from mlkit.web.application import Request
from mlkit.web.errors import RequestError
from mlkit.web.metrics import SharedCounters


def values(fetched: Fetched):
    return list(fetched.candidates), fetched.a.tolist(), fetched.b.tolist()


def test_an_empty_store_knows_the_prior(store):
    assert store.store.prior == (1.0, 3.0)
    assert store.size() == (0, 0)
    assert store.arms() == []
    assert store.arm("x") is None
    assert len(store.fetch("u", None)) == 0
    fetched = store.fetch("u", ["x", "y"])
    assert values(fetched) == (["x", "y"], [1.0, 1.0], [3.0, 3.0])
    assert (fetched.unknown_contexts, fetched.unknown_arms) == (2, 2)


def test_a_candidate_falls_back_from_the_context_to_the_arm_to_the_prior(store):
    store.put_arm("known", 4.0, 6.0, 10.0)
    store.put_arm("paired", 2.0, 2.0)
    store.add_reward("u", "paired", 1.0)
    fetched = store.fetch("u", ["paired", "known", "unknown", "paired"])
    names, a, b = values(fetched)
    assert names == ["paired", "known", "unknown", "paired"]
    assert a == [5.0, 4.0, 1.0, 5.0]
    assert b == [4.0, 6.0, 3.0, 4.0]
    assert (fetched.unknown_contexts, fetched.unknown_arms) == (2, 1)
    elsewhere = store.fetch("v", ["paired"])
    assert (values(elsewhere)[1:], elsewhere.unknown_contexts) == (([3.0], [2.0]), 1)
    without = store.fetch(None, ["paired"])
    assert (values(without)[1:], without.unknown_contexts) == (([3.0], [2.0]), 0)


def test_no_candidates_named_means_all_arms_that_are_there(store):
    for name in ("a", "b", "c"):
        store.put_arm(name, 1.0, 2.0)
    store.remove_arm("b")
    assert sorted(store.fetch(None, None).candidates) == ["a", "c"]
    assert len(store.fetch(None, [])) == 0


def test_a_reward_counts_for_the_arm_and_for_the_context(store):
    store.put_arm("x", 3.0, 1.0, 5.0)
    assert store.add_reward("u", "x", 0.25) is True
    assert store.arm("x") == (3.25, 1.75, 6.0)
    # The context starts from the mean of the arm before the reward, worth the shrinkage.
    assert values(store.fetch("u", ["x"]))[1:] == ([6.25], [2.75])
    store.add_reward("u", "x", 1.0)
    assert values(store.fetch("u", ["x"]))[1:] == ([7.25], [2.75])
    assert store.arm("x") == (4.25, 1.75, 7.0)
    assert store.size() == (1, 1)


def test_an_arm_that_was_never_added_starts_from_the_prior(store):
    assert not store.knows("new")
    assert store.add_reward(None, "new", 1.0) is True
    assert store.arm("new") == (2.0, 3.0, 1.0)
    assert store.knows("new")


def test_a_removed_arm_ignores_rewards_until_it_is_added_again_and_then_starts_anew(store):
    store.put_arm("x", 5.0, 5.0)
    store.add_reward("u", "x", 1.0)
    assert store.remove_arm("x") is True
    assert store.remove_arm("x") is False
    assert store.arm("x") is None
    assert store.knows("x")
    assert store.add_reward("u", "x", 1.0) is False
    fetched = store.fetch("u", ["x"])
    assert values(fetched)[1:] == ([1.0], [3.0])
    assert (fetched.unknown_contexts, fetched.unknown_arms) == (1, 1)
    store.put_arm("x", 2.0, 8.0)
    fetched = store.fetch("u", ["x"])
    assert (values(fetched)[1:], fetched.unknown_contexts) == (([2.0], [8.0]), 1)


def test_an_arm_that_is_there_can_be_set_anew(store):
    store.put_arm("x", 5.0, 5.0, 7.0)
    store.add_reward("u", "x", 1.0)
    store.put_arm("x", 1.5, 2.5, 1.0)
    assert store.arm("x") == (1.5, 2.5, 1.0)
    assert store.size()[0] == 1
    assert store.fetch("u", ["x"]).unknown_contexts == 0  # what the context learned stays


def test_arms_are_listed_in_the_order_of_their_code_points(store):
    names = ["b", "a", "ab", "é", "Z", "😀", "a\0"]
    for number, name in enumerate(names):
        store.put_arm(name, 1.0 + number, 1.0)
    rows = store.arms(None, 100)
    assert [row[0] for row in rows] == sorted(names)
    assert {row[0]: row[1] for row in rows}["é"] == 4.0
    assert [row[0] for row in store.arms("a", 2)] == ["a\0", "ab"]
    assert [row[0] for row in store.arms("aa", 1)] == ["ab"]
    assert store.arms("😀", 5) == []


@pytest.mark.parametrize("name", ["", "x" * 257, "é" * 129])
def test_ids_that_are_empty_or_too_long_are_refused(store, name):
    with pytest.raises(ValueError, match=r"candidates\[1\]"):
        store.fetch(None, ["a", name])
    with pytest.raises(ValueError, match="context"):
        store.fetch(name, ["a"])
    with pytest.raises(ValueError, match="arm"):
        store.put_arm(name, 1.0, 1.0)
    assert store.size() == (0, 0)


@pytest.mark.parametrize("reward", [-0.1, 1.1, float("nan")])
def test_a_reward_out_of_range_changes_nothing(store, reward):
    store.put_arm("x", 1.0, 1.0)
    with pytest.raises(ValueError, match="reward"):
        store.add_reward(None, "x", reward)
    assert store.arm("x") == (1.0, 1.0, 0.0)


def test_the_server_answers_from_it(store):
    for number in range(20):
        store.put_arm(f"arm-{number:02}", 1.0 + number, 5.0)
    store.add_reward("u", "arm-03", 1.0)
    counters = SharedCounters(metrics.LAYOUT, 1)
    settings = Settings(Path("posteriors.csv"), Path("state"))
    ids = DecisionIds(b"k" * 32)
    endpoints = Endpoints(settings, ids, counters, counters.row(0), started=time.monotonic())
    endpoints.use_store(store.store, "model")

    def ask(handler, body=b"", rest=b"", query=b""):
        scope = {"query_string": query}
        return json.loads(asyncio.run(handler(Request(scope, rest, body))).body)

    request = b'{"context": "u", "candidates": ["arm-03", "arm-04", "x"], "k": 2, "seed": 1}'
    found = ask(endpoints.predict, request)
    assert set(found["arms"]) < {"arm-03", "arm-04", "x"}
    assert found["unknown"] == {"contexts": 2 / 3, "arms": 1 / 3}
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert ask(endpoints.predict, request)["scores"] == found["scores"]
    assert len(ask(endpoints.predict_batch, b'[{"k": 20}, {"k": 1}]')[0]["arms"]) == 20
    assert ask(endpoints.status.health)["arms"] == 20
    assert ask(endpoints.arms.get, rest=b"arm-03")["pulls"] == 1
    page = ask(endpoints.arms.page, query=b"limit=3&after=arm-16")
    assert [each["arm"] for each in page["arms"]] == ["arm-17", "arm-18", "arm-19"]
    assert page["next"] is None
    with pytest.raises(RequestError, match=r"candidates\[0\]"):
        ask(endpoints.predict, b'{"candidates": [""]}')
    with pytest.raises(RequestError, match="no arm"):
        ask(endpoints.arms.get, rest=b"nobody")
