"""Hosts of a fleet hold the same; each event counts once, wherever it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("redis")

from fleet_host import decided, digest, event, fleet, level, settles

from mlkit.bandit.server import metrics
from mlkit.bandit.server.dashboard import hosts as dashboard
from mlkit.bandit.server.fleet.roster import Roster
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.processes.protocol import (
    Accepted,
    ArmChange,
    ArmChanged,
    Conflict,
    Kept,
    Tick,
    UnknownArm,
)
from mlkit.errors import ConfigurationError, UsageError
from mlkit.web.shared_document import SharedDocument


def test_hosts_learn_as_one_and_an_event_counts_once_wherever_it_is_sent(start_redis, host_of):
    url = start_redis().url

    async def scenario():
        async with fleet(host_of("a", url), host_of("b", url)) as (a, b):
            replies = await asyncio.gather(
                *(a.feedback(event(f"a{n}", context="u1")) for n in range(20)),
                *(b.feedback(event(f"b{n}", "c2", 0.0, context="u2")) for n in range(20)),
            )
            assert all(isinstance(reply, Accepted) for reply in replies)
            assert (await b.feedback(event("a3", context="u1"))).repeats == [True]
            assert isinstance(await b.feedback(event("a3", reward=0.5)), Conflict)
            assert isinstance(await a.feedback(event("new", "c9")), UnknownArm)
            both = await asyncio.gather(a.feedback(event("z")), b.feedback(event("z")))
            assert sorted(reply.repeats[0] for reply in both) == [False, True]
            await level(a, b)
            assert a.rows() == b.rows()
            assert a.model.posteriors.table.arm("c1") == (2 + 21, 30, 30 + 21)
            assert a.count(metrics.EVENTS) + b.count(metrics.EVENTS) == 41

    asyncio.run(scenario())


def test_arms_that_are_put_and_removed_on_one_host_are_on_all(start_redis, host_of):
    url = start_redis().url

    async def scenario():
        async with fleet(host_of("a", url), host_of("b", url)) as (a, b):
            put = Change(Kind.PUT, None, "c3", 1.0, 1.0, 0)
            assert await a.ask(ArmChange(1, put)) == ArmChanged(1, existed=False)
            accepted = await a.feedback(event("e", "c3"))
            assert isinstance(accepted, Accepted)
            gone = await b.ask(ArmChange(2, Change(Kind.REMOVE, None, "c3")))
            assert gone == ArmChanged(2, existed=True)
            assert (await a.feedback(event("f", "c3"))).ignored == [True]
            await level(a, b)
            assert a.rows() == b.rows()
            assert [row[0] for row in a.rows()[:2]] == ["c1", "c2"]

    asyncio.run(scenario())


def test_snapshots_shorten_the_stream_and_let_new_and_late_hosts_start(start_redis, host_of):
    redis = start_redis()

    async def early():
        async with fleet(host_of("a", redis.url), host_of("late", redis.url)):
            pass

    async def busy():
        async with fleet(host_of("a", redis.url)) as (a,):
            for number in range(9):
                await a.feedback(event(f"e{number}", context="u2"))
                if number % 3 == 2:
                    await a.member.save()
            return a.rows()

    async def joined(rows):
        async with fleet(host_of("late", redis.url), host_of("new", redis.url)) as (late, new):
            await level(late, new)
            assert late.rows() == new.rows() == rows
            assert (await new.feedback(event("e1", context="u2"))).repeats == [True]

    asyncio.run(early())
    rows = asyncio.run(busy())
    with redis.client() as client:
        assert client.xlen("mlkit:{bandit}:stream") == 4  # 6 to 9: two snapshots' entries
        assert len(client.keys("mlkit:{bandit}:snapshot:*")) == 1
    asyncio.run(joined(rows))


def test_a_host_that_falls_behind_what_the_stream_keeps_starts_anew(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with fleet(host_of("a", redis.url)) as (a,):
            late = host_of("late", redis.url)  # It has joined, and does not follow yet.
            for number in range(6):
                await a.feedback(event(f"e{number}"))
                if number % 2:
                    await a.member.save()
            async with late.following():
                assert await asyncio.wait_for(late.followed, 60) is False
            async with fleet(host_of("late", redis.url)) as (late,):
                await level(a, late)
                assert late.rows() == a.rows()

    asyncio.run(scenario())


def test_a_zero_counts_once_in_the_fleet_and_not_where_a_reward_came(start_redis, host_of):
    url, over = start_redis().url, time.time() - 10
    options = {"attribution": 5.0}

    async def scenario():
        async with fleet(host_of("a", url, **options), host_of("b", url, **options)) as (a, b):
            assert await a.ask(decided("d1", over, "c1", "c2")) == Kept(1)
            rewarded = event("d1:c1", "c1", decided=over, settles=settles("d1", "c1"))
            assert isinstance(await b.feedback(rewarded), Accepted)
            await b.until(lambda: b.model.journal.waiting() == 1)
            await asyncio.gather(a.ask(Tick()), b.ask(Tick()), a.ask(Tick()))
            await level(a, b)
            assert a.rows() == b.rows()
            assert a.rows()[:2] == [("c1", 3, 30, 31), ("c2", 3, 51, 52)]
            late = event("d1:c2", "c2", decided=over, settles=settles("d1", "c2"))
            assert isinstance(await b.feedback(late), Accepted)
            await level(a, b)
            assert a.rows() == b.rows()
            assert a.rows()[1] == ("c2", 4, 50, 52)

    asyncio.run(scenario())


def test_an_event_that_one_host_took_is_amended_on_another(start_redis, host_of):
    url = start_redis().url

    async def scenario():
        async with fleet(host_of("a", url), host_of("b", url)) as (a, b):
            await a.feedback(event("e"))
            amended = event("refund", reward=None, amends=digest("e"))
            assert (await b.feedback(amended)).replaced[0].reward == 1.0
            await level(a, b)
            assert a.rows()[0] == b.rows()[0] == ("c1", 2, 30, 30)

    asyncio.run(scenario())


def test_hosts_that_start_at_once_are_one_fleet(start_redis, host_of):
    url = start_redis().url

    async def scenario():
        with ThreadPoolExecutor(3) as pool:
            made = list(pool.map(lambda name: settings_host(host_of, name, url), "abc"))
        hosts = [host_of(name, url) for name in "abc"]
        assert len({host.membership.fleet for host in hosts} | set(made)) == 1
        async with fleet(*hosts) as (a, b, c):
            await asyncio.gather(*(host.feedback(event("same")) for host in (a, b, c)))
            await level(a, b, c)
            assert a.rows() == b.rows() == c.rows()

    asyncio.run(scenario())


def settings_host(host_of, name, url):
    """Let a host join and leave, in a thread of its own; return its fleet."""
    host = host_of(name, url)
    host.close()
    return host.membership.fleet


def test_a_state_of_another_server_and_other_options_are_refused(start_redis, host_of):
    first, second = start_redis(), start_redis()
    host_of("a", first.url).close()
    host_of("b", second.url).close()
    with pytest.raises(ConfigurationError, match="another server, not of the fleet 'bandit'"):
        host_of("a", second.url)
    with pytest.raises(ConfigurationError, match=r"--dedupe-window: the fleet has 604800\.0"):
        host_of("a", first.url, dedupe_window=60.0)
    with pytest.raises(UsageError, match="the fleet 'bandit' already exists"):
        host_of("a", first.url, adopt=True)
    second.ask("CONFIG", "SET", "maxmemory", "100mb")
    second.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError, match="allkeys-lru may drop the fleet's state"):
        host_of("b", second.url)


@contextlib.asynccontextmanager
async def rosters(*hosts):
    """Let hosts report how current they are; yield what each of them sees."""
    documents = [SharedDocument(dashboard.ROOM) for _ in hosts]
    pairs = zip(hosts, documents, strict=True)
    made = [Roster(host.membership, host.counters, document) for host, document in pairs]
    tasks = [asyncio.create_task(each.keep()) for each in made]
    try:
        yield [lambda each=each: dashboard.read(each) for each in documents]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_each_host_sees_which_hosts_there_are_and_how_far_they_are(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            b.followed.cancel()  # it goes on reporting, and knows no more than now
            await asyncio.gather(b.followed, return_exceptions=True)
            for number in range(3):
                await a.feedback(event(f"e{number}"))
            async with rosters(a, b) as (by_a, by_b):
                for see in (by_a, by_b):
                    await a.until(lambda see=see: (found := see()) and len(found.hosts) == 2)
                own, other = sorted(by_a().hosts, key=lambda each: not each.is_this)
                assert (own.entries, own.behind, other.behind) == (a.entries(), 0, 3)
                assert own.stale < 60
                assert [each.is_this for each in by_b().hosts] != [
                    each.is_this for each in by_a().hosts
                ]
                redis.ask("HSET", a.member._reader.keys.hosts, "odd", "not a report")
                redis.ask("HSET", a.member._reader.keys.hosts, "old", "1.5 1 0 - 0")
                at = by_a().at
                await a.until(lambda: by_a().at > at)
                await a.until(lambda: b"old" not in redis.ask("HKEYS", a.member._reader.keys.hosts))
                assert len(by_a().hosts) == 2
                redis.kill()
                ages = [each.age for each in by_a().hosts]
                await a.until(lambda: by_a().hosts[0].age > ages[0] + 0.05)  # what is known stays

    asyncio.run(scenario())
