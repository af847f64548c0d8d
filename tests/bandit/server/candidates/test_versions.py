"""Two versions of a model side by side: who gets which, what they earn, promotion and rollback."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest

from mlkit.bandit.propensities import top_k
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.candidates.variants import Variant, Variants
from mlkit.bandit.server.candidates.versions import compare, count_reward, note_promotion
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.records import Change, Event, Kind
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.web.metrics import SharedCounters

STABLE = "context,arm,a,b,pulls\n,c1,30,10,38\n,c2,20,20,38\n"
OTHER = "context,arm,a,b,pulls\n,c1,10,30,38\n,c2,60,20,78\n,c9,5,5,8\n"
OPTIONS = ("--workers", "2", "--candidate", "other.csv", "--share", "0.5")


@pytest.fixture
def serve(start, tmp_path):
    """Start a server of a model with a candidate."""
    (tmp_path / "posteriors.csv").write_text(STABLE)
    (tmp_path / "other.csv").write_text(OTHER)
    return lambda *more, options=OPTIONS: start(*options, *more)


def answers(server, users=60):
    """Return which version answers each user, asked twice."""
    found = {}
    for name in [f"u{number}" for number in range(users)] * 2:
        version = server.post("/predict", {"context": name, "k": 1})["version"]
        assert found.setdefault(name, version) == version, "not sticky"
    return found


def test_the_share_is_that_of_users_and_another_candidate_gets_others():
    def variants(base, share):
        both = [Variant(name, "m", None, None, base, True) for name in ("stable", "candidate")]
        return Variants(*both, share)

    users = [PredictRequest(context=f"u{number}") for number in range(4000)]
    small, large = ([variants("x", share).of(user).name for user in users] for share in (0.1, 0.3))
    counts = Counter(small), Counter(large)
    assert counts[0]["candidate"] == pytest.approx(400, abs=80)
    assert counts[1]["candidate"] == pytest.approx(1200, abs=120)
    assert all(new == "candidate" for old, new in zip(small, large, strict=True) if old != "stable")
    other = [variants("y", 0.1).of(user).name for user in users]
    assert other != small
    by_features = [
        PredictRequest(features={"a": 1, "b": 2}),
        PredictRequest(features={"b": 2, "a": 1}),
    ]
    assert len({variants("x", 0.5).of(each).name for each in by_features}) == 1


@pytest.mark.slow
def test_both_learn_and_are_compared_and_the_candidate_is_promoted_for_good(serve, eventually):
    server = serve("--log", "log")
    found = answers(server)
    assert set(found.values()) == {"stable", "candidate"}
    for name, version in found.items():
        answer = server.post("/predict", {"context": name, "k": 1})
        event = {"decision_id": answer["decision_id"], "arm": answer["arms"][0]}
        server.post("/feedback", event | {"reward": int(version == "candidate")})
    compared = server.get("/versions")
    stable, other = compared["stable"], compared["candidate"]
    count = Counter(found.values())
    assert (stable["decisions"], other["decisions"]) == (
        3 * count["stable"],
        3 * count["candidate"],
    )
    assert (stable["rewards"], other["rewards"]) == (0, count["candidate"])
    assert (compared["share"], compared["difference"]) == (0.5, pytest.approx(1 / 3))
    assert compared["p"] < 0.01
    text = server.raw("GET", "/metrics")[1].decode()
    assert f'version_decisions_total{{version="candidate"}} {3.0 * count["candidate"]}' in text
    before = server.get("/arms/c1")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = serve()
    assert answers(server) == found
    assert server.get("/arms/c1") == before
    assert server.call("POST", "/promote").status == 204
    eventually(lambda: all(server.call("GET", "/arms/c9").status == 200 for _ in range(8)))
    assert server.call("POST", "/promote").status == 409
    assert "version" not in server.post("/predict", {"context": "u1"})
    promoted = server.get("/arms/c1")
    assert promoted["pulls"] == before["pulls"]  # the candidate has learned from all rewards
    assert promoted["a"] == before["a"] - 20
    # Counts begin with the server, after the kill: two decisions of each user.
    taken = server.get("/versions")["stable"]
    assert taken["decisions"] == 2 * count["candidate"] + 1
    server.process.send_signal(signal.SIGHUP)  # the old file is not a new one
    assert server.stop() == 143
    again = serve()  # the command of before, after a promotion
    assert again.get("/arms/c1") == promoted
    assert "candidate" not in again.get("/versions")
    assert again.stop() == 143
    (again.directory / "posteriors.csv").write_text(OTHER)  # now the promoted one is the first
    last = serve(options=("--workers", "1"))
    assert last.get("/arms/c1") == promoted


def test_a_rollback_is_for_good_and_the_stable_version_is_as_it_was(serve, eventually):
    server = serve()
    server.post("/feedback", {"event_id": "e", "arm": "c1", "reward": 1})
    assert server.call("POST", "/rollback").status == 204
    eventually(lambda: all("version" not in server.post("/predict", {}) for _ in range(8)))
    assert server.call("GET", "/arms/c9").status == 404
    assert server.get("/arms/c1")["a"] == 31
    assert server.stop() == 143
    again = serve()
    assert "version" not in again.post("/predict", {"context": "u1"})
    assert again.get("/arms/c1")["a"] == 31


def test_propensities_are_those_of_the_version_or_without_a_user_of_the_mixture(serve):
    server = serve("--log", "log", "--propensities", "1")
    first = {
        "stable": top_k([30, 20], [10, 20], 1, [0, 1]).first,
        "candidate": top_k([10, 60, 5], [30, 20, 5], 1, [0, 1, 2]).first,
    }
    arms = ["c1", "c2", "c9"]
    for name in ("u1", "u2", "u3", "u4", "u5"):
        answer = server.post("/predict", {"context": name, "k": 1, "propensities": True})
        wanted = first[answer["version"]][arms.index(answer["arms"][0])]
        assert answer["propensities"]["first"] == pytest.approx([wanted], rel=1e-4)
    for _ in range(12):
        answer = server.post("/predict", {"k": 1, "propensities": True})
        place = arms.index(answer["arms"][0])
        stable = first["stable"][place] if place < 2 else 0
        wanted = (stable + first["candidate"][place]) / 2
        assert answer["propensities"]["slate"] == pytest.approx(wanted, rel=1e-4)
    ranked = server.post("/predict", {"k": 3, "propensities": True})
    assert sum(ranked["propensities"]["first"]) == pytest.approx(1, rel=1e-4) or (
        ranked["version"] == "stable"  # which does not have c9
    )
    assert server.stop() == 143
    logs = (server.directory / "log").iterdir()
    lines = [line for path in logs for line in path.read_text().splitlines()]
    versions = {json.loads(line)["version"].split(".")[0] for line in lines}
    assert len(versions) == 2


def test_a_promoted_version_takes_along_what_it_has_earned():
    counters = SharedCounters(metrics.LAYOUT, 2)
    worker, writer = counters.row(0), counters.row(1)
    for name, count in ((metrics.DECISIONS, 90), (metrics.CANDIDATE_DECISIONS, 10)):
        worker.add(name, count)

    def reward(value, decided, **about):
        event = Event(b"", b"", None, "c1", value, decided, **about)
        promoted = writer.values[writer.layout.counters[metrics.PROMOTED]]
        count_reward(worker, event, promoted)

    reward(1.0, 50.0)
    reward(0.5, 60.0, by_candidate=True)
    stable, candidate = (Variant(name, name, None, None, "", True) for name in ("old", "new"))
    both = compare(Variants(stable, candidate, 0.1), counters)
    assert (both.stable.rewards, both.candidate.rewards) == (1.0, 0.5)
    note_promotion(writer, counters, 100.0)
    reward(1.0, 99.0)  # of the version that was replaced
    reward(0.25, 99.0, by_candidate=True)
    reward(0.125, 101.0)
    worker.add(metrics.DECISIONS, 5)
    alone = compare(Variants(candidate._replace(name="stable")), counters)
    assert (alone.stable.decisions, alone.stable.rewards) == (15, 0.875)
    assert alone.stable.model == "new"
    assert worker.values[worker.layout.counters[metrics.REPLACED_REWARDS]] == 1.0


@pytest.fixture
def model_of(tmp_path):
    """Return the model of a writer; the same state goes on as after a kill."""
    state = StateDirectory(tmp_path / "state")
    lock = state.lock()
    state.open()
    yield lambda **options: Model(state, tmp_path / "posteriors.csv", window=3600.0, **options)
    del lock


def learn(model, *rewards):
    """Learn rewards of the arm c1, as acknowledged: they are in the journal, and no more."""
    for reward in rewards:
        change = Change(Kind.REWARD, None, "c1", reward)
        with model.journal.transaction():
            model.journal.append([change])
        model.apply(change)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_candidate_keeps_its_rewards_when_another_file_is_adopted(
    model_of, tmp_path, is_compacted
):
    (tmp_path / "posteriors.csv").write_text(STABLE)
    other = tmp_path / "other.csv"
    other.write_text(OTHER)
    first = model_of(candidate=other)
    learn(first, 1.0, 1.0)
    if is_compacted:
        first.compact()
    learn(first, 0.0)
    first.journal.close()
    (tmp_path / "posteriors.csv").write_text(STABLE.replace("30,10,38", "3,1,2"))
    again = model_of(candidate=other, adopt=True)
    assert again.posteriors.table.arm("c1") == (3, 1, 2)
    assert again.candidate.table.arm("c1") == (10 + 2, 30 + 1, 38 + 3)
    learn(again, 1.0)
    again.journal.close()
    last = model_of(candidate=other)
    assert last.posteriors.table.arm("c1") == (4, 1, 3)
    assert last.candidate.table.arm("c1") == (10 + 3, 30 + 1, 38 + 4)
    assert last.promote()
    assert last.posteriors.table.arm("c1") == (10 + 3, 30 + 1, 38 + 4)
    last.journal.close()


def test_another_candidate_starts_from_its_file_when_another_file_is_adopted(model_of, tmp_path):
    (tmp_path / "posteriors.csv").write_text(STABLE)
    other, third = tmp_path / "other.csv", tmp_path / "third.csv"
    other.write_text(OTHER)
    third.write_text(OTHER.replace("10,30,38", "11,30,39"))
    first = model_of(candidate=other)
    learn(first, 1.0)
    first.journal.close()
    (tmp_path / "posteriors.csv").write_text(STABLE.replace("30,10,38", "3,1,2"))
    again = model_of(candidate=third, adopt=True)
    assert again.candidate.table.arm("c1") == (11, 30, 39)
    again.journal.close()


def test_what_does_not_fit_is_refused(start, tmp_path):
    (tmp_path / "posteriors.csv").write_text(STABLE)
    alone = start("--share", "0.1", ready=False)
    assert alone.process.wait(180) == 2
    assert "--candidate FILE names it" in alone.stderr
    missing = start("--candidate", "none.csv", "--share", "0.1", ready=False)
    assert missing.process.wait(180) == 66
