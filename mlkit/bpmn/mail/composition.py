"""What goes into the mails of an outbox: who gets one, and its content at the time that it is sent.

A mail is written when it is sent, not when it is queued: what is over by then is not asked for any
more, and what it shows is of that moment.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any, NamedTuple
from urllib.parse import quote

from mlkit.bpmn.defaults import ATTACH_LIMIT, DIGEST_HOUR
from mlkit.bpmn.journal.notices import Mail, NewMail, Notice
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.mail import messages
from mlkit.bpmn.mail.messages import Envelope
from mlkit.bpmn.mail.texts import Templates
from mlkit.bpmn.people import attachments, browser_forms, recipients, tasks
from mlkit.bpmn.people.attachments import Document
from mlkit.bpmn.people.directory import Member, PeopleFile
from mlkit.bpmn.people.links import Links
from mlkit.bpmn.people.recipients import ABSENT, INSTEAD_OF, Recipient
from mlkit.bpmn.people.tasks import Task
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import ConfigurationError, MlkitError, printable

logger = logging.getLogger("mlkit.bpmn.mail")
ATTACHED_BYTES = int(ATTACH_LIMIT * 1e6)
"""Bytes of documents that go with one mail; what is more is linked."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """How mail is written.

    Attributes:
        sender: The address that it is from.
        base_url: Where the server's pages are, without a slash at the end; empty: mails have no
            links.
        links: Makes signed links; None: links ask for a login.
        attached: Bytes of documents that one mail may have.
        digest_hour: When the mail of a day is sent, in the local time of the server.
    """

    sender: Address
    base_url: str = ""
    links: Links | None = None
    templates: Templates = field(default_factory=Templates)
    attached: int = ATTACHED_BYTES
    digest_hour: int = DIGEST_HOUR


class Place(NamedTuple):
    """A link in a mail, and when it ends where it is signed."""

    url: str = ""
    token: str = ""
    expires: float = 0.0


class Written(NamedTuple):
    """A mail as it is sent, or why it is not.

    Attributes:
        message: The mail; None: it is not sent.
        recipient: The address that it is sent to.
        reason: Why it is not sent.
        others: Mails for whom it stands too, as absences are now.
    """

    message: EmailMessage | None
    recipient: str = ""
    reason: str = ""
    others: Sequence[NewMail] = ()


_OVER = Written(None, reason="nobody needs to be asked any more")


class Composer:
    """Writes the mails of a journal.

    Args:
        session: The journal; what is asked here only reads it.
        people: Who they are.
        settings: How mail is written.
    """

    def __init__(self, session: Session, people: PeopleFile, settings: MailSettings) -> None:
        self.session = session
        self.people = people
        self.settings = settings

    # -- who gets a mail -------------------------------------------------------------------

    def mails(self, notice: Notice, now: float) -> list[NewMail]:
        """Return the mails that a notice leads to; none where its task waits no longer."""
        row = self.session.journal.get(notice.instance)
        task = self._task(row, notice.activation)
        if task is None:
            return []
        for name in filter(self.people.note, self.people.directory.list_unreached(task)):
            logger.warning(
                "no mail reaches %s, for whom task %s waits: not in the people file, or without"
                " an address there", printable(name), task.id,
            )  # fmt: skip
        name = f"task.{row.id}.{notice.activation}.{notice.id}"
        return [
            mail
            for each in self._recipients(task, now)
            for mail in self._mails_to(each, name, row, task, now)
        ]

    def _mails_to(
        self, recipient: Recipient, notice: str, row: Row, task: Task, now: float
    ) -> list[NewMail]:
        """Return the mails to somebody that a notice, by its name, leads to."""
        if recipient.daily:
            return self._digests(recipient, now)
        return [self._single(recipient, notice, row, task)] if recipient.member.email else []

    def _recipients(self, task: Task, now: float) -> list[Recipient]:
        absences, people = self.session.journal.absences, self.people.directory
        substitutes = recipients.find_substitutes(absences, people, now)
        digests = recipients.find_digests(absences, people)
        return recipients.recipients(task, people, substitutes, digests)

    @staticmethod
    def _single(recipient: Recipient, notice: str, row: Row, task: Task) -> NewMail:
        member = recipient.member
        content: dict[str, Any] = {}
        if recipient.instead_of is not None:
            content[INSTEAD_OF] = recipient.instead_of.id
        if recipient.absent:
            content[ABSENT] = [each.id for each in recipient.absent]
        return NewMail(
            f"{notice}.{_short(member.id)}", "task", row.number, task.activation, member.id,
            member.email, content,
        )  # fmt: skip

    def _digests(self, recipient: Recipient, now: float) -> list[NewMail]:
        """Return the next mail of the day of a person, and of whom they stand in for.

        Who is back at that hour gets the tasks in a mail of their own.
        """
        asked = (recipient.member, *recipient.absent)
        return [self._digest(each, now) for each in asked if each.email]

    def _digest(self, member: Member, now: float) -> NewMail:
        """Return the mail of a person's next day: however many tasks there are, it is one."""
        local = datetime.fromtimestamp(now)  # Without an offset: tomorrow may have another one.
        due = local.replace(hour=self.settings.digest_hour, minute=0, second=0, microsecond=0)
        due = due if due > local else due + timedelta(days=1)
        name = _digest_name(member, f"{due:%Y%m%d%H}")
        return NewMail(name, "digest", 0, 0, member.id, member.email, due=due.timestamp())

    # -- the contents of a mail ------------------------------------------------------------------

    def message(self, mail: Mail, now: float) -> Written:
        """Return a mail of the outbox as it is sent.

        Raises:
            MlkitError: It cannot be written.
        """
        if mail.damage:
            raise ConfigurationError(mail.damage)
        if mail.kind == "digest":
            return self._digest_message(mail, now)
        if mail.kind == "text":
            return Written(self._text_message(mail), mail.recipient)
        return self._task_message(mail, now)

    def _task_message(self, mail: Mail, now: float) -> Written:
        row = self.session.journal.get(mail.instance)
        task = self._task(row, mail.activation)
        asked = [] if task is None else self._still(task, mail, now)
        if task is None or not asked:
            return _OVER
        found, notice = asked[0], mail.message.rpartition(".")[0]
        others = [
            new
            for each in asked[1:]
            if not recipients.is_asked_apart(each, mail)
            for new in self._mails_to(each, notice, row, task, now)
        ]
        if self._has_other(mail, found):
            return Written(None, reason=_elsewhere([found.member.id]), others=others)
        place = self._place(task, found.member, now)
        files = attachments.documents(
            task, self.session.journal.folder, self.session.journal.artifacts
        )
        attached, linked = self._part(files, place)
        context = {
            **self._context(task, row, found, place), "attached": attached, "linked": linked,
            "missing": [each for each in files if each.content is None],
            "values": values(task), "asked_by": self.people.directory.name_of(
                documents.requester(self.session.journal, row)
            ),
        }  # fmt: skip
        envelope = self._envelope(mail, [found.member.address], row)
        message = messages.fill(
            "task", envelope, context, self.settings.templates, self._picture(row), attached
        )
        return Written(message, found.member.email, others=others)

    def _has_other(self, mail: Mail, recipient: Recipient) -> bool:
        """Return whether another mail about the same has reached somebody, or will."""
        if recipients.is_asked_apart(recipient, mail):
            return True
        notice, member = mail.message.rpartition(".")[0], recipient.member
        for each in (member, *recipient.absent):
            other = self.session.journal.outbox.find(f"{notice}.{_short(each.id)}")
            if other is None or other.id == mail.id:
                continue
            is_own = each is member and other.state == "queued"
            if is_own or (other.state == "sent" and other.recipient == member.email):
                return True
        return False

    def _digest_message(self, mail: Mail, now: float) -> Written:
        found: list[dict[str, Any]] = []
        listed = set()
        for row in self.session.journal.rows_with_tasks():
            for task in self._tasks(row):
                recipient = next(iter(self._still(task, mail, now)), None)
                if recipient is None:
                    continue
                if self._is_listed(task, recipient, mail):
                    listed.add(recipient.member.id)
                    continue
                place = self._place(task, recipient.member, now)
                found.append(self._context(task, row, recipient, place))
        if not found:
            return Written(None, reason=_elsewhere(sorted(listed))) if listed else _OVER
        member: Member = found[0]["person"]
        context = {"person": member, "tasks": found}
        envelope = self._envelope(mail, [member.address], None)
        message = messages.fill("digest", envelope, context, self.settings.templates)
        return Written(message, member.email)

    def _is_listed(self, task: Task, recipient: Recipient, mail: Mail) -> bool:
        """Return whether a digest goes to somebody who is asked by a mail of their own, too."""
        if recipients.is_asked_apart(recipient, mail):
            return True
        member = recipient.member
        name = _digest_name(member, mail.message.rpartition(".")[2])
        own = None if name == mail.message else self.session.journal.outbox.find(name)
        if own is None or own.state != "sent" or own.ended is None:
            return own is not None and own.state == "queued"
        then = self._recipients(task, own.ended)
        return task.since <= own.ended and any(each.member.id == member.id for each in then)

    def _text_message(self, mail: Mail) -> EmailMessage:
        """Return a mail that a task of a diagram sends."""
        content, row = mail.content, self.session.journal.get(mail.instance)
        to = [Address(addr_spec=each) for each in content["to"]]
        envelope = self._envelope(mail, to, row)
        return messages.message(envelope, str(content["subject"]), str(content["text"]))

    def _envelope(self, mail: Mail, to: Sequence[Address | None], row: Row | None) -> Envelope:
        sender = self.settings.sender
        thread = "" if row is None else f"<instance.{row.id}@{sender.domain}>"
        return Envelope(
            f"<{mail.message}@{sender.domain}>", sender, [each for each in to if each], thread,
            mail.created,
        )  # fmt: skip

    def _context(self, task: Task, row: Row, recipient: Recipient, place: Place) -> dict[str, Any]:
        process = self.session.engine(row).processes[0]
        return {
            "task": task, "person": recipient.member, "instead_of": recipient.instead_of,
            "process": process.name or process.id, "instance": row.id, "key": row.key,
            "due": task.due, "link": place.url, "signed": bool(place.token),
            "expires": f"{datetime.fromtimestamp(place.expires, UTC):%Y-%m-%d %H:%M} UTC",
        }  # fmt: skip

    # -- reading ---------------------------------------------------------------------------

    def _tasks(self, row: Row) -> list[Task]:
        try:
            return self.session.tasks(row)
        except MlkitError:  # What is damaged is shown by `check`; others get their mail.
            return []

    def _task(self, row: Row, activation: int) -> Task | None:
        if not row.is_open:
            return None
        found = self.session.tasks(row)
        return next((each for each in found if each.activation == activation), None)

    def _still(self, task: Task, mail: Mail, now: float) -> list[Recipient]:
        """Return for whom the mail of a task is now, first who gets it; empty: nobody is asked.

        Absences may have begun or ended since the mail was queued: it goes to whoever does the
        task instead of its person, and back to all whom its person has stood in for.
        """
        wanted = {mail.person, *recipients.absent_of(mail)}
        found: list[Recipient] = []
        for each in self._recipients(task, now):
            absent = next((absent for absent in each.absent if absent.id in wanted), None)
            if not each.member.email or (each.member.id not in wanted and absent is None):
                continue
            other = each.instead_of if each.member.id in wanted else absent
            found.append(each if each.instead_of is None else each._replace(instead_of=other))
        return sorted(found, key=lambda each: each.member.id != mail.person)

    def _picture(self, row: Row) -> bytes | None:
        """Return a picture of the instance; mail goes without one where it cannot be drawn."""
        from mlkit.bpmn import render

        try:
            name, content, _ = self.session.journal.definition(row.definition)
            picture = render.parse(content, name)[0]
            progress = render.progress(self.session, row)
            return render.png(render.svg(picture, progress, "light"))
        except MlkitError:
            return None

    # -- links -----------------------------------------------------------------------------

    def _place(self, task: Task, member: Member, now: float) -> Place:
        base, links = self.settings.base_url, self.settings.links
        if not base:
            return Place()
        if links is None:
            return Place(f"{base}/tasks/{quote(task.id)}")
        token = links.make(task.id, member.id, now)
        return Place(f"{base}/links/{token}", token, now + links.lifetime)

    def _part(
        self, files: list[Document], place: Place
    ) -> tuple[list[Document], list[dict[str, Any]]]:
        """Part documents into those that are attached, up to a size, and those that are linked."""
        attached: list[Document] = []
        linked: list[dict[str, Any]] = []
        left = self.settings.attached
        for each in files:
            if each.content is None:
                continue
            if each.size <= left:
                left -= each.size
                attached.append(each)
            else:
                url = f"{place.url}/documents/{quote(each.name)}" if place.url else ""
                linked.append({"name": each.name, "size": each.size, "url": url})
        return attached, linked


def values(task: Task) -> list[tuple[str, str]]:
    """Return the labels and values of what a task's form only shows."""
    shown = browser_forms.inputs(tasks.entry(task, {}), mask=task.mask)
    return [(each.label, str(each.value)) for each in shown if each.kind == "output"]


def _elsewhere(people: Sequence[str]) -> str:
    return f"asked by another mail: {', '.join(people)}"


def _digest_name(member: Member, hour: str) -> str:
    return f"digest.{_short(member.id)}.{hour}"


def _short(person: str) -> str:
    return hashlib.sha256(person.encode("utf-8", "replace")).hexdigest()[:12]
