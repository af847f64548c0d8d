"""Two versions of a model in a fleet: the same two on every host, and one end of them for all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest

pytest.importorskip("redis")

from fleet_host import Host, event, settings_of

from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.candidates.variants import Variant, Variants
from mlkit.bandit.server.candidates.versions import compare
from mlkit.bandit.server.fleet.decision_reports import DecisionReports
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.bandit.server.processes.protocol import DecisionCounts, Switch, Switched
from mlkit.errors import ConfigurationError, UsageError

CANDIDATE = "context,arm,a,b,pulls\n,c1,10,30,38\n,c9,5,5,8\n"


@pytest.fixture
def candidate(tmp_path):
    """Return the file of a candidate."""
    path = tmp_path / "new.csv"
    path.write_text(CANDIDATE)
    return path


@pytest.fixture
def host_of(tmp_path):
    """Return a host by its name; the same name goes on with the same state."""

    def make(name, redis, **options):
        return Host(settings_of(tmp_path / name, redis.url, **options))

    return make


@contextlib.asynccontextmanager
async def fleet(*hosts):
    """Let hosts follow their fleet, up to its end."""
    async with fleet_of_new(*hosts):
        await level(*hosts)
        yield hosts


async def level(*hosts):
    """Wait until all hosts have the same entries, of which there are some."""
    await hosts[0].until(
        lambda: len({host.entries() for host in hosts}) == 1 and hosts[0].entries()
    )


def answering(host):
    """Return which version answers each user, as the workers of a host choose."""
    base = host.model.journal.meta("candidate_hash")[:12]
    both = (Variant(name, "m", None, None, base, True) for name in ("stable", "candidate"))
    variants = Variants(*both, host.model.share)
    return [variants.of(PredictRequest(context=f"u{number}")).name for number in range(200)]


def arms(version):
    return list(version.table.arms())


def switch(host, promote):
    """Return the request that the writer makes of `POST /promote` or `/rollback`."""
    return Switch(1, promote, host.model.course.candidate)


def test_all_hosts_serve_and_learn_the_candidate_that_one_of_them_brings(
    start_redis, host_of, candidate
):
    redis = start_redis()

    async def scenario():
        alone = host_of("a", redis)
        async with alone.following() as a:
            await a.connected()
            await a.feedback(event("before"))
        brings = host_of("b", redis, candidate=candidate, share=0.3)
        async with fleet(host_of("a", redis), brings) as (a, b):
            assert [a.model.share, b.model.share] == [0.3, 0.3]
            assert answering(a) == answering(b)
            assert 0.15 < answering(a).count("candidate") / 200 < 0.45
            await a.feedback(event("e1"), event("e2", "c9"))
            await b.feedback(event("e3", reward=0.0))
            await level(a, b)
            # What was before the candidate is not its own; all that comes after it is.
            for host in (a, b):
                assert arms(host.model.candidate)[0] == ("c1", 11, 31, 40)
                assert ("c9", 6, 5, 9) in arms(host.model.candidate)
                assert arms(host.model.posteriors)[0] == ("c1", 4, 31, 33)

    asyncio.run(scenario())


@pytest.mark.parametrize("promote", [True, False])
def test_the_end_of_a_candidate_reaches_all_hosts_once_also_who_was_away(
    start_redis, host_of, candidate, promote
):
    redis, options = start_redis(), {"candidate": candidate, "share": 0.5}

    async def begun():
        async with fleet(*(host_of(name, redis, **options) for name in "abc")) as hosts:
            await hosts[0].feedback(event("e"))
            await level(*hosts)

    async def ended():
        async with fleet(host_of("a", redis, **options), host_of("b", redis)) as (a, b):
            request = switch(a, promote)
            replies = await asyncio.gather(a.ask(request), b.ask(request), a.ask(request))
            assert sorted(reply.existed for reply in replies) == [False, False, True]
            await b.feedback(event("after"))
            await level(a, b)
            return arms(a.model.posteriors), arms(b.model.posteriors)

    async def all_know(rows, *names):
        hosts = [host_of(name, redis, **options) for name in names]
        async with fleet(*hosts):
            for host in hosts:
                assert host.model.candidate is None
                assert arms(host.model.posteriors) == rows
            assert await hosts[0].ask(Switch(1, promote=True)) == Switched(1, existed=False)
            await hosts[0].member.save()

    asyncio.run(begun())
    rows, same = asyncio.run(ended())
    assert rows == same
    assert rows[0] == (("c1", 12, 30, 40) if promote else ("c1", 4, 30, 32))
    assert ("c9" in {row[0] for row in rows}) is promote
    asyncio.run(all_know(rows, "c", "a", "b"))  # c was away, and learns of it from the stream
    asyncio.run(all_know(rows, "new", "c"))  # new starts from a snapshot, with the first file


def test_a_host_that_is_killed_between_the_commit_and_the_tables_knows_the_end(
    start_redis, host_of, candidate, monkeypatch
):
    redis, options = start_redis(), {"candidate": candidate, "share": 0.5}

    async def scenario():
        async with fleet(host_of("a", redis, **options), host_of("b", redis)) as (a, b):
            monkeypatch.setattr(b.model, "show_switch", lambda request: 1 / 0)  # no code runs after
            assert (await a.ask(switch(a, promote=True))).existed
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(b.followed, 60)
            rows = arms(a.model.posteriors)
            b.close()
            b = host_of("b", redis)
            assert (arms(b.model.posteriors), b.model.candidate) == (rows, None)

    with contextlib.suppress(ZeroDivisionError):
        asyncio.run(scenario())


def test_another_candidate_is_refused_and_one_that_ended_is_none(
    start_redis, host_of, candidate, tmp_path, caplog
):
    redis, other = start_redis(), tmp_path / "other.csv"
    other.write_text(CANDIDATE.replace("10,30", "11,30"))
    host_of("a", redis, candidate=candidate, share=0.5).close()
    host_of("b", redis, candidate=candidate, share=0.5).close()
    with pytest.raises(ConfigurationError, match=r"other\.csv: the fleet has another one") as error:
        host_of("c", redis, candidate=other, share=0.5)
    assert "/promote or /rollback on any host first" in error.value.hint
    with pytest.raises(UsageError, match="--window: not with --candidate"):
        host_of("d", start_redis(), candidate=candidate, window=24)

    async def end():
        async with fleet(host_of("a", redis)) as (a,):
            assert (await a.ask(switch(a, promote=False))).existed

    async def after():
        async with fleet(host_of("b", redis, candidate=other, share=0.5)) as (b,):
            assert arms(b.model.candidate)[0] == ("c1", 11, 30, 38)
            with caplog.at_level(logging.WARNING):
                host_of("a", redis, candidate=candidate, share=0.5).close()
            assert "this candidate of the fleet has ended" in caplog.text

    asyncio.run(end())
    asyncio.run(after())


def test_another_share_is_that_of_all_hosts(start_redis, host_of, candidate):
    redis = start_redis()

    async def scenario():
        async with fleet(host_of("a", redis, candidate=candidate, share=0.1)) as (a,):
            few, files = answering(a), a.model.files()
            await a.feedback(event("e"))
            more = host_of("b", redis, candidate=candidate, share=0.6)
            async with more.following():
                await more.connected()
                await level(a, more)
                assert answering(a) == answering(more)
                pairs = zip(few, answering(a), strict=True)
                assert all(new == "candidate" for old, new in pairs if old == "candidate")
                assert a.model.files() != files  # workers are told
                assert arms(a.model.candidate)[0] == ("c1", 11, 30, 39)

    asyncio.run(scenario())


def test_a_new_host_knows_both_versions_and_what_they_have_earned_from_a_snapshot(
    start_redis, host_of, candidate
):
    redis = start_redis()

    async def begun():
        async with fleet(host_of("a", redis, candidate=candidate, share=0.5)) as (a,):
            now = time.time()
            await a.feedback(event("e1", decided=now, by_candidate=True))
            await a.member.save()
            await a.feedback(event("e2", decided=now))
            await a.member.save()
            await a.feedback(event("e3", "c2", decided=now))
            return arms(a.model.posteriors), arms(a.model.candidate), a.tally.save()

    async def joined(found):
        async with fleet(host_of("new", redis)) as (new,):
            await new.until(lambda: new.tally.save() == found[2])
            assert (arms(new.model.posteriors), arms(new.model.candidate)) == found[:2]
            assert new.model.share == 0.5

    asyncio.run(joined(asyncio.run(begun())))


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_single_server_founds_a_fleet_with_the_versions_that_it_has(
    start_redis, host_of, candidate, tmp_path, goes_on
):
    redis = start_redis()
    settings = settings_of(tmp_path / "a", redis.url)
    promoted, third = tmp_path / "promoted.csv", tmp_path / "third.csv"
    promoted.write_text(CANDIDATE.replace("10,30", "7,30"))
    third.write_text(CANDIDATE.replace("10,30", "9,30"))
    state = StateDirectory(settings.state)
    state.open()
    alone = Model(state, settings.posteriors, window=3600.0, candidate=promoted)
    assert alone.promote()
    alone.journal.close()
    Model(state, settings.posteriors, window=3600.0, candidate=third).journal.close()
    options = {"candidate": third, "share": 0.25} if goes_on else {}

    async def scenario():
        a = host_of("a", redis, **options)
        async with fleet_of_new(a, host_of("b", redis)) as (a, b):
            for host in (a, b):
                assert arms(host.model.posteriors)[0] == ("c1", 7, 30, 38)
                if goes_on:
                    assert arms(host.model.candidate)[0] == ("c1", 9, 30, 38)
                    assert host.model.share == 0.25
                else:
                    assert host.model.candidate is None

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def fleet_of_new(*hosts):
    """Let hosts follow a fleet whose stream may be empty."""
    async with contextlib.AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.following())
            await host.connected()
        yield hosts


def version_sums(host):
    both = (Variant(name, name, None, None, "", True) for name in ("old", "new"))
    found = compare(Variants(*both, 0.5), host.shared)
    return [(each.decisions, each.rewards) for each in (found.stable, found.candidate)]


def decide(host, stable, candidate):
    """Count decisions, as the workers of a host do."""
    host.counters.add(metrics.DECISIONS, stable)
    host.counters.add(metrics.CANDIDATE_DECISIONS, candidate)


async def report(host):
    """Report the decisions of a host, as its writer does every second."""
    found = DecisionReports(host.tally, host.counters, host.shared).make()
    await host.ask(found)
    return found


def test_versions_are_compared_over_all_hosts(start_redis, host_of, candidate):
    redis = start_redis()

    async def scenario():
        a, b = host_of("a", redis, candidate=candidate, share=0.5), host_of("b", redis)
        decide(a, 7, 0)  # before there was a candidate
        async with fleet(a, b):
            for host in (a, b):
                DecisionReports(host.tally, host.counters, host.shared).align()
            now = time.time()
            decide(a, 30, 10)
            decide(b, 20, 5)
            first = await report(a)
            await report(b)
            await b.ask(first)  # twice in the stream
            await a.feedback(event("e1", decided=now), event("no decision"))
            await b.feedback(event("e2", reward=0.5, decided=now, by_candidate=True))
            await b.feedback(event("e2", reward=0.5, decided=now, by_candidate=True))
            await b.feedback(event("e0", decided=now - 3600))  # of before the candidate
            await level(a, b)
            assert version_sums(a) == version_sums(b) == [(50, 1.0), (15, 0.5)]
            decide(b, 0, 5)
            await report(b)
            await level(a, b)
            assert version_sums(a)[1] == version_sums(b)[1] == (20, 0.5)
            assert (await a.ask(switch(a, promote=True))).existed
            await level(a, b)
            await a.ask(first)  # late, of a comparison that is over
            await b.feedback(event("e4", decided=now, by_candidate=True), event("e5", decided=now))
            await level(a, b)
            assert version_sums(a)[0] == version_sums(b)[0] == (20, 1.5)
            assert a.count(metrics.FLEET_REPLACED_REWARDS) == 2.0

    asyncio.run(scenario())


def test_a_queued_event_keeps_its_version(start_redis, host_of, candidate):
    redis, options = start_redis(), {"candidate": candidate, "share": 0.5}

    async def scenario():
        async with fleet(host_of("a", redis, queue=True, **options), host_of("b", redis)) as (a, b):
            redis.kill()
            await a.until(lambda: a.count(metrics.FLEET_AWAY))
            about = {"decided": time.time(), "by_candidate": True}
            assert (await a.feedback(event("q", reward=0.25, **about))).is_queued
            redis.start()
            for host in (a, b):
                await host.until(lambda host=host: version_sums(host)[1][1] == 0.25)
            assert version_sums(a)[0][1] == 0

    asyncio.run(scenario())


def test_reports_of_decisions_survive_the_writer_and_need_a_candidate(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with host_of("a", redis).following() as a:
            await a.connected()
            decide(a, 5, 0)
            assert DecisionReports(a.tally, a.counters, a.shared).make() is None
            a.tally.start(1.0)
            DecisionReports(a.tally, a.counters, a.shared).align()
            decide(a, 3, 2)
            found = DecisionReports(a.tally, a.counters, a.shared).make()
            assert isinstance(found, DecisionCounts)
            assert (found.epoch, found.stable, found.candidate) == (1, 3, 2)
            again = DecisionReports(a.tally, a.counters, a.shared).make()
            assert again.source == found.source

    asyncio.run(scenario())
