"""Tasks for external workers: what every back end of the journal must do for several hosts."""

from __future__ import annotations

import pytest
from contract.journals import numbers, running, waits

from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.external import ExternalTask, Offered, Topic
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Row

WORK = [Topic("work", 60.0)]


def offer(journal: Journal, row: Row, activation: int = 1) -> str:
    """Offer a task of an instance; return its id."""
    task = Offered(
        row.number, activation, row.id, "t", "work", 0, None, 1.0, "p", row.definition, ""
    )
    with journal.transaction():
        journal.external.offer(task)
    return task.id


def fetch(journal: Journal, worker: str, limit: int, now: float = 10.0) -> list[ExternalTask]:
    with journal.transaction():
        return journal.external.fetch(worker, WORK, limit, now)


def test_hosts_that_fetch_at_the_same_time_get_different_tasks(postgresql, tmp_path):
    one, two = (open_journal(tmp_path, create=True, url=postgresql) for _ in range(2))
    try:
        offered = {offer(one, waits(one)) for _ in range(2)}
        with one.transaction(), two.transaction():
            first = one.external.fetch("a", WORK, 1, 10.0)
            second = two.external.fetch("b", WORK, 1, 10.0)
        assert (len(first), len(second)) == (1, 1)
        assert {each.id for each in (*first, *second)} == offered
        found = [one.external.get(each.id) for each in (*first, *second)]
        assert [each.worker for each in found if each is not None] == ["a", "b"]
    finally:
        one.close()
        two.close()


def test_a_report_has_its_task_and_its_instance_from_the_beginning(hosts):
    one, two = hosts.host(), hosts.host()
    one.register()
    rows = [waits(two) for _ in range(3)]
    tasks = [offer(two, each) for each in rows]
    assert len(fetch(two, "w", 3)) == 3
    owned = running(two, rows[2])
    with one.gathering(adopts=True, here=set()) as arrivals, one.transaction():
        one.foresee([*tasks, "no-task", "none"])
        assert sorted(numbers(arrivals.taken)) == [rows[0].number, rows[1].number]
        found = [one.external.get(each) for each in tasks]
        assert [each and each.worker for each in found] == ["w", "w", "w"]
        claimed = [one.claim(each.number).epoch for each in rows]
        assert claimed == [rows[0].epoch + 1, rows[1].epoch + 1, owned.epoch]
        # Of two reports on a task, the second one finds it no more.
        assert one.external.withdraw(rows[0].number, 1)
        assert one.external.get(tasks[0]) is None
        one.external.drop(rows[0].number, 1)
        assert one.external.withdraw(rows[2].number, 1)
        assert not one.external.withdraw(rows[2].number, 1)
    assert [one.external.get(each) is None for each in tasks] == [True, False, True]
    # What a transaction knew is not known after it.
    with two.transaction():
        assert two.external.withdraw(rows[1].number, 1)
    assert one.external.get(tasks[1]) is None


def test_what_changes_a_task_is_seen_by_the_reports_of_the_same_transaction(hosts):
    journal = hosts.host()
    journal.register()
    rows = [waits(journal) for _ in range(2)]
    freed, fetched = (offer(journal, each) for each in rows)
    assert len(fetch(journal, "w", 2)) == 2
    with journal.gathering(adopts=True, here=set()), journal.transaction():
        journal.foresee([freed, fetched])
        task = journal.external.get(freed)
        assert task is not None
        journal.external.unlock(task)
        (again,) = journal.external.fetch("v", WORK, 1, 20.0)
        assert again.id == freed
        (late,) = journal.external.fetch("v", WORK, 1, 75.0)
        assert late.id == fetched
        found = [journal.external.get(each) for each in (freed, fetched)]
        assert [each and each.worker for each in found] == ["v", "v"]


@pytest.mark.parametrize("here", [None, "claimed"])
def test_nothing_is_claimed_where_nobody_applies_it(hosts, here):
    journal = hosts.host()
    journal.register()
    row = waits(journal)
    task = offer(journal, row)
    adopts = here is None
    with journal.gathering(adopts, None if adopts else set()) as arrivals, journal.transaction():
        journal.foresee([task])
        assert journal.external.get(task) is not None
    assert (arrivals.taken, arrivals.new) == ([], {})
    assert journal.get(row.number).epoch == row.epoch
