"""Who may do, claim and give back a task: rules that commands, pages and the API share."""

from __future__ import annotations

import time

import pytest

from mlkit.bpmn.people.directory import Directory, Member
from mlkit.bpmn.runtime.service import Refused, Service
from mlkit.bpmn.runtime.session import Session, Settings

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


@pytest.fixture
def service(tmp_path):
    with Session(tmp_path / "state", Settings(waits=False), create=True) as session:
        yield Service(session)


@pytest.fixture
def task(service, diagram, tmp_path):
    """Start a process with one user task; return the task's name."""

    def start(assignment: str) -> str:
        path = tmp_path / "p.bpmn"
        path.write_text(diagram(f'{ENDS}<userTask id="u" camunda:{assignment}/>', "s>u u>e"))
        row = service.session.begin(path, {})
        service.session.advance([row])
        return f"{row.id}/u"

    return start


@pytest.fixture
def bob_for_ann(service):
    now = time.time()
    service.session.write(
        lambda journal: journal.absences.add("ann", "bob", now - 9, now + 999, "ann", now)
    )


def assignee(service, name: str) -> str | None:
    return service.task(name)[1].assignee


def test_who_has_a_task_gives_it_back(service, task):
    name = task('candidateUsers="ann,bob"')
    service.claim(name, "ann")
    with pytest.raises(Refused, match="not assigned to bob"):
        service.release(name, "bob")
    service.release(name, "ann")
    assert assignee(service, name) is None


def test_an_operator_gives_back_any_task(service, task):
    name = task('assignee="ann"')
    service.release(name, "olga", operates=True)
    assert assignee(service, name) is None


def test_nobody_gives_back_what_nobody_has(service, task):
    with pytest.raises(Refused, match="not assigned to ann"):
        service.release(task('candidateUsers="ann"'), "ann")


def test_a_substitute_does_and_gives_back_tasks(service, task, bob_for_ann):
    name = task('assignee="ann"')
    with pytest.raises(Refused, match="not assigned to eva"):
        service.release(name, "eva")
    with pytest.raises(Refused, match="ann has it, not eva"):
        service.complete(name, {}, "eva", checked=True)
    service.release(name, "bob")
    assert assignee(service, name) is None
    assert service.complete(task('assignee="ann"'), {}, "bob", checked=True).status == "completed"


def test_a_task_that_names_an_address_is_given_back_by_its_owner(service, task):
    people = Directory([Member("ann", "Ann Lee", "ann@example.org")])
    name = task('assignee="ann@example.org"')
    with pytest.raises(Refused):
        service.release(name, "ann")
    service.people = lambda: people
    service.release(name, "ann")
    assert assignee(service, name) is None
