"""What every back end of the journal must do."""

from __future__ import annotations

import pytest
from contract.journals import append, begin, running

from mlkit.bpmn.engine.events import Cancel, Start
from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.records import (
    Changes,
    Damaged,
    Entry,
)
from mlkit.errors import ConfigurationError, InputMissing, UsageError


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


def test_stores_hold_the_last_value_and_who_set_it(journal):
    row = begin(journal)
    with journal.transaction():
        journal.stores.set("seen", 4)
        journal.stores.set("seen", {"n": [1, None]}, row.number, 9.0)
    assert journal.stores.get(["seen", "unset"]) == {"seen": {"n": [1, None]}, "unset": None}
    (stored,) = journal.stores.all()
    assert (stored.name, stored.instance, stored.updated) == ("seen", row.id, 9.0)


def test_a_fork_has_the_first_events_of_another(journal):
    row = running(journal, begin(journal))
    append(journal, row, append(journal, row, 0))
    with journal.transaction():
        new = journal.fork(row, 1, row.definition, {"forked": 1})
    assert (new.sequence, new.options) == (1, {"forked": 1})
    assert len(list(journal.events(new))) == 1


def test_a_state_folder_beside_postgresql_cannot_be_a_file(tmp_path, postgresql):
    (tmp_path / "state").write_text("mine")
    with pytest.raises(ConfigurationError, match="state: cannot be made the state folder: File"):
        open_journal(tmp_path / "state", create=True, url=postgresql)
    assert (tmp_path / "state").read_text() == "mine"


def test_while_scripts_run_postgresql_writes_no_entry_of_an_index_on_instances(
    tmp_path, postgresql
):
    journal = open_journal(tmp_path, create=True, url=postgresql)
    row = running(journal, begin(journal))
    state = State("p", activations={1: Activation(1, "t", 1, "working")})
    with journal.transaction():
        for sequence in range(5):
            journal.append(row, sequence, state, Changes([Entry(7.0, Start(), [])]))
        ((updates, without_index),) = journal.database.query(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables"
            " WHERE relid = 'instances'::regclass"
        )
    journal.close()
    assert updates == without_index >= 5


def test_an_instance_that_cannot_be_replayed_can_be_ended(journal):
    row = running(journal, begin(journal))
    append(journal, row, 0)
    with journal.transaction():
        journal.abandon(row, Cancel("broken"), 9.0)
    assert journal.get(row.number).status == "cancelled"
    assert journal.damage() == []


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
