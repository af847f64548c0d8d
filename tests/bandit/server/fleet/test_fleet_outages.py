"""What hosts of a fleet do while Redis is away, full, slow, behind or empty; nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")

from fleet_host import digest, event, fleet, level

from mlkit.bandit.server import metrics
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.processes.protocol import Accepted, ArmChange, Failed, UnknownArm
from mlkit.errors import ServiceUnavailable


def three_hosts(host_of, url):
    """Let three hosts follow one Redis."""
    return fleet(*(host_of(name, url) for name in "abc"))


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
