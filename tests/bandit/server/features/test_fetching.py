"""Predictions with features from a store: what is used, learned, logged and counted."""

from __future__ import annotations

import asyncio
import re
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served_models import exported, model_file, read_log

from mlkit.bandit.feature_stores.source import SourceFailed, Subject
from mlkit.bandit.models import file
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.features import fetching, store_health
from mlkit.bandit.server.features.fetching import FeatureFetcher
from mlkit.bandit.server.features.packed import MOST_WITH_ARMS, for_arm, of_context, pack, unpack
from mlkit.web.errors import RequestError
from mlkit.web.metrics import SharedCounters

SCHEMA = FeatureSchema(("x", "y"), ("z",))
HASHED = FeatureSchema(("brand", "x"), ("brand",), ("brand",), hashed=8)
PATIENCE = 180.0


class Store:
    """A store in memory that fails on demand."""

    def __init__(self, **rows):
        self.rows = {Subject.ARM: {}, Subject.CONTEXT: {}} | rows
        self.asked = []
        self.failure = None
        self.gate = None

    async def fetch(self, subject, ids, names):
        self.asked.append((subject, list(ids), names))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure == "hangs":
            await asyncio.Event().wait()
        if self.failure is not None:
            raise SourceFailed(self.failure)
        return {each: self.rows[subject][each] for each in ids if each in self.rows[subject]}

    async def close(self):
        pass


class Fetching:
    """A fetcher of a store, with a clock that only tests move."""

    def __init__(self, store, **options):
        self.store, self.now = store, 0.0
        self.counters = SharedCounters(metrics.LAYOUT, 1).row(0)
        options = {"chunk": 100, "timeout": PATIENCE} | options
        self.fetcher = FeatureFetcher(store, self.counters, clock=lambda: self.now, **options)

    def complete(self, *requests, schema=SCHEMA, every=()):
        found = asyncio.run(self.fetcher.complete(schema, requests, every))
        return [dict(each.named) for each in found]

    def counts(self, names):
        place = self.counters.layout.counters
        return {name: self.counters.values[place[each]] for name, each in names.items()}


def store_of(contexts=None, **arms):
    store = Store()
    store.rows[Subject.CONTEXT] = contexts or {}
    store.rows[Subject.ARM] = {each: {"z": value} for each, value in arms.items()}
    return store


def test_features_are_asked_for_once_an_id_in_chunks():
    store = store_of(**{f"c{n}": n for n in range(25)})
    fetching = Fetching(store, chunk=10)
    names = [f"c{n}" for n in range(25)]
    found = fetching.complete(PredictRequest(candidates=names), PredictRequest(candidates=["c3"]))
    assert found == [{f"c{n}": {"z": n} for n in range(25)}, {"c3": {"z": 3}}]
    assert [len(ids) for _, ids, _ in store.asked] == [10, 10, 5]
    assert fetching.counts(metrics.CHUNKS)["answered"] == 3
    assert fetching.counts(metrics.ROWS)["fetched"] == 25


def test_a_request_without_candidates_has_the_features_of_all_arms():
    fetching = Fetching(store_of(c1=1.0, c2=2.0, other=3.0))
    assert fetching.complete(PredictRequest(), every=["c1", "c2"]) == [
        {"c1": {"z": 1.0}, "c2": {"z": 2.0}}
    ]


def test_what_a_request_brings_comes_before_what_the_store_has():
    fetching = Fetching(store_of({"u1": {"x": 1.0, "y": 2.0, "more": 3.0}}))
    request = PredictRequest(context="u1", features={"x": 9.0})
    fetching.complete(request)
    assert request.features == {"x": 9.0, "y": 2.0}
    whole = PredictRequest(context="u1", features={"x": 9.0, "y": 8.0})
    fetching.complete(whole)
    assert whole.features == {"x": 9.0, "y": 8.0}
    assert len(fetching.store.asked) == 1  # the second needs nothing
    nobody = PredictRequest(features={"x": 1.0})
    fetching.complete(nobody)
    assert nobody.features == {"x": 1.0}  # without a context nothing is known, or made up


def test_an_unknown_context_has_zeros_and_is_counted():
    fetching = Fetching(store_of({"part": {"x": 4.0}}))
    requests = [PredictRequest(context="nobody"), PredictRequest(context="part")]
    fetching.complete(*requests)
    assert [each.features for each in requests] == [{"x": 0.0, "y": 0.0}, {"x": 4.0, "y": 0.0}]
    assert fetching.counts(metrics.ROWS) == {"fetched": 1, "cached": 0, "default": 1}
    assert fetching.counts(metrics.FAULTS) == {"unknown": 1, "invalid": 0, "incomplete": 1}


HOSTILE = [
    *(float("nan"), float("inf"), 1e300, 10**400, "NaN", "inf", "text", "", [1.0], {"z": 1}, b"1"),
    *(None, [1.0, 2.0, 3.0]),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_a_wrong_value_is_never_used(value):
    store = store_of({"u1": {"x": value, "y": 1.0}}, c1=value, c2=2.0)
    fetching = Fetching(store)
    request = PredictRequest(context="u1", candidates=["c1", "c2"])
    assert fetching.complete(request) == [{"c2": {"z": 2.0}}]
    y = 1.0 if value is None else 0.0  # null is no value: the rest of a context's row is good
    assert request.features == {"x": 0.0, "y": y}
    assert fetching.counts(metrics.FAULTS)["invalid"] == (1 if value is None else 2)
    store.rows[Subject.ARM]["c1"] = {"z": 5}
    assert fetching.complete(request) == [{"c1": {"z": 5}, "c2": {"z": 2.0}}]
    store.rows[Subject.ARM]["c1"] = {"z": value}
    assert fetching.complete(request) == [{"c1": {"z": 5}, "c2": {"z": 2.0}}]  # the last good one
    assert fetching.counts(metrics.ROWS)["cached"] == 1


def test_texts_of_a_store_are_numbers_where_the_model_reads_numbers():
    fetching = Fetching(store_of({"u1": {"brand": "7", "x": "2.5"}}))
    fetching.store.rows[Subject.ARM] = {"c1": {"brand": 7}, "c2": {"brand": "x" * 1000}}
    request = PredictRequest(context="u1", candidates=["c1", "c2"])
    assert fetching.complete(request, schema=HASHED) == [{"c1": {"brand": "7"}}]
    assert request.features == {"brand": "7", "x": 2.5}


def test_a_row_that_is_none_is_counted_as_invalid():
    fetching = Fetching(store_of({"u1": None}))
    fetching.complete(PredictRequest(context="u1"))
    assert fetching.counts(metrics.FAULTS)["invalid"] == 1


@pytest.mark.parametrize(("failure", "outcome"), [("refused", "error"), ("hangs", "timeout")])
def test_a_store_that_fails_has_answered_before(failure, outcome):
    store = store_of({"u1": {"x": 1.0, "y": 2.0}}, c1=1.0)
    fetching = Fetching(store, timeout=0.05 if failure == "hangs" else PATIENCE)
    known = PredictRequest(context="u1", candidates=["c1"])
    fetching.fetcher._timeout, short = PATIENCE, fetching.fetcher._timeout
    fetching.complete(known)
    store.failure, fetching.fetcher._timeout = failure, short
    again = PredictRequest(context="u1", candidates=["c1", "c2"])
    assert fetching.complete(again) == [{"c1": {"z": 1.0}}]
    assert again.features == {"x": 1.0, "y": 2.0}
    assert fetching.counts(metrics.ROWS) == {"fetched": 2, "cached": 2, "default": 1}
    assert fetching.counts(metrics.CHUNKS)[outcome] == 2


def test_what_comes_too_late_is_there_for_the_next_prediction():
    store = store_of({"u1": {"x": 1.0, "y": 2.0}}, c1=1.0, c2=float("nan"))
    own = Fetching(store, timeout=0.01)
    store.gate = asyncio.Event()

    async def scenario():
        asked = PredictRequest(context="u1", candidates=["c1", "c2", "c3"])
        first = await own.fetcher.complete(SCHEMA, [asked], ())
        assert first == [fetching.NO_ARM_FEATURES]
        assert asked.features == {"x": 0.0, "y": 0.0}
        store.gate.set()
        async with asyncio.timeout(PATIENCE):
            while own.fetcher._asking:
                await asyncio.sleep(0.001)
        store.failure = "refused"
        again = PredictRequest(context="u1", candidates=["c1", "c2", "c3"])
        found = await own.fetcher.complete(SCHEMA, [again], ())
        assert [dict(each.named) for each in found] == [{"c1": {"z": 1.0}}]
        assert again.features == {"x": 1.0, "y": 2.0}
        await own.fetcher.close()

    asyncio.run(scenario())
    assert own.counts(metrics.CHUNKS) == {"answered": 0, "timeout": 2, "error": 2, "paused": 0}
    assert own.counts(metrics.ROWS) == {"fetched": 0, "cached": 2, "default": 6}


def test_a_dead_store_is_left_alone_for_a_while():
    store = store_of(c1=1.0)
    store.failure = "refused"
    fetching = Fetching(store)
    request = PredictRequest(candidates=["c1"])
    for _ in range(store_health.MOST_FAILURES + 10):
        fetching.complete(request)
    assert len(store.asked) == store_health.MOST_FAILURES
    assert fetching.counts(metrics.CHUNKS)["paused"] == 10
    store.failure = None
    fetching.now += store_health.PAUSE
    assert fetching.complete(request) == [{"c1": {"z": 1.0}}]
    assert fetching.complete(request) == [{"c1": {"z": 1.0}}]
    assert fetching.counts(metrics.CHUNKS)["paused"] == 10


def test_a_worker_keeps_so_many_ids_and_no_more(monkeypatch):
    monkeypatch.setattr(fetching, "MOST_CACHED", 2)
    store = store_of(c1=1.0, c2=2.0, c3=3.0)
    own = Fetching(store)
    for each in ("c1", "c2", "c1", "c3"):
        own.complete(PredictRequest(candidates=[each]))
    store.failure = "refused"
    found = own.complete(PredictRequest(candidates=["c1", "c2", "c3"]))
    assert found == [{"c1": {"z": 1.0}, "c3": {"z": 3.0}}]


def test_packed_features_of_arms_come_back_and_do_not_look_like_those_of_a_context():
    arms = {"c1": {"z": 1.5}}
    for context in (None, {"": 1.0, "x": 2.0}):
        packed = pack(context, arms, "")
        assert unpack(packed) == (context, arms)
        assert of_context(packed) == for_arm(packed, "c2") == pack(context, {}, "")
        both = pack(context, {"c1": {"z": 1.5}, "c2": {"z": 2.5}}, "")
        assert for_arm(both, "c1") == packed
    assert unpack(pack({"x": 1.0}, {}, "")) == ({"x": 1.0}, {})
    with pytest.raises(RequestError, match="do not fit into a decision id"):
        pack(None, {"c1": {"z": "x" * MOST_WITH_ARMS}}, "")


def test_the_decisions_of_a_kill_switch_and_of_many_arms_are_learned_from(start, tmp_path):
    names = tuple(f"feature-{number}" for number in range(30))
    schema = FeatureSchema(("x",), names)
    model = PolicyModel(ModelHeader("m", catalog.parse("lin-ts:shared=true"), schema))
    arms = [f"arm-{number}" for number in range(25)]
    for arm in arms:
        model.put(arm, dict.fromkeys(names, 0.0))
    file.write(model, tmp_path / "posteriors.parquet")
    columns = {"arm": [*arms, None], "context": [None] * 25 + ["u1"], "x": [None] * 25 + [0.5]}
    columns |= {name: [*np.random.default_rng(1).random(25), None] for name in names}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    (tmp_path / "fallback").write_text("arm-1\n")
    switch = ("--kill-switch", "off", "--fallback", "fallback")
    server = start("--workers", "1", "--features", "parquet:f.parquet", *switch)
    many = server.post("/predict", {"context": "u1", "k": 25})
    assert len(many["decision_id"]) > 16_000
    events = [{"decision_id": many["decision_id"], "arm": arm, "reward": 1} for arm in arms]
    assert not any(each["ignored"] for each in server.post("/feedback/batch", events))
    (tmp_path / "off").touch()
    for _ in range(600):  # the file is looked at now and then
        only = server.post("/predict", {"context": "u1"})
        if only["arms"] == ["arm-1"]:
            break
        time.sleep(0.05)
    event = {"decision_id": only["decision_id"], "arm": "arm-1", "reward": 1}
    assert server.post("/feedback", event)["ignored"] is False
    assert server.get("/arms/arm-1")["pulls"] == 2


def format_count(server, name, **labels):
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    _, text, _ = server.raw("GET", "/metrics")
    found = re.search(rf"^mlkit_{name}\{{{wanted}\}} (\S+)", text.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_server_predicts_learns_and_logs_with_the_features_of_redis(start_redis, start, tmp_path):
    redis = start_redis()
    redis.ask("HSET", "features:context:u1", "x", "0.5")
    redis.ask("HSET", "features:arm:c1", "z", "7")
    redis.ask("HSET", "features:arm:c3", "z", "nan")
    model_file(tmp_path, "lin-ucb:shared=true", ("x",), ("z",))
    log = tmp_path / "log"
    options = ("--features", redis.url, "--feature-timeout", "30", "--attribution", "1h")
    server = start("--workers", "1", *options, "--log", str(log), "--propensities", "1")
    found = server.post("/predict", {"context": "u1", "k": 3, "seed": 1})
    model = file.read(server.posteriors)
    vectors = np.array([[7.0], [1.0], [2.0]])  # c2 has none there, and that of c3 is wrong
    expected = model.rank(model.named(None), 3, 1, {"x": 0.5}, vectors)
    assert found["arms"] == [model.ids[place] for place in expected.arms]
    assert found["scores"] == expected.scores.tolist()
    event = {"decision_id": found["decision_id"], "arm": "c1", "reward": 1}
    redis.ask("HSET", "features:arm:c1", "z", "-7")  # what it has by now is not learned
    assert server.post("/feedback", event)["ignored"] is False
    model.learn(model.place("c1"), 1.0, {"x": 0.5}, arm={"z": 7.0})
    learned = file.read(exported(server))
    assert catalog.pack(learned.policy, 0) == catalog.pack(model.policy, 0)
    redis.kill()
    again = server.post("/predict", {"context": "u1", "k": 3, "seed": 1})
    assert again["arms"]
    assert server.get("/health")["status"] == "ok"
    assert format_count(server, "feature_rows_total", origin="fetched") == 2
    assert format_count(server, "feature_rows_total", origin="cached") == 2
    assert format_count(server, "feature_faults_total", fault="invalid") == 1
    assert format_count(server, "stage_seconds_count", stage="features") >= 0
    batch = server.post("/predict/batch", [{"context": "u1"}, {"context": "nobody"}])
    assert len(batch) == 2
    assert server.stop() == 143
    first = next(line for line in read_log(log) if line["type"] == "decision")
    assert first["features"] == {"x": 0.5}
    assert first["arm_features"] == {"c1": {"z": 7.0}}
    rewarded = next(line for line in read_log(log) if line["type"] == "feedback")
    assert rewarded["features"] == {"x": 0.5}
    assert rewarded["arm_features"] == {"z": 7.0}
