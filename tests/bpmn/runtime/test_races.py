"""Several who want the same task, and who may have it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from bpmn.runtime.asking import ENDS, mlkit, sqlite_only, waiting

from mlkit.bpmn.engine.events import Cancel, Claim, Complete, Retry, Suspend
from mlkit.bpmn.runtime.documents import document, trace
from mlkit.bpmn.runtime.service import Refused, Service
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import UsageError, Waiting

pytestmark = pytest.mark.usefixtures("back_end")


def test_of_several_who_complete_a_task_one_wins_and_the_others_learn_who(path, state):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
    together = threading.Barrier(6)

    def complete(person: str) -> str:
        with Session(state) as session:
            together.wait()
            try:
                Service(session).complete("u", {"who": person}, person)
            except Refused as error:
                return error.message
            return ""

    people = [f"p{n}" for n in range(6)]
    with ThreadPoolExecutor(6) as threads:
        told = dict(zip(people, threads.map(complete, people), strict=True))
    (winner,) = [person for person, message in told.items() if not message]
    assert all(f"{winner} has completed it" in each for each in told.values() if each)
    with Session(state) as session:
        row = session.journal.find(row.id)
        found = document(session, row)
    assert (found["state"], found["variables"]["who"]) == ("completed", winner)


def test_an_owner_that_does_not_answer_is_waited_for_with_a_limit(path, state):
    with Session(state, create=True) as session, Session(state) as other:
        (row,) = waiting(session, path)
        owned = other.journal.own(row)
        with pytest.raises(Waiting, match="has not answered"):
            Service(session, limit=0.1).complete("u", {}, "ann")
        other.journal.release([owned])
        # What was asked is still in the inbox, and is taken by whoever runs the instance next.
        session.advance([row])
        assert session.journal.find(row.id).status == "completed"


def test_an_event_for_an_ended_instance_is_refused(path, state):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
        service = Service(session)
        assert service.cancel(row.id, "late", "ann").status == "cancelled"
        with pytest.raises(UsageError, match="is cancelled"):
            service.cancel(row.id, "again", "bob")
        with pytest.raises(UsageError, match="is cancelled"):
            session.deliver(row, Cancel())


@pytest.mark.parametrize("event", [Claim(2, "bob", "bob"), Complete(2, {}, "bob"), Retry()])
def test_who_comes_right_after_a_suspension_is_refused_at_once(path, state, event):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
        with session.journal.transaction():  # All passed the checks before it was suspended.
            session.journal.mailbox.deliver(row.number, Suspend("", "ann"), asks=True)
            number = session.journal.mailbox.deliver(row.number, event, asks=True)
        session.advance([row])
        assert session.journal.mailbox.verdict(number) == f"instance {row.id} is suspended"
        with session.journal.transaction():  # Also where nobody runs it any more.
            number = session.journal.mailbox.deliver(row.number, event, asks=True)
        session.advance([session.journal.get(row.number)])
        assert session.journal.mailbox.verdict(number) == f"instance {row.id} is suspended"
        assert Service(session).unsuspend(row.id, "ann").status == "waiting"
        assert Service(session).tasks()[0].assignee is None


@sqlite_only
def test_the_history_knows_who_completed_a_task_and_when_it_began(path, state):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
        row = Service(session).complete(f"{row.id}/u", {}, "ann")
        steps = trace(session.journal, row, session.engine(row))
    assert [(each["element"], each["by"]) for each in steps] == [
        ("s", None), ("u", "ann"), ("e", None),
    ]  # fmt: skip
    assert steps[1]["began"] < steps[1]["at"]


@sqlite_only
@pytest.mark.parametrize(
    ("people", "person", "allowed"),
    [
        ('camunda:assignee="ann"', "ann", True),
        ('camunda:assignee="ann"', "bob", False),
        ('camunda:candidateUsers="ann,bob"', "bob", True),
        ('camunda:candidateUsers="ann,bob"', "carl", False),
        ('camunda:candidateUsers="ann" camunda:candidateGroups="g"', "carl", True),
        ("", "carl", True),
    ],
)
def test_a_named_person_must_be_one_who_may(tmp_path, state, diagram, people, person, allowed):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(ENDS + f'<userTask id="u" {people}/>', "s>u u>e"))
    with Session(state, create=True) as session:
        waiting(session, path)
        service = Service(session)
        if not allowed:
            for attempt in (
                lambda: service.complete("u", {}, person, checked=True),
                lambda: service.decide("u", True, None, person, checked=True),
                lambda: service.claim("u", person),
            ):
                with pytest.raises(Refused):
                    attempt()
        else:
            assert service.complete("u", {}, person, checked=True).status == "completed"


def test_as_is_an_option_of_the_commands(path, state):
    assert mlkit(state, "run", path, "--no-input").returncode == 3
    assert mlkit(state, "complete", "u", "--as", " ").returncode == 2
    done = json.loads(mlkit(state, "complete", "u", "--as", "ann", "--json").stdout)
    assert done["trace"][1]["by"] == "ann"
    assert "by ann" in mlkit(state, "history", done["instance"]).stdout
    late = mlkit(state, "complete", f"{done['instance']}/u", "--as", "bob")
    assert late.returncode == 2
    assert "ann has completed it" in late.stderr
