"""What every back end of the journal must do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from mlkit.bpmn.engine.events import Cancel, Claim, Complete, Receive, Retry, Signal, Start
from mlkit.bpmn.engine.state import Activation, Scope, State
from mlkit.bpmn.engine.waits import ForMessage, ForPerson, ForRetry, ForTimer, Incident
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.listings import Criteria, Word
from mlkit.bpmn.journal.notices import NewMail
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import (
    Append,
    Changes,
    Damaged,
    Deployed,
    Entry,
    Row,
    RunningAttempt,
    TakenOver,
)
from mlkit.bpmn.journal.sql import found_tasks
from mlkit.errors import InputMissing, UsageError


@dataclass
class Hosts:
    """Processes that use one journal; each has a connection and is an owner of its own."""

    open: Callable[[], Journal]
    opened: list[Journal] = field(default_factory=list)

    def host(self) -> Journal:
        self.opened.append(self.open())
        return self.opened[-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def hosts(request, tmp_path) -> Iterator[Hosts]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    found = Hosts(lambda: open_journal(tmp_path / "state", create=True, url=url))
    yield found
    for each in found.opened:
        each.close()


@pytest.fixture
def journal(hosts) -> Journal:
    return hosts.host()


def begin(journal: Journal, key: str = "") -> Row:
    with journal.transaction():
        name = journal.store_definition("p.bpmn", b"<x/>", {"a.py": "x = 1"})
        return journal.create("p", name, {"folder": "/x"}, key, 5.0)


def running(journal: Journal, row: Row) -> Row:
    owned = journal.own(row)
    assert owned is not None
    return owned


def append(journal: Journal, row: Row, sequence: int, status: str = "running", **changes) -> int:
    entries = [Entry(7.0, Start({"x": 1}), [])]
    with journal.transaction():
        return journal.append(row, sequence, State("p", status), Changes(entries, **changes))


def append_state(journal: Journal, row: Row, sequence: int, state: State) -> int:
    with journal.transaction():
        return journal.append(row, sequence, state, Changes([Entry(7.0, Start(), [])]))


def test_a_definition_is_kept_once_by_its_hash(journal):
    with journal.transaction():
        first = journal.store_definition("p.bpmn", b"<x/>", {"a.py": "x = 1"})
        assert journal.store_definition("p.bpmn", b"<x/>", {"a.py": "x = 1"}) == first
        assert journal.store_definition("p.bpmn", b"<x/>", {"a.py": "x = 2"}) != first
    assert journal.definition(first) == ("p.bpmn", b"<x/>", {"a.py": "x = 1"})
    with pytest.raises(InputMissing):
        journal.definition("0" * 64)


def test_an_instance_is_found_by_its_id_and_the_beginning_of_it(journal):
    row = begin(journal, "k")
    for name in (row.id, row.id[:4]):
        assert journal.find(name).number == row.number
    assert journal.get(row.number).key == "k"
    assert [each.id for each in journal.rows()] == [row.id]
    unknown = "0000" if not row.id.startswith("0000") else "ffff"
    with pytest.raises(InputMissing):
        journal.find(unknown)


@pytest.mark.parametrize("name", ["", "%", "____", "abc", "xyzw", "'; --", "ABCD"])
def test_what_is_no_id_names_no_instance(journal, name):
    begin(journal)
    with pytest.raises(UsageError):
        journal.find(name)


def test_a_block_that_fails_leaves_nothing(journal):
    def create_and_fail():
        with journal.transaction():
            journal.create("p", "d", {}, "", 1.0)
            raise KeyError

    with pytest.raises(KeyError):
        create_and_fail()
    assert journal.rows() == []


def test_events_come_back_in_order_with_their_times(journal):
    row = running(journal, begin(journal))
    assert append(journal, row, 0) == 1
    assert append(journal, row, 1) == 2
    assert [(at, event) for at, event, _ in journal.events(row)] == [(7.0, Start({"x": 1}))] * 2


class Counted:
    """An engine whose states count the events that were applied."""

    def create(self) -> State:
        return State("p")

    def apply(self, state: State, event: object, at: float, replayed: bool) -> None:
        state.sequence += 1


def test_instances_that_are_read_together_are_replayed_as_one_by_one(journal):
    rows = [running(journal, begin(journal)) for _ in range(103)]
    for number, row in enumerate(rows[:5]):
        for sequence in range(number):
            append(journal, row, sequence)
    engine = Counted()
    together = [
        (row, journal.replay(row, engine, read)) for row, read in journal.load_recorded(rows)
    ]
    assert [row for row, _ in together] == rows
    alone = [journal.replay(row, engine) for row in rows]
    counted = [(state.sequence, sequence) for _, (state, sequence) in together]
    assert counted == [(state.sequence, sequence) for state, sequence in alone]
    assert counted[:6] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (0, 0)]
    assert list(journal.load_recorded([])) == []


def test_what_was_read_together_is_followed_from_where_a_state_is(journal):
    rows = [running(journal, begin(journal)) for _ in range(2)]
    for row in rows:
        for sequence in range(3):
            append(journal, row, sequence)
    for row, read in journal.load_recorded(rows):
        for after in range(4):
            alone = list(journal.follow(row, Counted(), State("p"), after))
            assert list(journal.follow(row, Counted(), State("p"), after, read)) == alone
            assert [number for number, _ in alone] == list(range(after + 1, 4))


def test_of_instances_that_are_read_together_only_the_damaged_one_is_refused(journal):
    rows = [running(journal, begin(journal)) for _ in range(3)]
    for row in rows:
        append(journal, row, append(journal, row, 0))
    journal.database.execute(
        "DELETE FROM events WHERE instance = ? AND sequence = 1", (rows[1].number,)
    )
    found = dict(zip("abc", journal.load_recorded(rows), strict=True))
    for name in "ac":
        row, read = found[name]
        assert journal.replay(row, Counted(), read)[1] == 2
    with pytest.raises(Damaged, match="events are missing"):
        journal.replay(found["b"][0], Counted(), found["b"][1])


def test_rows_are_found_by_their_numbers(journal):
    one, two, three = (begin(journal) for _ in range(3))
    assert [each.id for each in journal.rows_of([three.number, one.number])] == [one.id, three.id]
    assert [each.id for each in journal.rows_of([two.number, 10**9])] == [two.id]
    assert journal.rows_of([]) == []


def test_one_owner_at_a_time(hosts):
    one, two = hosts.host(), hosts.host()
    row = begin(one)
    mine = running(one, row)
    assert two.own(row) is None
    assert two.is_owned(row)
    one.release([mine])
    assert not two.is_owned(row)
    assert running(two, row).epoch == mine.epoch + 1


def test_a_closed_host_loses_what_it_owned(hosts):
    one, two = hosts.host(), hosts.host()
    row = begin(one)
    running(one, row)
    hosts.opened.remove(one)
    one.close()
    assert not two.is_owned(row)
    assert two.own(row) is not None


def test_whoever_was_taken_over_writes_nothing(hosts):
    one, two = hosts.host(), hosts.host()
    old = running(one, begin(one))
    one.release([old])
    new = running(two, old)
    with two.transaction():
        number = two.mailbox.deliver(new.number, Claim(1, "ann"), asks=True)
    with pytest.raises(TakenOver):
        append(one, old, 0, verdicts={number: ""})
    assert list(two.events(new)) == []
    assert [each.event for each in two.mailbox.inbox([new.number])] == [Claim(1, "ann")]
    assert append(two, new, 0) == 1
    # One who has not seen the last event writes nothing either.
    with pytest.raises(TakenOver):
        append(two, new, 0)


def test_a_commit_of_several_instances_is_refused_as_a_whole(hosts):
    """The one that was taken over is named, so that the others can be written without it."""
    one, two = hosts.host(), hosts.host()
    rows = [running(one, begin(one)) for _ in range(3)]
    taken = running(one, rows[1])  # A new epoch, as another host has it that took it over.
    appends = [
        Append(row, 0, State("p", "completed"), Changes([Entry(7.0, Start({"x": 1}), [])]))
        for row in rows
    ]
    with pytest.raises(TakenOver) as refused, one.transaction():
        one.append_all(appends)
    assert refused.value.number == taken.number
    assert [list(two.events(row)) for row in rows] == [[], [], []]
    with one.transaction():
        done = one.append_all([appends[2], appends[0]])
    assert done == {rows[0].number: 1, rows[2].number: 1}
    assert [two.get(row.number).status for row in rows] == ["completed", "running", "completed"]


def test_an_event_that_is_taken_by_the_last_step_is_not_refused_by_the_end(journal):
    """What ends first in a commit does not decide the inboxes of the others."""
    rows = [running(journal, begin(journal)) for _ in range(2)]
    with journal.transaction():
        asked = [journal.mailbox.deliver(row.number, Claim(1, "ann"), asks=True) for row in rows]
        late = [journal.mailbox.deliver(row.number, Claim(2, "bob"), asks=True) for row in rows]
    verdicts = [{}, {asked[1]: ""}]
    with journal.transaction():
        journal.append_all(
            [
                Append(row, 0, State("p", "completed"), Changes([Entry(7.0, Start(), [])], taken))
                for row, taken in zip(rows, verdicts, strict=True)
            ]
        )
    said = [journal.mailbox.verdict(number) for number in (*asked, *late)]
    assert said[1] == ""
    assert all(f"instance {rows[n % 2].id} is completed" == said[n] for n in (0, 2, 3))


def test_an_instance_whose_owner_is_gone_is_interrupted(hosts):
    one, two = hosts.host(), hosts.host()
    row = running(one, begin(one))
    with one.transaction():
        state = State("p")
        one.append(row, 0, state, Changes([Entry(1.0, Start(), [])]))
    # Tokens that neither work nor wait are an incident; what was only created runs.
    fresh = running(one, begin(one))
    assert two.get(fresh.number).status == "running"
    hosts.opened.remove(one)
    one.close()
    assert two.get(fresh.number).status == "interrupted"
    assert two.get(fresh.number).is_open


def numbers(rows: list[Row]) -> list[int]:
    return [each.number for each in rows]


def waits(journal: Journal, due: float | None = None) -> Row:
    """Add an instance that rests at a user task, or at a timer, and that nobody owns."""
    row = running(journal, begin(journal))
    task = Activation(1, "t", 1, "waiting", wait=None if due is None else ForTimer(due))
    with journal.transaction():
        journal.append(
            row, 0, State("p", activations={1: task}), Changes([Entry(1.0, Start(), [])])
        )
    journal.release([row])
    return journal.get(row.number)


def test_what_rests_is_no_work_until_something_comes_for_it(hosts):
    one, two = hosts.host(), hosts.host()
    row = waits(one)
    assert (row.status, row.due) == ("waiting", None)
    assert two.work(1e9, 10) == []
    with one.transaction():
        one.mailbox.deliver(row.number, Claim(1, "ann"))
    assert numbers(two.work(1e9, 10)) == [row.number]
    (taken,) = two.take([row])
    assert one.work(1e9, 10) == []
    two.release([taken])
    assert numbers(one.work(1e9, 10)) == [row.number]


def test_a_timer_that_is_due_is_work(hosts):
    one, two = hosts.host(), hosts.host()
    late, soon = waits(one, 200.0), waits(one, 100.0)
    assert (late.due, soon.due) == (200.0, 100.0)
    assert two.next_due() == 100.0
    assert two.work(99.0, 10) == []
    assert numbers(two.work(100.0, 10)) == [soon.number]
    assert len(two.work(200.0, 10)) == 2
    assert len(two.work(200.0, 1)) == 1
    assert numbers(two.work(200.0, 10, without=[late.number])) == [soon.number]
    (taken,) = two.take([soon])
    assert one.next_due() == 200.0
    append(two, taken, taken.sequence, "completed")
    assert two.get(soon.number).due is None


def test_what_was_begun_is_work_and_what_ended_is_not(hosts):
    one, two = hosts.host(), hosts.host()
    row = begin(one)
    assert numbers(two.work(0.0, 10)) == [row.number]
    taken = running(two, row)
    assert one.work(0.0, 10) == []
    append(two, taken, 0, "completed")
    two.release([taken])
    assert one.work(0.0, 10) == []


def test_what_a_dead_host_ran_is_work(hosts):
    one, two = hosts.host(), hosts.host()
    row = running(one, begin(one))
    task = Activation(1, "t", 1, "working")
    with one.transaction():
        one.append(row, 0, State("p", activations={1: task}), Changes([Entry(1.0, Start(), [])]))
    assert two.work(0.0, 10) == []
    hosts.opened.remove(one)
    one.close()
    assert numbers(two.work(0.0, 10)) == [row.number]
    assert two.take([row])[0].epoch == row.epoch + 1


def test_several_are_taken_at_once_but_not_those_of_another(hosts):
    one, two = hosts.host(), hosts.host()
    rows = [begin(one) for _ in range(3)]
    assert numbers(one.take(rows[:1])) == [rows[0].number]
    assert numbers(two.take(reversed(rows))) == [rows[1].number, rows[2].number]
    assert one.holds()
    assert one.renew()


def test_what_a_host_owns_and_does_not_run_is_found_again(hosts):
    one, two = hosts.host(), hosts.host()
    row = running(one, begin(one))  # Suppose that the answer was lost.
    assert numbers(one.work(0.0, 10)) == [row.number]
    assert one.work(0.0, 10, without=[row.number]) == []
    assert two.work(0.0, 10) == []
    assert running(one, row).epoch == row.epoch + 1


def test_what_a_host_begins_is_its_own_from_the_first_moment_on(hosts):
    one, two = hosts.host(), hosts.host()
    one.register()
    other = waits(two)
    with one.gathering(adopts=True) as arrivals, one.transaction():
        row = one.create("p", "d", {}, "", 1.0)
        one.mailbox.enqueue(row.number, Start({"x": 1}))
        one.mailbox.deliver(other.number, Claim(1, "ann"))
    assert (arrivals.created, arrivals.delivered) == ([row], {row.number, other.number})
    assert one.get(row.number) == row
    assert two.is_owned(row)
    assert numbers(two.work(1.0, 10)) == [other.number]
    assert append(one, row, 0) == 1
    hosts.opened.remove(one)
    one.close()
    assert row.number in numbers(two.work(1.0, 10))
    with two.gathering(adopts=False) as arrivals, two.transaction():
        free = two.create("p", "d", {}, "", 1.0)
    assert (arrivals.created, two.is_owned(free)) == ([], False)
    two.register()
    with two.gathering(adopts=True) as arrivals:
        with contextlib.suppress(LookupError), two.transaction():
            two.create("p", "d", {}, "", 1.0)
            raise LookupError
        arrivals.clear()
        with two.transaction():
            again = two.create("p", "d", {}, "", 1.0)
    assert arrivals.created == [again]


def test_those_that_are_free_are_taken_in_the_transaction_of_a_delivery(hosts):
    one, two = hosts.host(), hosts.host()
    one.register()
    free, owned, ended = waits(two), running(two, begin(two)), running(two, begin(two))
    append(two, ended, 0, "completed")
    two.release([ended])
    with contextlib.suppress(LookupError), one.transaction():
        assert numbers(one.take_free([free.number])) == [free.number]
        raise LookupError
    assert not one.is_owned(free)
    with one.transaction():
        one.mailbox.deliver(free.number, Claim(1, "ann"))
        assert one.take_free([]) == []
        (taken,) = one.take_free([free.number, owned.number, ended.number])
    assert (taken.number, taken.epoch, taken.sequence) == (free.number, free.epoch + 1, 1)
    assert two.is_owned(free)
    assert numbers(two.work(1e9, 10, [owned.number])) == []


def test_a_commit_may_leave_an_instance_to_anybody(hosts):
    one, two = hosts.host(), hosts.host()
    rests, goes_on = (running(one, begin(one)) for _ in range(2))
    with one.transaction():
        one.append_all(
            [
                Append(
                    row, 0, State("p"), Changes([Entry(7.0, Start(), [])]), releases=row is rests
                )
                for row in (rests, goes_on)
            ]
        )
    assert [two.is_owned(each) for each in (rests, goes_on)] == [False, True]
    assert numbers(two.take([rests, goes_on])) == [rests.number]
    with pytest.raises(TakenOver):
        append(one, rests, 1)


def test_a_version_that_a_transaction_adds_is_the_newest_in_it(journal):
    def deployed(definition: str) -> Deployed:
        return Deployed("p", definition, "P", "p.bpmn", {}, 1.0, "ann")

    with journal.transaction():
        journal.deployments.add(deployed("a"))
        assert journal.deployments.require("p").version == 1
        journal.deployments.add(deployed("b"))
        newest = journal.deployments.require("p")
        assert (newest.version, newest.definition) == (2, "b")
        first = journal.deployments.of_definition("p", "a")
        assert first is not None
        assert first.version == 1
    assert journal.deployments.require("p") == newest


def test_a_message_meets_a_subscription_that_is_made_at_the_same_time(hosts):
    one = hosts.host()
    row, sent = begin(one), []

    def send():
        two = hosts.open()
        with two.transaction():
            sent.append(two.mailbox.send("paid", "k", {"n": 1}, 1e12))
        two.close()

    with one.transaction():
        one.mailbox.subscribe(row.number, 3, "paid", "k", 0.0)
        other = threading.Thread(target=send)
        other.start()
        time.sleep(0.2)  # It waits for us, however long that takes.
    other.join()
    assert sent == [row.number]
    assert [each.event for each in one.mailbox.inbox([row.number])] == [Receive(3, {"n": 1})]


def test_a_key_of_a_client_that_two_hosts_are_given_at_once_starts_once(hosts):
    one = hosts.host()
    found: list[object] = []

    def start() -> None:
        two = hosts.open()
        with two.transaction():
            found.append(two.deployments.started("k"))
        two.close()

    with one.transaction():
        assert one.deployments.started("k") is None
        row = one.create("p", one.store_definition("p.bpmn", b"<x/>", {}), {}, "", 5.0)
        other = threading.Thread(target=start)
        other.start()
        other.join(0.2)  # It waits for us, however long that takes.
        one.deployments.remember("k", "digest", row.number, 5.0)
    other.join()
    assert found == [("digest", row.number)]


def test_a_delivery_wakes_who_waits(hosts):
    one, two = hosts.host(), hosts.host()
    row = begin(one)
    while two.wait(0.1):
        pass
    with one.transaction():
        one.mailbox.deliver(row.number, Cancel())
    assert two.wait(30.0)
    assert not two.wait(0.05)


def test_an_event_is_delivered_once_and_its_verdict_kept_for_who_asks(journal):
    row = running(journal, begin(journal))
    other = begin(journal)
    with journal.transaction():
        asked = journal.mailbox.deliver(row.number, Complete(2, {"a": 1}, "ann"), asks=True)
        quiet = journal.mailbox.deliver(row.number, Cancel("late"))
        journal.mailbox.deliver(other.number, Cancel())
    found = journal.mailbox.inbox([row.number])
    assert [(each.row, each.event) for each in found] == [
        (asked, Complete(2, {"a": 1}, "ann")),
        (quiet, Cancel("late")),
    ]
    assert journal.mailbox.verdict(asked) is None
    append(journal, row, 0, verdicts={asked: "", quiet: "no"})
    assert journal.mailbox.inbox([row.number]) == []
    assert journal.mailbox.verdict(asked) == ""
    assert journal.mailbox.verdict(quiet) is None


def test_the_number_of_an_event_is_never_used_again(journal):
    row = running(journal, begin(journal))
    with journal.transaction():
        first = journal.mailbox.deliver(row.number, Cancel(), asks=True)
    append(journal, row, 0, verdicts={first: "no"})
    with journal.transaction():
        assert journal.mailbox.deliver(row.number, Cancel(), asks=True) > first


def test_what_is_in_the_inbox_of_an_ended_instance_is_refused(journal):
    row = running(journal, begin(journal))
    with journal.transaction():
        late = journal.mailbox.deliver(row.number, Complete(1), asks=True)
    append(journal, row, 0, "completed")
    assert "is completed" in journal.mailbox.verdict(late)
    assert journal.get(row.number).status == "completed"


def test_a_message_goes_to_the_one_who_waits_else_to_the_first_who_will(journal):
    box, one, two = journal.mailbox, begin(journal), begin(journal)
    with journal.transaction():
        box.subscribe(one.number, 3, "paid", "k", 0.0)
        assert box.send("paid", "other", {"n": 1}, 100.0) is None
        assert box.send("paid", "k", {"n": 2}, 100.0) == one.number
        assert box.send("paid", "k", {"n": 3}, 100.0) is None
        box.subscribe(two.number, 4, "paid", "k", 50.0)
        box.subscribe(two.number, 5, "paid", "other", 150.0)
    assert [each.event for each in box.inbox([one.number])] == [Receive(3, {"n": 2})]
    assert [each.event for each in box.inbox([two.number])] == [Receive(4, {"n": 3})]


def test_a_message_for_several_is_refused(journal):
    box, row = journal.mailbox, begin(journal)
    with journal.transaction():
        box.subscribe(row.number, 3, "paid", "k", 0.0)
        box.subscribe(row.number, 4, "paid", "k", 0.0)
    with pytest.raises(UsageError, match="2 activities wait"), journal.transaction():
        box.send("paid", "k", {}, 100.0)
    with journal.transaction():
        box.unsubscribe(row.number, 4)
        assert box.send("paid", "k", {}, 100.0) == row.number


def test_a_signal_reaches_everybody_but_its_sender(journal):
    box, one, two = journal.mailbox, begin(journal), begin(journal)
    with journal.transaction():
        box.listen(one.number, 1, "stop")
        box.listen(two.number, 1, "stop")
        assert box.broadcast("stop", {"a": 1}, sender=one.number) == [two.number]
    assert [each.event for each in box.inbox([two.number])] == [Signal("stop", {"a": 1})]
    assert box.inbox([one.number]) == []


def test_stores_hold_the_last_value_and_who_set_it(journal):
    row = begin(journal)
    with journal.transaction():
        journal.stores.set("seen", 4)
        journal.stores.set("seen", {"n": [1, None]}, row.number, 9.0)
    assert journal.stores.get(["seen", "unset"]) == {"seen": {"n": [1, None]}, "unset": None}
    (stored,) = journal.stores.all()
    assert (stored.name, stored.instance, stored.updated) == ("seen", row.id, 9.0)


def test_tasks_that_are_assigned_alike_are_counted_and_the_oldest_come_first(journal):
    def person(since: float, assignee: str | None = None, groups: tuple[str, ...] = ()):
        wait = ForPerson(since, assignee=assignee, groups=list(groups))
        return Activation(1, "ask", 1, "waiting", wait=wait)

    waits = [person(3.0), person(1.0, groups=('a "b"',)), person(2.0), person(0.5, "ann")]
    rows = [running(journal, begin(journal)) for _ in waits]
    for row, task in zip(rows, waits, strict=True):
        with journal.transaction():
            changes = Changes([Entry(1.0, Start(), [])])
            journal.append(row, 0, State("p", activations={1: task}), changes)
    alike = {
        (each.task.process, each.task.assignee, *each.task.groups): (each.number, each.task)
        for each in journal.index.assignments()
    }
    assert {name: number for name, (number, _) in alike.items()} == {
        ("p", None): 2, ("p", None, 'a "b"'): 1, ("p", "ann"): 1
    }  # fmt: skip
    anybody, group, ann = (
        alike[each][1] for each in (("p", None), ("p", None, 'a "b"'), ("p", "ann"))
    )

    def oldest(*assigned, limit: int = 9) -> list[float]:
        return [each.since for each in journal.index.oldest_tasks(assigned, limit)]

    assert oldest(anybody, group, ann) == [0.5, 1.0, 2.0, 3.0]
    assert oldest(anybody, limit=1) == [2.0]
    assert oldest(group, ann) == [0.5, 1.0]
    assert oldest() == []


def test_a_fork_has_the_first_events_of_another(journal):
    row = running(journal, begin(journal))
    append(journal, row, append(journal, row, 0))
    with journal.transaction():
        new = journal.fork(row, 1, row.definition, {"forked": 1})
    assert (new.sequence, new.options) == (1, {"forked": 1})
    assert len(list(journal.events(new))) == 1


def test_an_instance_that_cannot_be_replayed_can_be_ended(journal):
    row = running(journal, begin(journal))
    append(journal, row, 0)
    with journal.transaction():
        journal.abandon(row, Cancel("broken"), 9.0)
    assert journal.get(row.number).status == "cancelled"
    assert journal.damage() == []


def test_instances_are_found_by_a_part_of_their_id_key_or_process_in_any_case(journal):
    made = [begin(journal, key) for key in ("Order_1", "ORDER%2", "other", "")]

    def found(text: str) -> list[int]:
        return [each.number for each in journal.index.search(Criteria(text=text), None, 10)]

    assert found("oRDeR") == [made[1].number, made[0].number]
    assert found("r%2") == [made[1].number]
    assert found("r_") == [made[0].number]
    assert found("!") == []
    assert found(made[3].id[2:].upper()) == [made[3].number]
    assert len(found("P")) == 4  # The key of their process.


def test_what_is_open_is_counted_by_element_and_the_last_end_comes_first(journal):
    asks = Activation(1, "ask", 1, "waiting", wait=ForPerson(1.0))
    stops = Activation(2, "work", 1, "incident", incident=Incident("no", "work"))
    made = [running(journal, begin(journal)) for _ in range(3)]
    sequences = []
    for row in made:
        open_ = State("p", activations={1: asks, 2: stops})
        with journal.transaction():
            changes = Changes([Entry(1.0, Start(), [])])
            sequences.append(journal.append(row, 0, open_, changes))
    index, definition = journal.index, made[0].definition
    assert index.count_open("p", definition) == {("ask", "person"): 3, ("work", "incident"): 3}
    assert index.count_open("p", "0" * 64) == {}
    assert index.list_last_ended(5) == []
    for at, position in ((20.0, 2), (30.0, 0)):
        with journal.transaction():
            changes = Changes([Entry(at, Cancel("enough"), [])])
            ended = State("p", "cancelled")
            journal.append(made[position], sequences[position], ended, changes)
    assert [each.number for each in index.list_last_ended(5)] == [made[0].number, made[2].number]
    assert [each.number for each in index.list_last_ended(1)] == [made[0].number]
    assert index.count_open("p", definition) == {("ask", "person"): 1, ("work", "incident"): 1}
    created = [made[position].created for position in (2, 0)]
    took = [at - begun for at, begun in zip((20.0, 30.0), created, strict=True)]
    (found,) = index.throughput(0.0)
    assert found[:4] == (0, "p", "cancelled", 2)
    assert found[4:] == pytest.approx((sum(took), max(took)))
    assert [each.number for each in index.throughput(25.0)] == [1]
    assert index.within({"other"}).throughput(0.0) == []


def test_tokens_are_counted_by_what_they_wait_for_and_go_with_their_instance(journal):
    row = running(journal, begin(journal))
    nodes = (
        Activation(1, "pause", 1, "waiting", wait=ForTimer(9e9)),
        Activation(2, "pause", 1, "waiting", "iteration", wait=ForTimer(9e9)),
        Activation(3, "mail", 1, "waiting", wait=ForMessage("reply", "k")),
        Activation(4, "choice", 1, children=[5]),
        Activation(5, "late", 1, "waiting", "branch", 4, wait=ForTimer(9e9)),
        Activation(6, "limit", 1, "waiting", "guard", 3, wait=ForTimer(9e9)),
        Activation(7, "work", 1, "working"),
        Activation(8, "inner", 1, body=2),
    )
    state = State("p", scopes={1: Scope(1, "p", arrived={"flow": 2})})
    state.activations = {each.id: each for each in nodes}
    sequence = append_state(journal, row, 0, state)
    waiting = {
        ("pause", "timer"): 2, ("mail", "message"): 1, ("choice", "event"): 1, ("flow", "join"): 2
    }  # fmt: skip
    assert journal.index.count_open("p", row.definition) == waiting
    suspended = msgspec.structs.replace(state, suspended=True)
    sequence = append_state(journal, row, sequence, suspended)
    held = {
        (element, "join" if kind == "join" else "suspended"): count
        for (element, kind), count in waiting.items()
    }
    assert journal.index.count_open("p", row.definition) == {**held, ("work", "suspended"): 1}
    append_state(journal, row, sequence, State("p", "completed"))
    assert journal.index.count_open("p", row.definition) == {}


def test_tasks_with_long_lists_of_people_are_each_found_and_counted(journal):
    many = [f"person-{number:04}" for number in range(400)]
    for since in (3.0, 1.0, 2.0):
        row = running(journal, begin(journal))
        task = Activation(1, "ask", 1, "waiting", wait=ForPerson(since, users=many))
        append_state(journal, row, 0, State("p", activations={1: task}))
    (found,) = journal.index.assignments()
    assert (found.number, found.task.users) == (3, many)
    assert [each.since for each in journal.index.oldest_tasks([found.task], 2)] == [1.0, 2.0]
    # Of very many assignments, the tasks of everybody are read by their age.
    others = [found.task._replace(assignee=str(number)) for number in range(200)]
    assert [e.since for e in journal.index.oldest_tasks([*others, found.task], 2)] == [1.0, 2.0]
    assert journal.index.oldest_tasks(others, 2) == []


def test_tasks_are_found_by_words_of_their_key_name_place_and_people(journal, monkeypatch):
    made = []
    for key, name, users in (
        ("Order-1", None, ["ann"]),
        ("ÄRGER 2", "Sign", ["bob"]),
        ("", "", []),
    ):
        row = running(journal, begin(journal))
        wait = ForPerson(1.0 + len(made), users=users, name=name, due="2030-01-0" + key[-1:])
        made.append(row)
        append_state(journal, row, 0, State("p", key=key, activations={
            1: Activation(1, "ask", 1, "waiting", wait=wait)
        }))  # fmt: skip
    index, place = journal.index, (made[0].definition, "ask")
    everybody = [each.task for each in index.assignments()]

    def found(*words: Word) -> list[int]:
        tasks = index.oldest_tasks(everybody, 9, words)
        assert sum(each.number for each in index.assignments(words)) == len(tasks)
        others = [tasks[0]._replace(assignee=str(n)) for n in range(200)] if tasks else []
        many = index.oldest_tasks([*others, *everybody], 9, words)
        assert [each.number for each in many] == [each.number for each in tasks]
        for most in (10_000, 0):  # They are few, or many.
            monkeypatch.setattr(found_tasks, "MOST", most)
            searched = index.find_tasks(words)
            assert sum(each.number for each in searched.assignments()) == len(tasks)
            assert searched.oldest(everybody, 9) == tasks
            assert searched.oldest(everybody, 1) == tasks[:1]
            assert searched.oldest([], 9) == []
            assert index.within({"q"}).find_tasks(words).assignments() == []
        return [made.index(next(e for e in made if e.number == task.number)) for task in tasks]

    def word(text: str, elements=(), unnamed=(), people=()) -> Word:
        return Word(text, list(elements), list(unnamed), list(people))

    assert found(word("order")) == [0]
    assert found(word("ärger")) == [1]
    assert found(word("sign")) == [1]
    assert found(word("01-02")) == [1]
    assert found(word(made[2].id[1:])) == [2]
    assert found(word("zzz")) == []
    assert found(word("zzz", elements=[place])) == [0, 1, 2]
    assert found(word("zzz", unnamed=[place])) == [0, 2]
    people = [each for each in everybody if each.users == ["ann"]]
    assert found(word("zzz", people=people)) == [0]
    assert found(word("zzz", elements=[place]), word("order")) == [0]
    assert [(e.definition, e.process, e.element) for e in index.elements_with_tasks()] == [
        (place[0], "p", "ask")
    ]
    assert index.within({"q"}).elements_with_tasks() == []


def test_those_that_have_moved_lately_are_found_whoever_has_moved_them(hosts):
    ours, theirs = hosts.host(), hosts.host()
    old, new = running(ours, begin(ours)), running(ours, begin(ours))
    append(ours, old, 0)  # At the time 7.
    entries = [Entry(9.0, Start(), []), Entry(9.5, Start(), [])]
    with ours.transaction():
        ours.append(new, 0, State("p", "completed"), Changes(entries))
    found = theirs.running_attempts.moved_since(8.0, 10)
    assert [(e.id, e.status, e.sequence, e.updated) for e in found] == [
        (new.id, "completed", 2, 9.5)
    ]
    assert [each.id for each in theirs.running_attempts.moved_since(0.0, 10)] == [new.id, old.id]
    assert [each.id for each in theirs.running_attempts.moved_since(0.0, 1)] == [new.id]


def test_what_waits_for_another_attempt_is_listed_until_it_begins(journal):
    waits = Activation(2, "work", 1, "pausing", attempt=1, wait=ForRetry(9e9, "no"))
    row = running(journal, begin(journal))
    with journal.transaction():
        changes = Changes([Entry(1.0, Start(), [])])
        sequence = journal.append(row, 0, State("p", activations={2: waits}), changes)
    index = journal.index
    [found] = index.retried("p", "work", (0, 0), 10)
    assert (found.instance, found.activation, found.attempt) == (row.id, 2, 1)
    assert (found.message, found.due) == ("no", 9e9)
    assert index.retried("q", None, (0, 0), 10) == index.retried(None, "u", (0, 0), 10) == []
    assert index.retried(None, None, (row.number, 2), 10) == []
    assert (index.retry_count(), index.within({"q"}).retry_count()) == (1, 0)
    begun = Activation(2, "work", 1, "working", attempt=2)
    with journal.transaction():
        changes = Changes([Entry(2.0, Retry(2), [])])
        journal.append(row, sequence, State("p", activations={2: begun}), changes)
    assert index.retry_count() == 0


def test_attempts_that_run_are_known_to_all_until_they_are_removed(journal):
    row = running(journal, begin(journal))
    first = RunningAttempt(2, "work", "", 1, 5.0, "here:1", "begun\0\n", "")
    again = first._replace(attempt=2, host="there:1", stdout="again\n")
    attempts = journal.running_attempts
    [moved] = attempts.moved([row.id, "0" * 8])
    assert (moved.id, moved.process, moved.printed) == (row.id, "p", None)
    for each, at in ((first, 6.0), (again, 7.0), (first, 8.0)):
        with journal.transaction():
            attempts.write([(row.number, each)], at)
    assert attempts.of(row) == [again]  # Who has lost the instance overwrites nothing.
    assert [each.printed for each in attempts.moved([row.id])] == [7.0]
    for attempt, left in ((1, [again]), (2, [])):
        with journal.transaction():
            attempts.remove([(row.number, 2, attempt)])
        assert attempts.of(row) == left


def test_an_attempt_that_cannot_be_read_is_damage_of_its_instance(journal):
    rows = [running(journal, begin(journal)) for _ in range(2)]
    attempt = RunningAttempt(2, "work", "", 1, 5.0, "here:1", "", "")
    with journal.transaction():
        journal.running_attempts.write([(each.number, attempt) for each in rows], 6.0)
    journal.database.execute(
        "UPDATE running_attempts SET content = ? WHERE instance = ?", (b"{oops", rows[0].number)
    )
    with pytest.raises(Damaged, match=f"{rows[0].id}: an attempt that runs is damaged"):
        journal.running_attempts.of(rows[0])
    assert journal.running_attempts.of(rows[1]) == [attempt]


def test_open_instances_are_listed_apart_from_those_that_have_ended(journal):
    asks = Activation(1, "ask", 1, "waiting", wait=ForPerson(1.0))
    waits = Activation(1, "time", 1, "waiting", wait=ForTimer(9e9))
    asking, waiting, ended, new = (running(journal, begin(journal)) for _ in range(4))
    with journal.transaction():
        for row, state in (
            (asking, State("p", activations={1: asks})),
            (waiting, State("p", activations={1: waits})),
            (ended, State("p", "completed")),
        ):
            journal.append(row, 0, state, Changes([Entry(1.0, Start(), [])]))
    assert [each.number for each in journal.open_rows()] == [
        asking.number, waiting.number, new.number,
    ]  # fmt: skip
    # What goes on may have come to a task that is not written yet.
    assert [each.number for each in journal.rows_with_tasks()] == [asking.number, new.number]


def test_a_session_that_one_host_has_ended_is_known_to_all_until_it_expires(hosts):
    one, other = hosts.host(), hosts.host()
    before = other.logouts.version()
    for session, expires, now in (("a", 100.0, 1.0), ("b", 50.0, 2.0), ("a", 100.0, 3.0)):
        with one.transaction():
            one.logouts.add(session, expires, now)
    assert other.logouts.version() != before
    assert other.logouts.all() == {"a": 100.0, "b": 50.0}
    with other.transaction():
        other.logouts.add("c", 200.0, 60.0)
    assert one.logouts.all() == {"a": 100.0, "c": 200.0}


def test_a_sender_whose_lease_is_over_records_only_what_it_has_sent(hosts):
    one, other = hosts.host(), hosts.host()
    with one.transaction():
        one.outbox.add([NewMail(name, "task", 1, 1, "ann", "ann@x") for name in "ab"], 1.0)
        late = one.outbox.claim("one", 2, 0.0)
    with other.transaction():
        assert len(other.outbox.claim("other", 2, 600.0)) == 2
    with one.transaction():
        one.outbox.settle(late[0], "one", "failed", "refused")
        one.outbox.settle(late[1], "one", "sent")
    assert {e.message: e.state for e in other.outbox.mails()} == {"a": "queued", "b": "sent"}
    with other.transaction():
        assert other.outbox.claim("third", 2, 600.0) == []
        other.outbox.settle(late[0], "other", "queued", "busy", 0.0)
    assert [(e.state, e.error) for e in other.outbox.mails("queued")] == [("queued", "busy")]
