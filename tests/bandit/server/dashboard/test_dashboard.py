"""What the dashboard shows: of the whole server, exactly, in bounded memory."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pytest
from scipy import stats

from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.policies.bands import credible_band
from mlkit.bandit.propensities import top_k
from mlkit.bandit.server import metrics
from mlkit.bandit.server.dashboard import calibration
from mlkit.bandit.server.dashboard.drifting import drift
from mlkit.bandit.server.dashboard.observer import (
    MOST_ARMS,
    MOST_PERIODS,
    MOST_POINTS,
    ROOM,
    Observer,
    read,
)
from mlkit.bandit.server.dashboard.shares import ShownArms, merge
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.web.metrics import Durations, SharedCounters
from mlkit.web.shared_document import SharedDocument


def reward(arm, value, kind=Kind.REWARD):
    return Change(kind, None, arm, value)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counters():
    return SharedCounters(metrics.LAYOUT, 2)


def test_the_history_keeps_both_ends_and_exact_sums_in_bounded_memory(clock, counters):
    document = SharedDocument(ROOM)
    observer = Observer(document, counters, clock)
    for number in range(5 * MOST_POINTS):
        clock.now += 1
        counters.row(number % 2).add(metrics.DECISIONS)
        observer.observe([reward("x", 0.5)])
        observer.publish()
    seen = read(document)
    assert len(seen.times) <= MOST_POINTS
    assert (seen.times[0], seen.times[-1]) == (1001.0, clock.now)
    assert seen.decisions == seen.events == [time - 1000 for time in seen.times]
    assert seen.rewards == [(time - 1000) / 2 for time in seen.times]
    assert np.diff(seen.times)[-100:].tolist() == [1.0] * 100  # What is recent is fine.
    assert seen.old["x"].count + seen.recent["x"].count == pytest.approx(5 * MOST_POINTS, abs=6)
    assert seen.since == pytest.approx(clock.now - MOST_POINTS * 5 / 4, rel=0.1)


def test_a_pause_does_not_thin_out_what_comes_after_it(clock, counters):
    document = SharedDocument(ROOM)
    observer = Observer(document, counters, clock)
    for pause in (1, 1, 3600, 1):
        for _ in range(pause if pause < 10 else 3):
            clock.now += pause / 3
            observer.publish()
        observer.observe([reward("x", 1.0)])
        clock.now += 1
        observer.publish()
    seen = read(document)
    gaps = np.diff(seen.times)[np.diff(seen.events) > 0]
    assert gaps.max() <= 1 + 1 / 3 + 1e-9


def test_a_writer_that_starts_again_goes_on(clock, counters):
    document = SharedDocument(ROOM)
    for expected in (1.0, 2.0, 3.0):
        observer = Observer(document, counters, clock)
        observer.observe([reward("x", 1.0)])
        clock.now += 1
        observer.publish()
        assert read(document).events[-1] == expected


def test_a_withdrawn_reward_is_taken_back(clock, counters):
    observer = Observer(document := SharedDocument(ROOM), counters, clock)
    observer.observe([reward("x", 1.0)])
    observer.observe([reward("x", 0.25)])
    observer.observe([reward("x", 1.0, Kind.WITHDRAW)])
    observer.observe([Change(Kind.PUT, None, "y", 1.0, 1.0)])
    observer.publish()
    seen = read(document)
    assert (seen.events, seen.rewards) == ([1.0], [0.25])
    assert list(seen.by_arm()) == ["x"]


def test_the_arms_that_are_followed_are_bounded_and_fit(clock, counters):
    observer = Observer(document := SharedDocument(ROOM), counters, clock)
    for period in range(MOST_PERIODS):
        clock.now += 10 * 2**period
        for number in range(MOST_ARMS + 50):
            observer.observe([reward(f"{number}" + "é" * 120, 0.123456789)])
    observer.publish()
    seen = read(document)
    assert len(seen.old) == len(seen.recent) == MOST_ARMS
    assert seen.events[-1] == MOST_PERIODS * (MOST_ARMS + 50)


def test_an_arm_whose_rate_fell_is_found_and_one_that_is_as_before_is_not(clock, counters):
    observer = Observer(document := SharedDocument(ROOM), counters, clock)
    for number in range(4000):
        clock.now += 1
        is_late = number >= 3000
        observer.observe([reward("falls", float(number % (20 if is_late else 4) == 0))])
        observer.observe([reward("stays", float(number % 5 == 0))])
    observer.publish()
    found = drift(read(document))
    assert (found.compared, found.changed) == (2, 1)
    fallen, same = found.arms
    assert (fallen.arm, same.arm) == ("falls", "stays")
    assert fallen.old == pytest.approx(0.25, abs=0.05)
    assert fallen.recent == pytest.approx(0.05, abs=0.03)
    assert fallen.q < 1e-6 < 0.2 < same.q
    assert fallen.old_rewards + fallen.recent_rewards == 4000
    assert found.since == pytest.approx(4000, abs=700)


def test_shares_are_those_of_all_workers_and_outlive_them():
    documents = [SharedDocument(1 << 16) for _ in range(2)]
    for _ in range(2):  # the second time, workers that started again
        for document, arm in zip(documents, ("a", "b"), strict=True):
            shown = ShownArms(document)
            shown.add([arm, "c"])
            shown.add(["a"])
            shown.add([])
            shown.publish()
    found = merge(documents)
    assert (found.decisions, found.first) == (12, {"a": 6, "b": 2})


def test_propensities_that_fit_pass_the_check_and_others_do_not(counters):
    generator = np.random.default_rng(5)
    p, names = np.array([0.003, 0.097, 0.3, 0.6]), ["a", "b", "c", "d"]
    for number in range(2000):
        arm = names[generator.choice(4, p=p)]
        calibration.count(counters.row(number % 2), names, p, arm)
    fits = calibration.check(counters, 0.1)
    assert (fits.decisions, fits.share) == (2000, 0.1)
    assert fits.p > 0.01
    expected = [each.expected for each in fits.bins if each.expected]
    assert expected == pytest.approx([6, 194, 600, 1200])
    assert sum(each.shown for each in fits.bins) == 2000
    for _ in range(300):
        calibration.count(counters.row(0), names, p, "b")
    assert calibration.check(counters, 0.1).p < 1e-9


def test_a_quantile_is_interpolated_in_its_bucket():
    buckets = [0.0] * 20
    assert Durations(tuple(buckets), 0.0).quantile(0.5) is None
    buckets[3], buckets[4] = 50, 50  # 50 to 100 and 100 to 250 microseconds
    found = Durations(tuple(buckets), 0.01)
    assert found.quantile(0.5) == pytest.approx(0.0001)
    assert found.quantile(0.75) == pytest.approx(0.000175)
    assert (found.count, found.mean) == (100, 0.0001)


def model_of(text):
    model = PolicyModel(ModelHeader("m", catalog.parse(text), FeatureSchema()))
    model.put("x")
    for value in (1, 0, 1, 1, 0):
        model.learn(0, value, None)
    return model


@pytest.mark.parametrize(
    ("policy", "posterior"),
    [
        ("gamma-poisson", stats.gamma(1 + 3, scale=1 / (1 + 5))),
        ("bayes-ucb", stats.beta(1 + 3, 1 + 2)),
        ("top-two", stats.beta(1 + 3, 1 + 2)),
        # kappa = 6, mean = 3 / 6, a = 3.5, b = 1 + 1.2 / 2 + 5 / 6 * 0.6 ** 2 / 2
        ("normal", stats.t(7, 0.5, (1.75 / 3.5 / 6) ** 0.5)),
        ("ucb1", None),
    ],
)
def test_a_band_is_the_credible_interval_of_the_posterior(policy, posterior):
    found = credible_band(model_of(policy).policy, np.array([0]), 0.9)
    if posterior is None:
        assert found is None
        return
    assert [float(each[0]) for each in found] == pytest.approx(posterior.interval(0.9))


# Of a server


def until(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def overview(server, *, decisions, events, sampled):
    """Return a summary that has all this; a worker's may be a second older than another's."""
    found = {}

    def is_whole():
        answer = server.call("GET", "/overview")
        if answer.status == 503:  # By a new worker, which still loads the posteriors.
            return False
        found.update(answer.body)
        history = found["history"]
        counts = (history["decisions"] or [0])[-1], (history["events"] or [0])[-1]
        own = found["decisions"], found["arms"]["sampled"]
        return counts == (decisions, events) and own == (decisions, sampled)

    until(is_whole)
    return found


def test_the_numbers_are_of_all_workers_and_outlive_the_death_of_each(start):
    server = start("--workers", "2", "--log", "log", "--propensities", "1", "--block", "c2")
    for number in range(30):  # each on a connection of its own, so both workers get some
        found = server.post("/predict", {"context": f"u{number}", "k": 2})
        arm = found["arms"][0]
        server.post("/feedback", {"decision_id": found["decision_id"], "arm": arm, "reward": 1})
    seen = overview(server, decisions=30, events=30, sampled=30)
    arms = {each["arm"]: each for each in seen["arms"]["arms"]}
    assert (seen["decisions"], seen["feedback"], seen["scored"]) == (30, 30, 60)
    assert seen["arms"]["total"] == 3
    assert seen["history"]["decisions"][-1] == 30
    assert (seen["propensities"]["decisions"], seen["propensities"]["share"]) == (30, 1)
    assert "versions" not in seen
    assert arms["c2"]["first"] == arms["c2"]["shown"] == 0
    assert arms["c1"]["shown"] + arms["a/b é"]["shown"] == pytest.approx(1)
    posteriors = [server.get(f"/arms/{name}") for name in ("c1", "a%2Fb%20%C3%A9")]
    exact = top_k([each["a"] for each in posteriors], [each["b"] for each in posteriors]).first
    assert [arms["c1"]["first"], arms["a/b é"]["first"]] == pytest.approx(exact.tolist(), abs=1e-6)
    posterior = stats.beta(posteriors[0]["a"], posteriors[0]["b"])
    assert (arms["c1"]["low"], arms["c1"]["high"]) == pytest.approx(posterior.interval(0.9))
    before = server.children()
    for child in before:
        os.kill(child, signal.SIGKILL)
    until(lambda: len(server.children()) == 3 and not set(before) & set(server.children()))
    until(lambda: server.call("GET", "/health").status == 200)
    again = overview(server, decisions=30, events=30, sampled=30)
    kept = ("decisions", "feedback", "history")
    assert [again[name] for name in kept] == [seen[name] for name in kept]
    assert (again["arms"]["sampled"], again["restarts"]) == (30, 3)


def test_direct_answers_are_sampled(start):
    server = start("--workers", "1", "--new-arms", "from-feedback")
    server.call("PUT", "/arms/c1", {"a": 1e6, "b": 1})
    request = {"candidates": ["c1", "c2"], "k": 1}
    for _ in range(2 * metrics.DIRECT_MEASURED_EVERY):
        assert server.post("/predict", request)["arms"] == ["c1"]
    sampled = 2 * metrics.DIRECT_MEASURED_EVERY
    until(lambda: server.get("/overview")["arms"]["sampled"] == sampled)
    seen = server.get("/overview")
    assert seen["arms"]["arms"][0]["shown"] == 1
    counts = {each["stage"]: each["count"] for each in seen["stages"]}
    assert (counts["direct answer"], counts["whole request"]) == (2, sampled)


def test_a_watcher_gets_an_event_when_something_happens_and_the_stop_does_not_wait(start):
    server = start("--workers", "1")
    connection = server.connect()
    connection.request("GET", "/overview/events")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )
    server.post("/predict", {})
    while (line := answer.readline()) != b"event: changed\n":
        assert line
    assert json.loads(answer.readline().removeprefix(b"data: ")) == [{"changed": True}]
    assert server.stop() == 143
    connection.close()


def test_the_page_is_open_and_holds_no_data_while_the_document_needs_the_token(start, tmp_path):
    (tmp_path / "token").write_text("secret")
    server = start("--workers", "1", "--token-file", str(tmp_path / "token"))
    status, page, headers = server.raw("GET", "/")
    assert status == 200
    assert "é".encode() not in page  # of an arm; "c1" is also in hashes of assets
    assert b"secret" not in page
    assert "'unsafe-inline'" not in headers["content-security-policy"]
    for path in ("/overview", "/overview/events"):
        assert server.call("GET", path).status == 401
    token = {"authorization": "Bearer secret"}
    assert server.call("GET", "/overview", **token).body["arms"]["total"] == 3
