"""Deterministic simulation of the outbox and of schedules: what one seed does can be done again.

The sender, the outbox, the scheduler's step and the schedules are the real ones. Between any two
transactions the other hosts may act, and a host may stand still for long or die, as the seed says.
`MLKIT_SIMULATE_SEED=N` plays one seed, `MLKIT_SIMULATE_SEEDS=N` so many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from bpmn.conftest import diagram

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.definition.start_timers import of_process
from mlkit.bpmn.journal.notices import Mail, NewMail, Notice
from mlkit.bpmn.journal.records import Scheduled
from mlkit.bpmn.journal.sql.journal import SqlJournal
from mlkit.bpmn.journal.sql.leases import LeaseOwner
from mlkit.bpmn.journal.sql.outbox import SqlOutbox
from mlkit.bpmn.journal.sql.schedules import SqlSchedules
from mlkit.bpmn.mail import sender
from mlkit.bpmn.mail.composition import Written
from mlkit.bpmn.mail.smtp import Deferred, Undelivered
from mlkit.bpmn.runtime import scheduler
from mlkit.errors import ServiceUnavailable
from tests.bpmn.journal.test_simulation import (
    LEASE,
    SimulatedDatabase,
    World,
    WorldConnection,
    connect,
    seeds,
)

SHORT, MANY = 40, 300
NOTICES = 4
TIMES = 6
PEOPLE = ("ann", "bob")


class Crashed(BaseException):
    """The host is gone, in the middle of what it did."""


class Sent(NamedTuple):
    """A mail that the server has taken, with the mishaps until its sender began, and until then."""

    message: str
    begun: int
    until: int


class Town(World):
    """Hosts that act between the steps of one another.

    Attributes:
        mishaps: How often a host has crashed, stood still, or lost an answer.
        begun: The mishaps when each of the hosts began that act now, the innermost last.
        sent: What the mail server has taken, in order.
    """

    def __init__(self, seed: int, connection: WorldConnection) -> None:
        super().__init__(seed, connection)
        self.acting: list[Acting] = []
        self.mishaps = 0
        self.begun: list[int] = []
        self.sent: list[Sent] = []

    def between(self) -> None:
        """Let others act, time pass, or the host die that is in the middle of something."""
        fate = 1.0 if self.calm else self.random.random()
        if fate < 0.04:
            self.mishaps += 1
            raise Crashed
        if fate < 0.08:
            self.mishaps += 1
            self.now += 2 * sender.LEASE
        idle = [each for each in self.acting if not each.is_busy]
        if fate < 0.4 and idle:
            self.random.choice(idle).act()


class InterleavedDatabase(SimulatedDatabase):
    """A connection whose transactions others act before and after."""

    world: Town

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do a transaction."""
        self.world.between()
        with super().transaction():
            yield
        self.world.between()


class Acting:
    """A host: it does one thing at a time, and comes back as another process when it has died."""

    def __init__(self, world: Town, work: Callable[[SqlJournal], None]) -> None:
        self.world, self.work = world, work
        self.is_busy = False
        database = InterleavedDatabase(world)
        self.journal = SqlJournal(database, LeaseOwner(database, LEASE, lambda: world.now), Path())

    def act(self) -> None:
        """Do what is to do, as far as it goes."""
        self.is_busy = True
        self.world.begun.append(self.world.mishaps)
        try:
            self.work(self.journal)
        except Crashed:
            self.journal.disown()
        except ServiceUnavailable:
            self.world.mishaps += 1
        finally:
            self.world.begun.pop()
            self.is_busy = False


@pytest.fixture(scope="module")
def connection() -> Iterator[WorldConnection]:
    opened = connect()
    yield opened
    opened.close()


def town(
    seed: int,
    connection: WorldConnection,
    work: Callable[[Town], Callable[[SqlJournal], None]],
) -> Town:
    """Return a world of two or three hosts, whose tables are empty."""
    world = Town(seed, connection)
    world.calm = True
    does = work(world)
    world.acting = [Acting(world, does) for _ in range(world.random.choice((2, 3)))]
    for table in ("instances", "notices", "mails", "schedules", "hosts"):
        connection.execute(f"DELETE FROM {table}")
    return world


def play(world: Town, is_over: Callable[[], bool]) -> None:
    """Let hosts act while all goes wrong, and then until all is done."""
    world.calm = False
    for _ in range(15):
        world.now += world.random.choice((0.1, 1.0, 20.0))
        world.random.choice(world.acting).act()
    world.calm = True
    for _ in range(400):
        if is_over():
            return
        world.now += 30.0
        world.random.choice(world.acting).act()
    raise AssertionError("it does not come to an end")


# -- mail --------------------------------------------------------------------------------------


class Composer:
    """Writes the same mail for the same notice."""

    def mails(self, notice: Notice, now: float) -> list[NewMail]:
        names = [(f"{notice.id}-{person}", person) for person in PEOPLE]
        return [NewMail(name, "task", 1, 1, person, f"{person}@x") for name, person in names]

    def message(self, mail: Mail, now: float) -> Written:
        return Written(mail.message, mail.recipient)


class Connection:
    """A mail server that is away or busy at times, and may take a mail before a host dies."""

    world: Town

    def __init__(self, server: object) -> None:
        self.fate = 1.0 if self.world.calm else self.world.random.random()

    def __enter__(self) -> Connection:
        if self.fate < 0.1:
            raise Undelivered("away")
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def send(self, message: str, recipient: str) -> None:
        self.world.between()
        if self.fate < 0.2:
            raise Deferred("busy")
        self.world.sent.append(Sent(message, self.world.begun[-1], self.world.mishaps))
        self.world.between()


class Hasty(sender.Sender):
    """Records a mail as sent before it is: wrong on purpose."""

    def _send_one(self, connection, mail, outcome) -> None:
        self._settle(mail, "sent")
        with suppress(Deferred):
            connection.send(mail.message, mail.recipient)


class Greedy(SqlOutbox):
    """Regards no lease: wrong on purpose."""

    @property
    def _free(self) -> str:
        return f"state = 'queued' AND due <= {self.database.clock}"

    def renew(self, mail, owner, seconds) -> bool:
        return True


class Ruthless(SqlOutbox):
    """Takes what senders that live have claimed: wrong on purpose."""

    def __init__(self, database, is_alive) -> None:
        super().__init__(database, lambda name: False)


def send_mail(seed, connection, monkeypatch, sends=sender.Sender, outbox=SqlOutbox) -> None:
    """Play a seed: each mail is sent, and again only where something went wrong."""

    def work(world: Town):
        def act(journal: SqlJournal) -> None:
            each = sends.__new__(sends)
            each.journal, each.outbox = journal, outbox(journal.database, journal.owner.is_alive)
            each.composer, each.server, each.name = Composer(), None, ""
            each._has_looked = False
            if not journal.holds():
                journal.disown()
            each.step()

        return act

    world = town(seed, connection, work)
    monkeypatch.setattr(sender, "time", SimpleNamespace(time=lambda: world.now))
    monkeypatch.setattr(sender, "random", world.random)
    monkeypatch.setattr(sender, "Connection", type("Server", (Connection,), {"world": world}))
    journal = world.acting[0].journal
    with journal.transaction():
        for number in range(NOTICES):
            journal.outbox.notice(1, number, "task", world.now)
    play(world, lambda: set(journal.outbox.counts().values()) == {0, NOTICES * len(PEOPLE)})
    mails = journal.outbox.mails()
    assert {each.state for each in mails} == {"sent"}
    assert {each.message for each in mails} == {each.message for each in world.sent}, "one is lost"
    for number, each in enumerate(world.sent):
        before = [e.begun for e in world.sent[:number] if e.message == each.message]
        # A mishap, of this sender or since one before began, is the only reason to send it again.
        has_reason = each.begun < each.until or all(begun < each.until for begun in before)
        assert has_reason, f"{each.message} was sent twice"


# -- schedules ---------------------------------------------------------------------------------


class Unguarded(SqlSchedules):
    """Writes over what another host has done: wrong on purpose."""

    def update(self, before: Scheduled, after: Scheduled) -> bool:
        now = self.require(before.timer.process, before.timer.element)
        return super().update(now, after)


class Starter:
    """Begins instances that do nothing."""

    def __init__(self, world: Town) -> None:
        self.world = world

    def start(self, journal: SqlJournal, request: object):
        return journal.create("p", "d", {}, "", self.world.now)


def start_on_time(seed, connection, overlap="allow", schedules=SqlSchedules) -> None:
    """Play a seed: each due time starts one instance, one after the other where it says so."""

    def work(world: Town):
        def act(journal: SqlJournal) -> None:
            connection.execute("UPDATE instances SET phase = 'completed'")
            now, found = world.now, journal.schedules.due(world.now)
            with journal.transaction():
                for each in found:
                    scheduler.step(journal, Starter(world), each, now)
            ((running,),) = connection.execute(
                "SELECT count(*) FROM instances WHERE phase != 'completed'"
            )
            assert overlap == "allow" or running <= 1, "two instances of a queue run"

        return act

    world = town(seed, connection, work)
    for each in world.acting:
        each.journal.schedules = schedules(each.journal.database)
    journal = world.acting[0].journal
    timer = f"<timerEventDefinition><timeCycle>R{TIMES}/PT5S</timeCycle></timerEventDefinition>"
    xml = diagram(f'<startEvent id="s">{timer}</startEvent><endEvent id="e"/>', "s>e")
    (found,) = of_process(parse_text(xml.encode(), Path("p.bpmn")).processes[0], world.now)
    with journal.transaction():
        journal.schedules.replace("p", [replace(found, misfire="all", overlap=overlap)])

    def is_over() -> bool:
        (left,) = journal.schedules.all()
        return left.timer.due is None and not left.queued

    play(world, is_over)
    ((begun,),) = connection.execute("SELECT count(*) FROM instances")
    assert begun == TIMES, f"{begun} starts at {TIMES} times"


# -- seeds -------------------------------------------------------------------------------------


def each_seed(numbers: range, simulate: Callable[[int], None]) -> None:
    """Play seeds; a failure says which one."""
    for seed in numbers:
        try:
            simulate(seed)
        except AssertionError as error:
            raise AssertionError(f"MLKIT_SIMULATE_SEED={seed} plays it again: {error}") from error


MANY_SEEDS = pytest.param(MANY, marks=pytest.mark.slow)


@pytest.mark.parametrize("count", [SHORT, MANY_SEEDS])
def test_each_mail_is_sent_at_least_once(connection, monkeypatch, count):
    each_seed(seeds(count), lambda seed: send_mail(seed, connection, monkeypatch))


@pytest.mark.parametrize("overlap", ["allow", "queue"])
@pytest.mark.parametrize("count", [SHORT, MANY_SEEDS])
def test_each_due_time_starts_once(connection, count, overlap):
    each_seed(seeds(count), lambda seed: start_on_time(seed, connection, overlap))


@pytest.mark.parametrize(
    "wrong",
    [{"sends": Hasty}, {"outbox": Greedy}, {"outbox": Ruthless}],
    ids=["recorded first", "no regard for leases", "no regard for life"],
)
def test_a_wrong_sender_is_caught(connection, monkeypatch, wrong):
    with pytest.raises(AssertionError, match="plays it again"):
        each_seed(range(MANY), lambda seed: send_mail(seed, connection, monkeypatch, **wrong))


def test_a_schedule_without_its_guard_is_caught(connection):
    with pytest.raises(AssertionError, match="plays it again"):
        each_seed(range(MANY), lambda seed: start_on_time(seed, connection, schedules=Unguarded))
