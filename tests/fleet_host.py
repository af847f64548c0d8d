"""A host of a fleet without its workers: what its writer does, in the process of a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from mlkit.bandit.server import metrics
from mlkit.bandit.server.candidates.tally import Tally
from mlkit.bandit.server.feedback.attribution import Details, settled_key, waiting
from mlkit.bandit.server.fleet import joining
from mlkit.bandit.server.fleet.member import Member
from mlkit.bandit.server.learning.applying import Applier
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.records import Event, Shown
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.bandit.server.processes.protocol import Decided, Feedback, Reply, Request
from mlkit.bandit.server.settings import FleetSettings, Settings
from mlkit.bandit.stores.redis.address import parse
from mlkit.web.metrics import SharedCounters

PATIENCE = 180
POSTERIORS = "context,arm,a,b,pulls\n,c1,2,30,30\n,c2,3,50,51\nu1,c1,5,50,53\n"


def settings_of(folder: Path, url: str, **options) -> Settings:
    """Return the settings of a host that has a folder of its own."""
    fleet = FleetSettings(parse(url))
    own = {name: options.pop(name) for name in list(options) if hasattr(fleet, name)}
    folder.mkdir(exist_ok=True)
    posteriors = folder / "p.csv"
    posteriors.write_text(POSTERIORS)
    return Settings(posteriors, folder / "state", fleet=replace(fleet, **own), **options)


def event(name: str, arm: str = "c1", reward: float | None = 1.0, **about) -> Event:
    """Return an event whose body is its arm and reward."""
    body = digest(f"{arm} {reward}")
    return Event(digest(name), body, about.pop("context", None), arm, reward, **about)


def digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def decided(name: str, due: float, *arms: str) -> Decided:
    shown: Shown = waiting(name, due, Details(None, due, None, list(arms)))
    return Decided(1, [shown])


def settles(name: str, arm: str) -> bytes:
    return settled_key(digest(name), arm)


class Host:
    """A host that has joined its fleet, and follows it inside `following`."""

    def __init__(self, settings: Settings) -> None:
        assert settings.fleet is not None
        self.settings = settings
        self.state = StateDirectory(settings.state)
        self.state.open(joining.key_of(settings.fleet, self.state))
        self.model, self.membership = joining.join(settings, self.state, self._load)
        self.shared = SharedCounters(metrics.LAYOUT, 1)
        self.counters = self.shared.row(0)
        clock, self.tally = self.membership.clock.set, Tally(self.model.journal.meta("tally"))
        how = {"clock": clock, "tally": self.tally}
        self.applier = Applier(self.model, self.counters, new_arms=False, **how)
        self.member: Member | None = None
        self.followed: asyncio.Task[bool] | None = None

    def _load(self, clock: joining.SharedClock) -> Model:
        settings = self.settings
        attributes = settings.attribution is not None
        how = {"window": settings.dedupe_window, "hours": settings.window}
        how |= {"attribution": attributes, "shared": clock}
        return Model(self.state, settings.posteriors, **how)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Host]:
        how = self.membership, self.model, self.applier, self.counters, lambda: None
        self.member = Member(*how)
        self.followed = asyncio.create_task(self.member.follow())
        try:
            yield self
        finally:
            self.followed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.followed
            self.close()

    def close(self) -> None:
        self.model.journal.close()

    async def connected(self) -> Host:
        return await self.until(lambda: not self.count(metrics.FLEET_AWAY))

    async def until(self, condition) -> Host:
        """Wait until something holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.01)
        return self

    async def ask(self, request: Request) -> Reply:
        """Send a request as a worker does; return the reply."""
        replies: asyncio.Queue[Reply] = asyncio.Queue()
        assert self.member is not None
        self.member.submit([(_Sender(replies), request)])
        return await asyncio.wait_for(replies.get(), PATIENCE)

    async def feedback(self, *events: Event) -> Reply:
        return await self.ask(Feedback(7, list(events)))

    def count(self, name: str) -> float:
        return self.counters.values[self.counters.layout.counters[name]]

    def entries(self) -> int:
        return int(self.count(metrics.FLEET_POSITION))

    def rows(self) -> list:
        """Return all posteriors of the table."""
        table = self.model.posteriors.table
        pairs = [table.pair(context, arm) for context in ("u1", "u2") for arm in ("c1", "c2")]
        return [*table.arms(), *pairs]


@contextlib.asynccontextmanager
async def fleet(*hosts: Host) -> AsyncIterator[tuple[Host, ...]]:
    """Let hosts follow their fleet."""
    async with contextlib.AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.following())
            await host.connected()
        yield hosts


async def level(*hosts: Host) -> None:
    """Wait until all hosts have the same entries."""
    await hosts[0].until(lambda: len({host.entries() for host in hosts}) == 1)


class _Sender:
    def __init__(self, replies: asyncio.Queue) -> None:
        self._replies = replies

    def send(self, message: Reply) -> None:
        self._replies.put_nowait(message)
