"""What empties an outbox: a thread that sends what is due, and tries again what could not be sent.

A mail is sent at least once: of a sender that dies between sending and recording, the next one
sends the same mail, with the same Message-ID, again: at once if it sees that the process is gone,
else when the lease has run out.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from mlkit.bpmn.journal.notices import Mail, NewMail, Notice
from mlkit.bpmn.mail.composition import Composer, MailSettings
from mlkit.bpmn.mail.smtp import Connection, Deferred, Rejected, SmtpServer, Undelivered
from mlkit.bpmn.people.directory import PeopleFile
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import MlkitError, ServiceUnavailable

LEASE = 180.0
"""Seconds for which a mail that is being sent is nobody else's."""
AT_ONCE = 10
FIRST_PAUSE = 10.0
LONGEST_PAUSE = 3600.0
GIVE_UP_AFTER = 5 * 86400.0
"""Seconds after which a mail that could not be sent has failed, as mail servers do it."""
POLL_INTERVAL = 1.0
logger = logging.getLogger("mlkit.bpmn.mail")


@dataclass(slots=True)
class Outcome:
    """What one look at the outbox did."""

    queued: int = 0
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    delayed: int = 0

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do, or nothing that could be done now."""
        return not (self.queued or self.sent or self.dropped or self.failed)


class Sender:
    """Sends the mail of a journal.

    Args:
        session: The journal, of the thread that calls.
        people: Who they are.
        server: Where mail is handed over.
        settings: How mail is written.
    """

    def __init__(
        self, session: Session, people: PeopleFile, server: SmtpServer, settings: MailSettings
    ) -> None:
        self.journal = session.journal
        self.outbox = session.journal.outbox
        self.composer = Composer(session, people, settings)
        self.server = server
        self.name = ""
        self._has_looked = False

    def step(self) -> Outcome:
        """Turn notices into mails, and send what is due.

        Raises:
            MlkitError: The journal cannot be used.
        """
        outcome = Outcome()
        for notice in self.outbox.notices(100):
            now = time.time()
            try:
                mails = self.composer.mails(notice, now)
            except ServiceUnavailable as error:  # It may be there again at the next look.
                logger.warning("mail is delayed: %s", error.message)
                outcome.delayed += 1
                continue
            except MlkitError as error:  # Damage of one instance keeps no other from its mail.
                logger.warning("no mail for a task: %s", error.message)
                mails = []
            outcome.queued += self._turn(notice, mails, now)
        if not self._has_looked or not self.outbox.is_due():
            self._release_abandoned()
        if self.outbox.is_due():
            self.name = self.journal.register()
            due = self.journal.atomically(lambda: self.outbox.claim(self.name, AT_ONCE, LEASE))
            self._send(due, outcome)
        return outcome

    def _release_abandoned(self) -> None:
        """Let mails be claimed at once that a sender has claimed whose process is gone."""
        if gone := self.outbox.find_abandoned():
            self.journal.atomically(lambda: self.outbox.release(gone))
        self._has_looked = True

    def empty(self) -> Outcome:
        """Send all that can be sent now.

        Raises:
            MlkitError: The journal cannot be used.
        """
        total = Outcome()
        while True:
            done = self.step()
            for each in fields(Outcome):
                setattr(total, each.name, getattr(total, each.name) + getattr(done, each.name))
            if done.idle:
                return total

    def _turn(self, notice: Notice, mails: list[NewMail], now: float) -> bool:
        return self.journal.atomically(lambda: self.outbox.turn(notice, mails, now))

    def _settle(self, mail: Mail, state: str, error: str = "", again: float | None = None) -> None:
        self.journal.atomically(lambda: self.outbox.settle(mail, self.name, state, error, again))

    def _send(self, mails: list[Mail], outcome: Outcome) -> None:
        left = list(mails)
        try:
            with Connection(self.server) as connection:
                while left:
                    self._send_one(connection, left[0], outcome)
                    left.pop(0)
        except Undelivered as error:  # The server is away: what is left is for later.
            logger.warning("mail is delayed: %s", error)
            for each in left:
                self._postpone(each, str(error), outcome)

    def _send_one(self, connection: Connection, mail: Mail, outcome: Outcome) -> None:
        self.journal.register()  # Who is seen as gone must not go on: others send its mails.
        if not self.journal.atomically(lambda: self.outbox.renew(mail, self.name, LEASE)):
            return
        try:
            written = self.composer.message(mail, time.time())
        except ServiceUnavailable as error:
            self._postpone(mail, error.message, outcome)
            return
        except MlkitError as error:
            self._fail(mail, error.message, outcome)
            return
        except Exception as error:  # Damage or a defect fails this mail and no other.
            self._fail(mail, f"internal error: {type(error).__name__}: {error}", outcome)
            return
        message, recipient, reason, others = written
        if others:
            self.journal.atomically(lambda: self.outbox.add(others, time.time()))
            outcome.queued += len(others)
        if message is None:
            self._settle(mail, "dropped", reason)
            outcome.dropped += 1
            return
        mail = mail._replace(recipient=recipient)
        try:
            connection.send(message, recipient)
        except Rejected as error:
            self._fail(mail, str(error), outcome)
            return
        except Deferred as error:
            self._postpone(mail, str(error), outcome)
            return
        self._settle(mail, "sent")
        outcome.sent += 1

    def _fail(self, mail: Mail, error: str, outcome: Outcome) -> None:
        logger.warning("mail %s has failed: %s", mail.id, error)
        self._settle(mail, "failed", error)
        outcome.failed += 1

    def _postpone(self, mail: Mail, error: str, outcome: Outcome) -> None:
        if time.time() - max(mail.created, mail.due) > GIVE_UP_AFTER:
            self._fail(mail, error, outcome)
            return
        self._settle(mail, "queued", error, pause(mail.attempts))
        outcome.delayed += 1


def pause(attempts: int) -> float:
    """Return seconds to wait after some attempts: twice as long each time, and never in step."""
    longest = min(FIRST_PAUSE * 2.0 ** min(attempts, 20), LONGEST_PAUSE)
    return random.uniform(0.5, 1.0) * longest


class SenderThread(threading.Thread):
    """Sends mail beside whatever else a process does, and never disturbs it.

    Args:
        open_session: Opens the journal, for this thread.
        people: Who they are.
        server: Where mail is handed over.
        settings: How mail is written.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        people: PeopleFile,
        server: SmtpServer,
        settings: MailSettings,
    ) -> None:
        super().__init__(name="mail", daemon=True)
        self._parts = (people, server, settings)
        self._open = open_session
        self._stopping = threading.Event()
        self._pending = threading.Event()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._pending.set()

    def stop(self, timeout: float | None = None) -> None:
        """Send no more, and wait for what is being sent."""
        self._stopping.set()
        self._pending.set()
        self.join(timeout)

    def run(self) -> None:
        """Send until `stop`."""
        failures = 0
        while not self._stopping.is_set():
            try:
                with self._open() as session:
                    sender = Sender(session, *self._parts)
                    while not self._stopping.is_set():
                        outcome = sender.step()
                        failures = 0
                        if outcome.idle:
                            self._wait(POLL_INTERVAL)
            except Exception as error:  # Nothing about mail may stop a server.
                known = isinstance(error, MlkitError)
                logger.error("mail: %s", error, exc_info=None if known else error)
                failures += 1
                self._wait(min(2.0**failures, 60.0))

    def _wait(self, seconds: float) -> None:
        self._pending.wait(seconds)
        self._pending.clear()
