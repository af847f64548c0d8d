"""Who owns an instance: what every back end of the journal must do for several hosts."""

from __future__ import annotations

import contextlib

import pytest
from contract.journals import append, append_state, begin, numbers, running, waits

from mlkit.bpmn.engine.events import Claim, Start
from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import ForTimer
from mlkit.bpmn.journal.notices import NewMail
from mlkit.bpmn.journal.records import (
    Append,
    Changes,
    Deployed,
    Entry,
    TakenOver,
)
from mlkit.bpmn.journal.sql import instances


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


def test_instances_that_are_created_together_are_there_at_once_and_in_order(hosts, monkeypatch):
    one = hosts.host()
    one.register()
    taken = begin(one)
    drawn = iter([taken.id, "00000001", "00000002", taken.id, *(f"0000001{n}" for n in range(9))])
    monkeypatch.setattr(instances.os, "urandom", lambda count: bytes.fromhex(next(drawn)))
    with one.gathering(adopts=True, here=set(), most=3) as arrivals, one.transaction():
        rows = [one.create("p", "d", {"tasks": {}}, f"k{n}", 1.0) for n in range(4)]
        assert one.get(rows[0].number) == rows[0]
        rows.append(one.create("p", "d", {"tasks": {}}, "k4", 1.0))
    assert arrivals.created == rows == one.rows_of([each.number for each in rows])
    assert [each.key for each in rows] == ["k0", "k1", "k2", "k3", "k4"]
    assert len({taken.id, *(each.id for each in rows)}) == 6
    later = begin(hosts.host())
    with one.gathering(adopts=True, most=3), one.transaction():
        last = one.create("p", "d", {}, "", 1.0)
    assert rows[-1].number < later.number < last.number


def test_nobody_waits_for_a_verdict_who_does_not_ask(hosts):
    one, two = hosts.host(), hosts.host()
    one.register()
    owned = running(two, begin(two))
    with one.gathering(adopts=True, here=set()) as arrivals, one.transaction():
        made = one.create("p", "d", {}, "", 1.0)
        for each in (made, owned):
            one.hand(each.number, Claim(1, "ann"), asks=False)
    assert [each.instance for each in arrivals.handed] == [made.number]
    ((row, number, _),) = two.mailbox.inbox([made.number, owned.number])
    assert number == owned.number
    assert append(two, owned, 0, verdicts={row: "no"}) == 1
    assert two.mailbox.verdict(row) is None


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


def test_what_a_sender_has_claimed_is_free_once_its_process_is_gone(hosts):
    one, two = hosts.host(), hosts.host()
    with one.transaction():
        one.outbox.add([NewMail("a", "task", 1, 1, "ann", "ann@x")], 1.0)
    name = one.register()
    with one.transaction():
        assert len(one.outbox.claim(name, 2, 600.0)) == 1
    assert two.outbox.find_abandoned() == []
    hosts.opened.remove(one)
    one.close()
    assert two.outbox.find_abandoned() == [name]
    with two.transaction():
        two.outbox.release([name])
        assert len(two.outbox.claim(two.register(), 2, 600.0)) == 1
    assert two.outbox.find_abandoned() == []


def test_events_for_what_a_transaction_has_made_or_claimed_come_into_no_inbox(hosts):
    one, two = hosts.host(), hosts.host()
    one.register()
    free, here, owned = waits(two), waits(two), running(two, begin(two))
    with one.gathering(adopts=True, here={here.number}) as arrivals, one.transaction():
        row = one.create("p", "d", {}, "", 1.0)
        assert one.claim(free.number).epoch == free.epoch + 1
        assert [one.claim(each.number).epoch for each in (free, here, owned)] == [
            free.epoch + 1, here.epoch, owned.epoch,
        ]  # fmt: skip
        handed = [one.hand(each.number, Claim(1, "ann")) for each in (row, free, free)]
        delivered = [one.hand(each.number, Claim(1, "ann")) for each in (here, owned)]
    assert len({*handed, *delivered}) == 5
    assert max(handed) < 0 < min(delivered)
    assert [(each.row, each.instance) for each in arrivals.handed] == [
        (handed[0], row.number), (handed[1], free.number), (handed[2], free.number),
    ]  # fmt: skip
    assert numbers(arrivals.taken) == [free.number]
    inbox = one.mailbox.inbox([row.number, free.number, here.number, owned.number])
    assert [each.row for each in inbox] == delivered
    # What was handed over is decided like all else, and leaves nothing that anybody reads.
    assert append(one, arrivals.taken[0], 1, verdicts={handed[1]: "", handed[2]: "no"}) == 2
    assert [one.mailbox.verdict(each) for each in handed] == [None, None, None]


def test_nothing_is_handed_over_where_nobody_applies_it(hosts):
    one, two = hosts.host(), hosts.host()
    one.register()
    free = waits(two)
    with one.gathering(adopts=True) as arrivals, one.transaction():
        made = one.create("p", "d", {}, "", 1.0)
        assert one.claim(free.number).epoch == free.epoch
        numbers_of = [one.hand(each.number, Claim(1, "ann")) for each in (made, free)]
    assert min(numbers_of) > 0
    assert (arrivals.taken, arrivals.handed) == ([], [])
    assert len(one.mailbox.inbox([made.number, free.number])) == 2


def test_lists_follow_an_instance_that_hosts_move_in_turns(hosts):
    one, two = hosts.host(), hosts.host()
    row = begin(one)

    dues = {"a": 9.0, "b": 8.0}

    def waits_at(element: str) -> State:
        task = Activation(1, element, 1, "waiting", wait=ForTimer(dues[element]))
        return State("p", key=element, activations={1: task})

    def listed() -> list[str]:
        found = one.database.query("SELECT element FROM tokens WHERE instance = ?", (row.number,))
        elements = [element for (element,) in found]
        known = one.get(row.number)
        assert [(known.key, known.due)] == [(e, dues[e]) for e in elements] or not elements
        return elements

    for sequence, (host, element) in enumerate([(one, "a"), (two, "b"), (one, "a"), (one, "a")]):
        mine = running(host, row)
        append_state(host, mine, sequence, waits_at(element))
        assert host.get(row.number).sequence == sequence + 1
        host.release([mine])
        assert listed() == [element]
    mine = running(one, row)
    with contextlib.suppress(LookupError), one.transaction():
        one.append(mine, 4, waits_at("b"), Changes([Entry(7.0, Start(), [])]))
        raise LookupError
    assert listed() == ["a"]
    append_state(one, mine, 4, waits_at("b"))
    append_state(one, mine, 5, State("p", "completed"))
    assert listed() == []
    assert one.get(row.number).status == "completed"
