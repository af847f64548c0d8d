"""What a journal holds about people: whom a task asks, mails, absences, who did what."""

from __future__ import annotations

from typing import Any, NamedTuple

MAIL_STATES = ("queued", "sent", "failed", "dropped")


class Audited(NamedTuple):
    """Who did what, when and from where.

    Attributes:
        at: In seconds since 1970.
        source: Where it came from: `cli`, or the address of a client.
        action: `start`, `claim`, `complete`, `retry`, `variables`, `deploy`, `cancel`, ...
        subject: What it was done to: a task, a process, a message.
    """

    at: float
    who: str
    source: str
    action: str
    instance: str = ""
    subject: str = ""


class Notice(NamedTuple):
    """That a user task asks for somebody.

    Attributes:
        kind: `task` when it began to wait, `assigned` when it was given to somebody.
        at: When, in seconds since 1970.
    """

    id: int
    instance: int
    activation: int
    kind: str
    at: float


class NewMail(NamedTuple):
    """A mail that is to be sent.

    Attributes:
        message: Its Message-ID; no two mails have the same.
        kind: `task`, `digest`, or `text` for one that a diagram sends.
        instance: The number of the instance that it is about; 0 for none.
        activation: The user task's; 0 for none.
        person: The id of who gets it.
        recipient: The address.
        content: What cannot be read from the journal when it is sent.
        due: Not before this time, in seconds since 1970; 0: at once.
    """

    message: str
    kind: str
    instance: int
    activation: int
    person: str
    recipient: str
    content: dict[str, Any] = {}  # noqa: RUF012 - a tuple has no attributes to share
    due: float = 0.0


class Mail(NamedTuple):
    """A mail of the outbox.

    Attributes:
        state: `queued`, `sent`, `failed` (it will not be tried again by itself), or `dropped`
            (what it was about is over).
        recipient: The address that it went to or was tried at; before, that of its person.
        attempts: How often it was tried.
        due: When it is tried next, in seconds since 1970.
        error: Why it was not sent.
        ended: When it was sent, failed or dropped.
        damage: Why its content cannot be read; empty: it can.
    """

    id: int
    message: str
    kind: str
    instance: int
    activation: int
    person: str
    recipient: str
    content: dict[str, Any]
    state: str
    attempts: int
    due: float
    error: str
    created: float
    ended: float | None
    damage: str = ""


class Absence(NamedTuple):
    """That somebody stands in for somebody else, for a time.

    Attributes:
        begins: In seconds since 1970, as all times.
        by: Who entered it, at `at`.
        revoked: When it was ended before its time, by `revoked_by`.
    """

    id: int
    person: str
    substitute: str
    begins: float
    ends: float
    by: str
    at: float
    revoked: float | None = None
    revoked_by: str = ""
