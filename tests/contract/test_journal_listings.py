"""Lists, searches and counts: what every back end of the journal must do."""

from __future__ import annotations

import msgspec
import pytest
from contract.journals import append, append_state, begin, running

from mlkit.bpmn.engine.events import Cancel, Retry, Start
from mlkit.bpmn.engine.state import Activation, Scope, State
from mlkit.bpmn.engine.waits import ForMessage, ForPerson, ForRetry, ForTimer, Incident
from mlkit.bpmn.journal.listings import Criteria, Word
from mlkit.bpmn.journal.records import (
    Changes,
    Damaged,
    Entry,
    RunningAttempt,
)
from mlkit.bpmn.journal.sql import found_tasks


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
    [found] = index.list_retries("p", "work", (0, 0), 10)
    assert (found.instance, found.activation, found.attempt) == (row.id, 2, 1)
    assert (found.message, found.due) == ("no", 9e9)
    assert (
        index.list_retries("q", None, (0, 0), 10) == index.list_retries(None, "u", (0, 0), 10) == []
    )
    assert index.list_retries(None, None, (row.number, 2), 10) == []
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
    [moved] = attempts.read_progress([row.id, "0" * 8])
    assert (moved.id, moved.process, moved.printed) == (row.id, "p", None)
    for each, at in ((first, 6.0), (again, 7.0), (first, 8.0)):
        with journal.transaction():
            attempts.write([(row.number, each)], at)
    assert attempts.of(row) == [again]  # Who has lost the instance overwrites nothing.
    assert [each.printed for each in attempts.read_progress([row.id])] == [7.0]
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
