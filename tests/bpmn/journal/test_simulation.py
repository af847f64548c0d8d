"""Deterministic simulation of hosts that share a journal: what one seed does can be done again.

The journal, its leases and its fence are the real ones, on a database in memory whose answers,
clock and hosts come out of the seed: slow, refused, lost before or after the commit; hosts that
pause, crash and come back. `MLKIT_SIMULATE_SEED=N` plays one seed, `MLKIT_SIMULATE_SEEDS=N` so
many. Transactions are whole steps here; how they interleave on PostgreSQL is not simulated.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import structs

from mlkit.bpmn.engine.events import Complete
from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import ForTimer
from mlkit.bpmn.journal.records import Append, Changes, Entry, Row, TakenOver
from mlkit.bpmn.journal.sql.journal import SqlJournal
from mlkit.bpmn.journal.sql.leases import LeaseOwner
from mlkit.errors import ServiceUnavailable
from mlkit.storage import sqlite

LEASE = 8.0
TASKS = 4
STEPS = 50
SHORT = 150
MANY = 2_000
NIGHTLY = 20_000


class WorldConnection(sqlite3.Connection):
    """A connection whose statements stay prepared while one world follows another."""

    now: Callable[[], float]
    """The clock of the world that has it."""


class World:
    """What all hosts share: the time, the database, and how reliable both are.

    Attributes:
        numbers: Those of the instances.
        calm: Whether everything works, so that all instances have to end.
        confirmed: What hosts were told is done: the instance and the task, with the attempt.
    """

    def __init__(self, seed: int, connection: WorldConnection) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        connection.now = lambda: self.now
        self.calm = False
        self.connection = connection
        self.hosts: list[SimulatedHost] = []
        self.numbers: list[int] = []
        self.confirmed: list[tuple[int, int]] = []

    def check_one_owner(self) -> None:
        """No two hosts believe at one moment that they may act for an instance."""
        acting = [
            number
            for each in self.hosts
            if each.journal.holds()
            for number in each.running
        ]  # fmt: skip
        assert len(acting) == len(set(acting)), "two hosts act for one instance"


class SimulatedDatabase(sqlite.SqliteDatabase):
    """A connection to the database in memory; what becomes of a transaction is drawn."""

    clock = "simulated_now()"

    def __init__(self, world: World) -> None:
        self.world = world
        self.path, self.place, self.kind = Path("memory"), "memory", "journal"
        self.types, self.writable = sqlite._TYPES, True
        self.connection = world.connection

    def close(self) -> None:
        """Keep the connection, which all hosts have."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do a transaction; its answer may be slow, or a failure before or after the commit."""
        world = self.world
        fate = 1.0 if world.calm else world.random.random()
        if fate < 0.05:
            raise ServiceUnavailable("refused")
        if fate > 0.9 and not world.calm:
            world.now += world.random.choice((0.5, 3.0, 9.0))
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        if fate < 0.1:
            self.connection.execute("ROLLBACK")
            raise ServiceUnavailable("lost before the commit")
        self.connection.execute("COMMIT")
        if fate < 0.15:
            raise ServiceUnavailable("lost after the commit")


class Unfenced(SqlJournal):
    """A journal that lets everybody write: wrong on purpose."""

    def append_all(self, appends: Sequence[Append]) -> dict[int, int]:
        """Append whoever asks."""
        last = "SELECT epoch, sequence FROM instances WHERE number = ?"
        changed = []
        for each in appends:
            ((epoch, sequence),) = self.database.query(last, (each.number,))
            changed.append(structs.replace(each, row=_at(each.row, epoch), sequence=sequence))
        return super().append_all(changed)


class Undying(LeaseOwner):
    """A host that goes on after its lease has ended: wrong on purpose."""

    def holds(self) -> bool:
        """Return True."""
        return True


class Impatient(LeaseOwner):
    """A host that takes from hosts that live: wrong on purpose."""

    def is_alive(self, name: str) -> bool:
        """Return False."""
        return False

    def living(self) -> set[str]:
        """Return nobody."""
        return set()


def _at(row: Row, epoch: int) -> Row:
    import msgspec

    return msgspec.structs.replace(row, epoch=epoch)


@dataclass
class Protocol:
    """What the hosts use; each part can be a wrong one."""

    journal: type[SqlJournal] = SqlJournal
    owner: type[LeaseOwner] = LeaseOwner


@dataclass
class Held:
    """An instance that a host runs: how far it is, and whether its task has been started."""

    row: Row
    sequence: int
    started: bool = False


@dataclass
class SimulatedHost:
    """A host: it takes work, runs tasks, commits what they did, and renews its lease."""

    world: World
    protocol: Protocol
    running: dict[int, Held] = field(default_factory=dict)
    writing: Held | None = None
    paused: float = 0.0

    def __post_init__(self) -> None:
        database = SimulatedDatabase(self.world)
        owner = self.protocol.owner(database, LEASE, lambda: self.world.now)
        self.journal = self.protocol.journal(database, owner, Path())

    def crash(self) -> None:
        """Forget everything, and come back as another process."""
        self.running.clear()
        self.writing = None
        self.__post_init__()

    def step(self) -> None:
        """Do one thing of what a host does."""
        try:
            if self.writing is not None:
                held, self.writing = self.writing, None
                self.write(held)
                return
            if not self.journal.holds() and self.running:
                self.running.clear()
                self.journal.disown()
            random = self.world.random.random()
            if self.journal.owner.name and random < 0.35:
                self.journal.renew()
            elif not self.running or random < 0.5:
                self.take()
            else:
                self.move(self.world.random.choice(list(self.running.values())))
        except ServiceUnavailable:
            # The outcome is not known: what is in memory may not be what is in the journal.
            self.running.clear()
            if not self.journal.holds():
                self.journal.disown()

    def take(self) -> None:
        """Take up to two instances that have work, or one for which something is delivered."""
        journal = self.journal
        if journal.holds() and self.world.random.random() < 0.3:
            free = set(self.world.numbers) - self.running.keys()
            with journal.transaction():
                taken = journal.take_free(sorted(free)[:1])
        else:
            taken = journal.take(journal.work(self.world.now, 2, list(self.running)))
        for row in taken:
            self.running[row.number] = Held(row, row.sequence)

    def move(self, held: Held) -> None:
        """Start the task of an instance, or begin to write what it did."""
        if held.started:
            self.writing = held  # The host may pause, or lose its lease, before it does.
        held.started = True

    def write(self, held: Held) -> None:
        """Commit what a task did; let an instance that rests to others."""
        task = held.sequence + 1
        event = Complete(task, {"x": task})
        rests = task % 2 == 0 or task == TASKS  # It waits for a timer, or has ended.
        leaves = rests and self.world.random.random() < 0.5  # In the commit, or after it.
        try:
            with self.journal.transaction():
                state = state_after(task, self.world.now)
                changes = Changes([Entry(self.world.now, event, [])])
                self.journal.append_all([Append(held.row, held.sequence, state, changes, leaves)])
        except TakenOver:
            self.running.pop(held.row.number, None)
            return
        self.world.confirmed.append((held.row.number, task))
        held.sequence, held.started = task, False
        if rests:
            self.running.pop(held.row.number, None)
            if not leaves:
                self.journal.release([held.row])


def state_after(task: int, now: float) -> State:
    """Return the state after a task: each other one is followed by a timer."""
    if task == TASKS:
        return State("p", "completed")
    if task % 2:
        return State("p", activations={1: Activation(1, "t", 1, "working")})
    return State("p", activations={1: Activation(1, "t", 1, "waiting", wait=ForTimer(now + 2.0))})


@pytest.fixture(scope="module")
def connection() -> Iterator[WorldConnection]:
    opened = connect()
    yield opened
    opened.close()


def connect() -> WorldConnection:
    """Open a database in memory that asks its world for the time.

    A function that is defined again for each world would have all statements compiled again.
    """
    opened = sqlite3.connect(":memory:", isolation_level=None, factory=WorldConnection)
    opened.create_function("simulated_now", 0, lambda: opened.now())
    return opened


def simulate(seed: int, connection: WorldConnection, protocol: Protocol) -> None:
    """Play a seed, and check what has to hold at each moment and at the end."""
    world = World(seed, connection)
    world.calm = True
    world.hosts = [SimulatedHost(world, protocol) for _ in range(world.random.choice((2, 3)))]
    for table in ("instances", "events", "hosts", "inbox"):
        connection.execute(f"DELETE FROM {table}")
    journal = world.hosts[0].journal
    with journal.transaction():
        rows = [journal.create("p", "d", {}, "", world.now) for _ in range(3)]
    world.numbers = [each.number for each in rows]
    world.calm = False
    for _ in range(STEPS):
        one_step(world)
    world.calm = True
    for _ in range(400):
        one_step(world)
        if all(each[0] == "completed" for each in statuses(connection)):
            break
    check_end(world, connection, rows)


def one_step(world: World) -> None:
    """Let a host do something, after a time; sometimes it crashes, or stands still for long."""
    world.now += world.random.choice((0.01, 0.1, 1.0))
    host = world.random.choice(world.hosts)
    if not world.calm:
        fate = world.random.random()
        if fate < 0.03:
            host.crash()
        elif fate < 0.08:
            host.paused = world.now + world.random.choice((1.0, 7.0, 20.0))
    if host.paused <= world.now or world.calm:
        host.step()
    world.check_one_owner()


def statuses(connection: WorldConnection) -> list[tuple[str]]:
    return connection.execute("SELECT phase FROM instances").fetchall()


def check_end(world: World, connection: WorldConnection, rows: list[Row]) -> None:
    """All is done, once, in order; and nothing that a host was told is done is missing."""
    assert {status for (status,) in statuses(connection)} == {"completed"}, "an instance is stuck"
    journal = world.hosts[0].journal
    for row in rows:
        done = [event.id for _, event, _ in journal.events(row)]
        assert done == list(range(1, TASKS + 1)), f"instance {row.number} did {done}"
    assert len(world.confirmed) == len(set(world.confirmed)), "something was done twice"
    ended = {(row.number, task) for row in rows for task in range(1, TASKS + 1)}
    assert set(world.confirmed) <= ended


def seeds(default: int, first: int = 0) -> range:
    """Return the seeds to play: one, so many, or those from `first` up to `default`."""
    if one := os.environ.get("MLKIT_SIMULATE_SEED"):
        return range(int(one), int(one) + 1)
    if many := os.environ.get("MLKIT_SIMULATE_SEEDS"):
        return range(int(many))
    return range(first, default)


def play(connection: WorldConnection, protocol: Protocol, numbers: range) -> None:
    """Play seeds; a failure says which one."""
    for seed in numbers:
        try:
            simulate(seed, connection, protocol)
        except AssertionError as error:
            raise AssertionError(f"MLKIT_SIMULATE_SEED={seed} plays it again: {error}") from error


def test_hosts_keep_what_they_promise(connection):
    play(connection, Protocol(), seeds(SHORT))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", [MANY, pytest.param(NIGHTLY, marks=pytest.mark.nightly)])
def test_hosts_keep_what_they_promise_for_many_seeds(connection, number):
    play(connection, Protocol(), seeds(number, SHORT))


@pytest.mark.parametrize(
    "wrong",
    [Protocol(journal=Unfenced), Protocol(owner=Undying), Protocol(owner=Impatient)],
    ids=["no fence", "no end of a lease", "no regard for leases"],
)
def test_a_wrong_protocol_is_caught(connection, wrong):
    with pytest.raises(AssertionError, match="plays it again"):
        play(connection, wrong, range(2000))
