"""Damaged rows that are of no instance: each is named, and keeps no other from its work."""

from __future__ import annotations

import sqlite3
import time

import pytest
from bpmn.conftest import diagram

from mlkit.bpmn.journal.notices import NewMail
from mlkit.bpmn.mail import sender as sending
from mlkit.bpmn.mail.composition import MailSettings
from mlkit.bpmn.mail.messages import sender
from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.runtime.deployment import deploy, files_of
from mlkit.bpmn.runtime.inspection import damage
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import ConfigurationError

TIMER = "<timerEventDefinition><timeCycle>R/PT1H</timeCycle></timerEventDefinition>"
BODY = f'<startEvent id="s">{TIMER}</startEvent><endEvent id="e"/>'


@pytest.fixture
def state(tmp_path):
    """Return a state folder with two of each: schedules, mails, absences."""
    with Session(tmp_path / "state", create=True) as session:
        for key in ("p", "q"):
            path = tmp_path / f"{key}.bpmn"
            path.write_text(diagram(BODY, "s>e").replace('process id="p"', f'process id="{key}"'))
            deploy(session, files_of([path]), "ann")
        path = tmp_path / "plain.bpmn"
        path.write_text(diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e"))
        number, now = session.begin(path, {}).number, time.time()

        def write(journal):
            content = {"to": ["a@x.org"], "subject": "s", "text": "t"}
            mails = [NewMail(name, "text", number, 0, "", "a@x.org", content) for name in "ab"]
            journal.outbox.add(mails, now)
            for person in ("ann", "bob"):
                journal.absences.add(person, "cem", now - 9, now + 999, person, now)

        session.write(write)
    return tmp_path / "state"


def execute(state, statement):
    with sqlite3.connect(state / "journal.sqlite") as database:
        assert database.execute(statement).rowcount == 1
    database.close()


class Connection:
    """A mail server that takes everything."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is open."""

    def send(self, message, recipient):
        self.server.append(recipient)


@pytest.mark.parametrize("value", ["x'ff'", "'[]'", "7"])
def test_a_mail_that_cannot_be_read_fails_and_the_others_are_sent(state, monkeypatch, value):
    execute(state, f"UPDATE mails SET content = {value} WHERE message = 'a'")
    monkeypatch.setattr(sending, "Connection", Connection)
    server = []
    with Session(state) as session:
        (problem,) = damage(session)
        assert f"{state}/journal.sqlite: mail 1: its content is damaged: " in problem
        settings = MailSettings(sender("bot@mlkit.example"))
        done = sending.Sender(session, PeopleFile(None), server, settings).empty()
        assert (done.sent, done.failed, len(server)) == (1, 1, 1)
        states = {each.message: each for each in session.journal.outbox.mails()}
        assert (states["a"].state, states["b"].state) == ("failed", "sent")
        assert states["a"].error.startswith("its content is damaged: ")


def test_a_schedule_that_cannot_be_read_keeps_no_other_from_its_start(state, caplog):
    execute(state, "UPDATE schedules SET timer = '[]' WHERE process = 'p'")
    with Session(state) as session:
        for _ in range(2):
            due = session.journal.schedules.due(time.time() + 1e6)
            assert [each.timer.process for each in due] == ["q"]
        (problem,) = damage(session)
        assert caplog.messages == [problem]
        assert problem.startswith(f"{state}/journal.sqlite: the schedule p/s is damaged: ")
        with pytest.raises(ConfigurationError, match="the schedule p/s is damaged"):
            session.journal.schedules.all()


def test_a_deployed_version_that_cannot_be_read_is_named(state):
    execute(state, "UPDATE deployments SET options = x'00' WHERE process = 'p'")
    with Session(state) as session:
        with pytest.raises(ConfigurationError, match="version 1 of 'p' is damaged"):
            session.journal.deployments.versions("p")
        assert len(session.journal.deployments.versions("q")) == 1
        (problem,) = damage(session)
        assert problem.startswith(f"{state}/journal.sqlite: version 1 of 'p' is damaged: ")


def test_an_absence_that_cannot_be_read_counts_for_nothing(state):
    execute(state, "UPDATE absences SET substitute = x'00' WHERE person = 'ann'")
    with Session(state) as session:
        assert session.journal.absences.now(time.time()) == {"bob": "cem"}
        assert damage(session) == [f"{state}/journal.sqlite: absence 1 is damaged"]


def test_a_damaged_version_of_the_tables_is_refused(state):
    execute(state, "UPDATE schema_versions SET version = x'00' WHERE component = 'outbox'")
    with pytest.raises(ConfigurationError, match=r"journal\.sqlite: the version of 'outbox' is"):
        Session(state)
