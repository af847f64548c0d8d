"""Inboxes, messages and signals: what every back end of the journal must do."""

from __future__ import annotations

import threading
import time

import pytest
from contract.journals import append, begin, running

from mlkit.bpmn.engine.events import Cancel, Complete, Receive, Signal
from mlkit.errors import UsageError


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
            found.append(two.deployments.find_start("k"))
        two.close()

    with one.transaction():
        assert one.deployments.find_start("k") is None
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
