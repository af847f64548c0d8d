"""Hosts of a fleet hold the same, whatever Redis does meanwhile; each event counts once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("redis")

from fleet_host import Host, decided, digest, event, settings_of, settles

from mlkit.bandit.server import metrics
from mlkit.bandit.server.dashboard import hosts as dashboard
from mlkit.bandit.server.fleet.roster import Roster
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.processes.protocol import (
    Accepted,
    ArmChange,
    ArmChanged,
    Conflict,
    Failed,
    Kept,
    Tick,
    UnknownArm,
)
from mlkit.errors import ConfigurationError, ServiceUnavailable, UsageError
from mlkit.web.shared_document import SharedDocument


@pytest.fixture
def host_of(tmp_path):
    """Return a host by its name; the same name goes on with the same state."""

    def make(name, url, **options):
        return Host(settings_of(tmp_path / name, url, **options))

    return make


@contextlib.asynccontextmanager
async def fleet(*hosts):
    """Let hosts follow their fleet."""
    async with contextlib.AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.following())
            await host.connected()
        yield hosts


async def level(*hosts):
    """Wait until all hosts have the same entries."""
    await hosts[0].until(lambda: len({host.entries() for host in hosts}) == 1)


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


def test_a_host_that_loses_redis_refuses_feedback_and_goes_on_when_it_is_back(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            assert isinstance(await a.feedback(event("before")), Accepted)
            redis.kill()
            await a.until(lambda: a.count(metrics.FLEET_AWAY))
            refused = await a.feedback(event("during"))
            assert isinstance(refused, Failed)
            assert str(redis.socket) not in refused.error
            redis.start()
            for host in (a, b):
                await host.connected()
            assert (await b.feedback(event("during"))).repeats == [False]
            assert (await b.feedback(event("before"))).repeats == [True]
            await level(a, b)
            assert a.rows() == b.rows()

    asyncio.run(scenario())


def test_queued_feedback_counts_once_when_redis_is_back_also_after_a_restart(start_redis, host_of):
    redis = start_redis()

    async def away():
        async with fleet(host_of("a", redis.url, queue=True)) as (a,):
            redis.kill()
            await a.until(lambda: a.count(metrics.FLEET_AWAY))
            reply = await a.feedback(event("q1"), event("q2", "c2"))
            assert reply == Accepted(7, [False, False], [False, False], [None, None], True)
            assert (await a.feedback(event("q1"), event("q2", "c2"))).is_queued
            assert isinstance(await a.feedback(event("q3", "c9")), UnknownArm)
            assert isinstance(await a.feedback(event("q4", amends=digest("q1"))), Failed)
            put = Change(Kind.PUT, None, "c3", 1.0, 1.0, 0)
            assert isinstance(await a.ask(ArmChange(1, put)), Failed)
            assert a.count(metrics.FLEET_QUEUED) == 2

    async def back():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            await a.until(lambda: not a.count(metrics.FLEET_QUEUED))
            await b.until(lambda: b.entries() > 0)
            await level(a, b)
            assert (await b.feedback(event("q1"))).repeats == [True]
            await level(a, b)
            assert b.rows()[:2] == a.rows()[:2] == [("c1", 3, 30, 31), ("c2", 4, 50, 52)]

    asyncio.run(away())
    redis.start()
    asyncio.run(back())


def three_hosts(host_of, url):
    """Let three hosts follow one Redis."""
    return fleet(*(host_of(name, url) for name in "abc"))


def test_a_full_redis_refuses_and_later_takes_feedback(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with three_hosts(host_of, redis.url) as hosts:
            redis.ask("CONFIG", "SET", "maxmemory", "1")
            for host in hosts:
                assert isinstance(await host.feedback(event("e")), Failed)
            redis.ask("CONFIG", "SET", "maxmemory", "0")
            assert [(await host.feedback(event("e"))).repeats for host in hosts] == [
                [False],
                [True],
                [True],
            ]
            await level(*hosts)
            assert [host.rows()[0] for host in hosts] == [("c1", 3, 30, 31)] * 3

    asyncio.run(scenario())


def test_a_slow_redis_makes_feedback_slow_and_loses_nothing(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with three_hosts(host_of, redis.url) as hosts:
            redis.ask("CLIENT", "PAUSE", 700, "ALL")
            replies = await asyncio.gather(
                *(hosts[n % 3].feedback(event(f"e{n}")) for n in range(51))
            )
            assert all(isinstance(reply, Accepted) for reply in replies)
            await level(*hosts)
            assert [host.rows()[0] for host in hosts] == [("c1", 53, 30, 81)] * 3

    asyncio.run(scenario())


def test_three_hosts_go_on_with_a_replica_that_is_promoted(start_redis, host_of):
    """The address then leads to it, as a service's or a proxy's does."""
    primary, replica = start_redis(), start_redis("--repl-diskless-sync-delay", "0")
    address = replica.folder / "a"
    address.symlink_to(primary.socket)

    def has_all():
        with primary.client() as one, replica.client() as other:
            behind = other.info("replication").get("slave_repl_offset")
            return behind == one.info("replication")["master_repl_offset"]

    async def scenario():
        async with three_hosts(host_of, f"unix://{address}") as hosts:
            replica.ask("REPLICAOF", "127.0.0.1", primary.listen())
            await hosts[0].until(lambda: is_linked(replica))
            for number, host in enumerate(hosts):
                assert isinstance(await host.feedback(event(f"before {number}")), Accepted)
            await level(*hosts)
            await hosts[0].until(has_all)
            primary.kill()
            assert isinstance(await hosts[1].feedback(event("meanwhile")), Failed)
            replica.ask("REPLICAOF", "NO", "ONE")
            address.unlink()
            address.symlink_to(replica.socket)
            for number, host in enumerate(hosts):
                await asyncio.wait_for(accepted_in_the_end(host, event(f"after {number}")), 60)
            assert (await hosts[2].feedback(event("before 0"))).repeats == [True]
            await level(*hosts)
            assert [host.rows()[0] for host in hosts] == [("c1", 8, 30, 36)] * 3

    asyncio.run(scenario())


def test_replicas_must_have_what_is_acknowledged(start_redis, host_of):
    primary, replica = start_redis(), start_redis("--repl-diskless-sync-delay", "0")

    async def scenario():
        async with fleet(host_of("a", primary.url, replicas=1)) as (a,):
            assert isinstance(await a.feedback(event("alone")), Failed)
            replica.ask("REPLICAOF", "127.0.0.1", primary.listen())
            await a.until(lambda: is_linked(replica))
            await asyncio.wait_for(accepted_in_the_end(a, event("both")), 60)

    asyncio.run(scenario())


async def accepted_in_the_end(host, sent):
    """Send an event until it is accepted, as a client does: a new replica may be slow at first."""
    while isinstance(await host.feedback(sent), Failed):
        await asyncio.sleep(0.1)


def is_linked(replica):
    """Return whether a replica follows its primary."""
    with replica.client() as client:
        return client.info("replication").get("master_link_status") == "up"


def test_a_failover_that_lost_the_end_is_noticed_and_made_good(start_redis, host_of):
    redis = start_redis()

    async def scenario():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            assert isinstance(await a.feedback(event("kept")), Accepted)
            await level(a, b)
            redis.ask("SAVE")
            behind = (redis.folder / "dump.rdb").read_bytes()
            assert isinstance(await a.feedback(event("lost", "c2")), Accepted)
            await level(a, b)
            redis.kill()
            _restore(redis, behind)
            assert await asyncio.wait_for(a.followed, 60) is False
            assert await asyncio.wait_for(b.followed, 60) is False

    async def after():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            await level(a, b)
            assert (await b.feedback(event("lost", "c2"))).repeats == [True]
            await level(a, b)
            assert a.rows() == b.rows()
            assert a.rows()[:2] == [("c1", 3, 30, 31), ("c2", 4, 50, 52)]

    asyncio.run(scenario())
    asyncio.run(after())


def _restore(redis, dump):
    """Start a Redis from a dump, as from a backup; then it logs again."""
    for path in redis.folder.glob("appendonlydir/*"):
        path.unlink()
    (redis.folder / "dump.rdb").write_bytes(dump)
    options = redis.options
    redis.options = ("--appendonly", "no")
    redis.start()
    redis.ask("CONFIG", "SET", "appendonly", "yes")
    redis.options = options


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


def test_a_fleet_that_redis_has_lost_is_founded_anew_by_the_host_that_knows_it(
    start_redis, host_of
):
    redis = start_redis()

    async def scenario(adopt):
        options = {"adopt": True} if adopt else {}
        async with host_of("a", redis.url, **options).following() as a:
            if adopt:
                await a.connected()
            return await a.feedback(event("e2" if adopt else "e1")), a.rows()[0]

    async def begun():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            await a.feedback(event("e0"))
            await level(a, b)

    asyncio.run(begun())
    redis.ask("FLUSHALL")
    reply, _ = asyncio.run(scenario(adopt=False))
    assert isinstance(reply, Failed)
    reply, row = asyncio.run(scenario(adopt=True))
    assert isinstance(reply, Accepted)
    assert row == ("c1", 4, 30, 32)

    async def rejoined():
        async with fleet(host_of("a", redis.url), host_of("b", redis.url)) as (a, b):
            await level(a, b)
            assert a.rows() == b.rows()

    asyncio.run(rejoined())


def test_a_new_host_does_not_start_without_redis_and_one_of_the_fleet_does(start_redis, host_of):
    redis = start_redis()
    host_of("a", redis.url).close()
    redis.kill()
    host_of("a", redis.url).close()
    with pytest.raises(ServiceUnavailable, match="redis-"):
        host_of("b", redis.url)


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
