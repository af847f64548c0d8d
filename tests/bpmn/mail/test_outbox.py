"""Mail leaves by the outbox: at least once, with the same name, and never in the way."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import signal
import subprocess
import sys
import time

import pytest
from bpmn.conftest import diagram
from commands import run_mlkit

from mlkit.bpmn.journal.notices import NewMail
from mlkit.bpmn.mail import sender as sending
from mlkit.bpmn.mail.composition import Composer
from mlkit.bpmn.people.directory import Member
from mlkit.bpmn.people.links import Links
from mlkit.bpmn.runtime.service import Refused, Service
from mlkit.errors import ServiceUnavailable

ASK = diagram(
    '<startEvent id="s"/><userTask id="t" name="Review &#10;Bcc: evil@example.org" {who}>'
    '<extensionElements><camunda:formData><camunda:formField id="rate" label="Rate" type="double">'
    '<camunda:validation><camunda:constraint name="readonly"/></camunda:validation>'
    "</camunda:formField></camunda:formData></extensionElements></userTask>"
    '<endEvent id="e"/>',
    "s>t t>e",
)
SCRIPTED = diagram(
    '<startEvent id="s"/><scriptTask id="w" scriptFormat="python"><script>\n'
    'open("chart.png", "wb").write(b"PNG" * 9)\nopen("big.bin", "wb").write(b"x" * 5000)\n'
    'report = "all is well"\n</script></scriptTask>'
    '<userTask id="t" camunda:assignee="ann" mlkit:attach="report, chart.png, big.bin, gone.txt"/>'
    '<endEvent id="e"/>',
    "s>w w>t t>e",
)


def ask(who: str) -> str:
    return ASK.replace("{who}", who)


ANN = ask('camunda:assignee="ann"')


def test_the_assignee_gets_a_mail_with_what_the_decision_needs(office, mail_server):
    office.settings = dataclasses.replace(
        office.settings, base_url="https://flows.example.org", links=Links(b"k" * 32)
    )
    office.begin(ANN, rate=0.25)
    assert office.send().sent == 1
    ((recipient, mail),) = mail_server.mails
    assert recipient == "ann@example.org"
    assert mail["To"].addresses[0].display_name == "Ann Lée"
    assert mail["Subject"] == "Review Bcc: evil@example.org - p"
    assert mail["Bcc"] is None
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_body(("plain",)).get_content()
    assert "Rate: 0.25" in text
    assert "https://flows.example.org/links/" in text
    html = mail.get_body(("html",)).get_content()
    (picture,) = [each for each in mail.walk() if each.get_content_type() == "image/png"]
    assert f"cid:{picture['Content-ID'].strip('<>')}" in html
    assert picture.get_content().startswith(b"\x89PNG")


def test_candidates_are_asked_where_nobody_has_the_task_each_once(office, mail_server):
    office.begin(
        ask('camunda:candidateUsers="bob,eve@example.org" camunda:candidateGroups="owners"')
    )
    office.send()
    assert mail_server.recipients == ["ann@example.org", "bob@example.org", "eve@example.org"]


def test_documents_are_attached_up_to_a_size_else_linked(office, mail_server):
    office.settings = dataclasses.replace(
        office.settings, attached=1000, base_url="https://flows.example.org"
    )
    office.begin(SCRIPTED)
    office.send()
    ((_, mail),) = mail_server.mails
    attached = {each.get_filename(): each.get_content() for each in mail.iter_attachments()}
    assert attached["chart.png"] == b"PNG" * 9
    assert attached["report.txt"] == "all is well"
    assert set(attached) == {"chart.png", "report.txt"}
    text = mail.get_body(("plain",)).get_content()
    assert "big.bin (too large to attach: https://flows.example.org/tasks/" in text
    assert "gone.txt: it is not there" in text


UPLOAD = '<camunda:formField id="data" type="file"/>'
LEFT_EMPTY = diagram(
    '<startEvent id="s"/><userTask id="ask" camunda:assignee="zoe"><extensionElements>'
    f"<camunda:formData>{UPLOAD}</camunda:formData></extensionElements></userTask>"
    '<userTask id="t" camunda:assignee="ann" mlkit:attach="data, gone.txt"/><endEvent id="e"/>',
    "s>ask ask>t t>e",
)


def test_an_optional_upload_that_nobody_gave_is_no_document_that_is_lost(office, mail_server):
    instance = office.begin(LEFT_EMPTY)
    with office.session() as session:
        Service(session).complete(f"{instance}/ask", {}, "zoe")
    office.send()
    ((_, mail),) = mail_server.mails
    for kind in ("plain", "html"):
        text = mail.get_body((kind,)).get_content()
        assert "data: not given" in text
        assert "gone.txt: it is not there" in text


def test_whom_no_mail_reaches_is_logged_once(office, mail_server, caplog):
    asked = ask('camunda:candidateUsers="zoe,bob,eve@example.org" camunda:candidateGroups="day"')
    office.begin(asked)
    instance = office.begin(asked)
    assert office.send().sent == 4
    found = [each for each in caplog.messages if each.startswith("no mail reaches")]
    assert [each.split(",")[0].split()[-1] for each in found] == ["zoe", "day"]
    assert instance not in "".join(found)
    assert "not in the people file, or without an address there" in found[0]


def test_who_takes_a_task_gets_no_mail_and_whom_it_is_given_to_does(office, mail_server):
    identifier = office.begin(ask('camunda:candidateGroups="owners"'))
    office.send()
    mail_server.mails.clear()
    with office.session() as session:
        service = Service(session)
        service.claim(f"{identifier}/t", "ann")
        service.delegate(f"{identifier}/t", "bob", "ann")
    office.send()
    assert mail_server.recipients == ["bob@example.org"]


def test_a_task_that_is_done_before_its_mail_leaves_is_not_asked_for(office, mail_server):
    identifier = office.begin(ANN)
    with office.session() as session:
        office.sender(session).step()  # Queued, and not sent: nothing is due in the same look.
    office.begin(ANN)
    with office.session() as session:
        Service(session).complete(f"{identifier}/t", {}, "ann")
    office.send()
    states = {each.state for each in office.mails()}
    assert states <= {"sent", "dropped"}
    assert "dropped" in states or len(mail_server.mails) == 2


def test_a_dead_server_delays_mail_and_nothing_else(office, mail_server):
    port, office.port = office.port, 1
    office.begin(ANN)
    outcome = office.send()
    assert (outcome.sent, outcome.delayed) == (0, 1)
    (mail,) = office.mails()
    assert (mail.state, mail.attempts) == ("queued", 1)
    assert "refused" in mail.error.lower()
    assert mail.due > time.time()
    office.port = port
    assert office.send().sent == 0  # Not before its time ...
    assert office.retry() == 1  # ... but when somebody asks for it.
    assert office.send().sent == 1
    assert office.mails()[0].state == "sent"


@pytest.mark.parametrize(
    ("answer", "state"),
    [("550 no such user", "failed"), ("RCPT 550 no", "failed"), ("451 later", "queued")],
)
def test_what_a_server_answers_decides_whether_a_mail_is_tried_again(
    office, mail_server, answer, state
):
    mail_server.answers.append(answer)
    office.begin(ANN)
    office.send()
    (mail,) = office.mails()
    assert mail.state == state
    assert answer.removeprefix("RCPT ")[:3] in mail.error


def test_one_refused_address_keeps_no_other_from_its_mail(office, mail_server):
    mail_server.answers.append("RCPT 450 greylisted")
    office.begin(ask('camunda:candidateGroups="owners"'))
    outcome = office.send()
    assert (outcome.sent, outcome.delayed) == (1, 1)


def test_attempts_are_further_and_further_apart():
    pauses = [max(sending.pause(each) for _ in range(50)) for each in range(12)]
    assert pauses == sorted(pauses[:8]) + pauses[8:]
    assert max(pauses) <= sending.LONGEST_PAUSE


_KILLED = """
import os, signal, sys
from pathlib import Path
from mlkit.bpmn.mail.composition import MailSettings
from mlkit.bpmn.mail.messages import sender
from mlkit.bpmn.mail.sender import Sender
from mlkit.bpmn.mail.smtp import SmtpServer
from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.runtime.session import Session

Sender._settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with Session(Path(sys.argv[1])) as session:
    settings = MailSettings(sender("bot@mlkit.example"))
    people = PeopleFile(Path(sys.argv[2]))
    Sender(session, people, SmtpServer("127.0.0.1", int(sys.argv[3])), settings).empty()
"""


def test_a_sender_killed_before_it_records_sends_the_same_mail_again(office, mail_server):
    office.begin(ANN)
    arguments = [office.folder / "state", office.folder / "people.toml", mail_server.port]
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, *map(str, arguments)], check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert len(mail_server.mails) == 1
    assert office.send().sent == 1  # At once: its lease holds, but its process is gone.
    first, second = (mail["Message-ID"] for _, mail in mail_server.mails)
    assert first == second


def test_two_senders_never_get_the_same_mail(office):
    with office.session() as one, office.session() as other:
        mails = [NewMail(f"m{number}", "text", 0, 0, "", "a@b.org") for number in range(30)]
        one.journal.atomically(lambda: one.journal.outbox.add(mails, 1.0))
        claimed = []
        for _ in range(3):
            for session in (one, other):
                outbox = session.journal.outbox
                claimed += session.journal.atomically(
                    lambda outbox=outbox, session=session: outbox.claim(str(session), 5, 60.0)
                )
        assert sorted(each.id for each in claimed) == list(range(1, 31))


def test_a_substitute_is_asked_and_told_for_whom(office, mail_server):
    now = time.time()
    with office.session() as session:
        journal = session.journal
        journal.atomically(
            lambda: journal.absences.add("ann", "bob", now - 9, now + 99, "ann", now)
        )
    office.begin(ANN)
    office.send()
    ((recipient, mail),) = mail_server.mails
    assert recipient == "bob@example.org"
    assert "Ann Lée is away" in mail.get_body(("plain",)).get_content()


@pytest.mark.parametrize("who", ["ann", "cem"])
def test_mail_that_waits_when_somebody_leaves_goes_to_the_substitute(office, mail_server, who):
    """Of one who gets each mail by itself, and of one who gets them once a day."""
    port, office.port = office.port, 1
    office.begin(ask(f'camunda:assignee="{who}"'))
    office.send()
    assert [each.state for each in office.mails()] == ["queued"]
    office.send_away(who, "bob")
    office.port = port
    office.await_hour()
    office.send()
    ((recipient, mail),) = mail_server.mails
    assert (recipient, mail["To"].addresses[0].addr_spec) == ("bob@example.org",) * 2
    assert "is away" in mail.get_body(("plain",)).get_content()


def test_mail_that_waits_for_a_substitute_goes_to_who_is_back(office, mail_server):
    port, office.port = office.port, 1
    office.send_away("ann", "bob")
    office.begin(ANN)
    office.send()
    assert [each.person for each in office.mails()] == ["bob"]
    office.bring_back()
    office.port = port
    office.retry()
    office.send()
    assert mail_server.recipients == ["ann@example.org"]


@pytest.mark.parametrize("asked", ["ann, cem", "bob, ann, cem"])
def test_all_whom_a_substitute_stands_in_for_are_asked_when_they_are_back(
    office, mail_server, asked
):
    """Also where the substitute is asked, too; nobody gets two mails about the same."""
    with office.session() as session:
        session.write(lambda it: it.absences.choose_digest("cem", False, "cem", time.time()))
    port, office.port = office.port, 1
    for each in ("ann", "cem"):
        office.send_away(each, "bob")
    office.begin(ask(f'camunda:candidateUsers="{asked}"'))
    office.send()
    assert [each.person for each in office.mails()] == ["bob"]
    office.bring_back()
    office.port = port
    office.retry()
    office.send()
    assert mail_server.recipients == sorted(f"{each}@example.org" for each in asked.split(", "))
    office.bring_back()
    assert office.send().sent == 0


@pytest.mark.parametrize("asked", ["ann, cem", "bob, ann, cem"])
def test_mails_that_wait_when_several_leave_reach_their_substitute_once(office, mail_server, asked):
    with office.session() as session:
        session.write(lambda it: it.absences.choose_digest("cem", False, "cem", time.time()))
    port, office.port = office.port, 1
    office.begin(ask(f'camunda:candidateUsers="{asked}"'))
    office.send()
    for each in ("ann", "cem"):
        office.send_away(each, "bob")
    office.port = port
    office.retry()
    office.send()
    assert mail_server.recipients == ["bob@example.org"]
    dropped = [each.error for each in office.mails() if each.state == "dropped"]
    assert dropped == ["asked by another mail: bob"] * (asked.count(",") or 1)


def test_a_digest_that_another_one_makes_needless_says_so(office, mail_server):
    office.begin(ask('camunda:candidateUsers="cem, ann"'))
    with office.session() as session:
        for each in ("ann", "bob"):
            session.write(lambda it, n=each: it.absences.choose_digest(n, True, n, time.time()))
    office.begin(ANN)
    office.send_away("cem", "ann")
    office.await_hour()
    office.send()
    office.await_hour()
    office.send()
    errors = {each.person: each.error for each in office.mails() if each.state == "dropped"}
    assert errors == {"cem": "asked by another mail: ann"}


@pytest.mark.parametrize(
    ("after", "recipients"),
    [
        (None, ["cem@example.org"]),  # Once: the digest is of one hour and one person.
        ("back", ["ann@example.org"]),
        ("cem away", ["bob@example.org"]),
    ],
)
def test_the_digest_of_a_substitute_reaches_who_does_the_task_at_its_hour(
    office, mail_server, after, recipients
):
    office.send_away("ann", "cem")
    office.begin(ANN)
    office.send()
    assert mail_server.mails == []
    if after == "back":
        office.bring_back()
    elif after == "cem away":
        office.send_away("cem", "bob")
    office.await_hour()
    office.send()
    assert mail_server.recipients == recipients
    ((_, mail),) = mail_server.mails
    assert "Review" in mail.get_body(("plain",)).get_content()


def test_all_whom_a_substitute_with_one_mail_a_day_stands_in_for_get_theirs(office, mail_server):
    """Also where the substitute is asked, too."""
    for each in ("ann", "bob"):
        office.send_away(each, "cem")
    office.begin(ask('camunda:candidateUsers="cem, ann, bob"'))
    office.send()
    office.bring_back()
    office.await_hour()
    office.send()
    everybody = [f"{each}@example.org" for each in ("ann", "bob", "cem")]
    assert mail_server.recipients == everybody


def test_a_digest_goes_to_who_stands_in_for_several(office, mail_server):
    office.begin(ask('camunda:candidateUsers="ann, cem"'))
    office.send()
    assert mail_server.recipients == ["ann@example.org"]
    for each in ("ann", "cem"):
        office.send_away(each, "bob")
    office.await_hour()
    office.send()
    recipient, mail = mail_server.mails[-1]
    assert (len(mail_server.mails), recipient) == (2, "bob@example.org")
    assert "Cem" in mail.get_body(("plain",)).get_content()


def test_a_substitute_with_tasks_of_their_own_gets_one_mail_for_all(office, mail_server):
    """Also where both had a digest before one of them left."""
    for each in ("cem", "bob"):
        office.begin(ask(f'camunda:assignee="{each}"').replace("Review", f"for {each}"))
    with office.session() as session:
        session.write(lambda it: it.absences.choose_digest("bob", True, "bob", time.time()))
    office.send()
    office.send_away("bob", "cem")
    office.await_hour()
    office.send()
    ((recipient, mail),) = mail_server.mails
    assert (recipient, mail["Subject"]) == ("cem@example.org", "2 tasks for you")


def test_the_list_of_mails_shows_where_each_goes(office, mail_server):
    def listed() -> str:
        return run_mlkit("bpmn", "mail", "list", "--state", office.folder / "state").stdout

    port, office.port = office.port, 1
    office.begin(ANN)
    office.send()
    office.send_away("ann", "bob")
    assert "queued  ann@example.org, forwarded to bob  task" in listed()
    office.port = port
    office.retry()
    office.send()
    assert mail_server.recipients == ["bob@example.org"]
    assert "sent  bob@example.org  task" in listed()
    assert "ann@example.org" not in listed()


def test_a_store_that_is_away_delays_a_mail_with_its_documents(office, mail_server, monkeypatch):
    """And a database that is away while it is found out whom to ask loses no notice."""
    office.begin(ANN)

    def fail(*_):
        raise ServiceUnavailable("the store is away")

    for name in ("mails", "message"):
        with monkeypatch.context() as patched:
            patched.setattr(Composer, name, fail)
            outcome = office.send()
        assert (outcome.sent, outcome.failed, outcome.delayed) == (0, 0, 1)
    office.retry()
    assert office.send().sent == 1
    assert mail_server.recipients == ["ann@example.org"]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the local time zone cannot be set")
def test_the_hour_of_a_digest_is_that_of_the_clock_after_summer_time_began(office, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        with office.session() as session:
            composer = office.sender(session).composer
            evening = dt.datetime(2030, 3, 30, 20, tzinfo=dt.UTC).timestamp()
            due = composer._digest(Member("cem", "Cem", "cem@example.org"), evening).due
        assert dt.datetime.fromtimestamp(due).hour == office.settings.digest_hour
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_substitute_may_do_the_task_and_the_history_says_who_did(office):
    now = time.time()
    identifier = office.begin(ANN)
    with office.session() as session:
        journal, service = session.journal, Service(session)
        with pytest.raises(Refused):
            service.complete(f"{identifier}/t", {}, "bob", checked=True)
        journal.atomically(
            lambda: journal.absences.add("ann", "bob", now - 9, now + 99, "ann", now)
        )
        row = service.complete(f"{identifier}/t", {}, "bob", checked=True)
        assert row.status == "completed"
        assert "bob" in {
            step.by for _, _, steps in journal.events(row) for step in steps if hasattr(step, "by")
        }


def test_somebody_who_wants_one_mail_a_day_gets_one(office, mail_server):
    for name in ("first", "second"):
        office.begin(ask('camunda:assignee="cem"').replace("Review", name))
    office.send()
    (mail,) = office.mails()
    assert (mail.kind, mail.state) == ("digest", "queued")
    assert mail_server.mails == []
    assert office.retry() == 0  # Sent early, it would leave out what comes before its hour.
    office.await_hour()
    office.send()
    ((_, sent),) = mail_server.mails
    text = sent.get_body(("plain",)).get_content()
    assert sent["Subject"] == "2 tasks for you"
    assert "first" in text
    assert "second" in text
