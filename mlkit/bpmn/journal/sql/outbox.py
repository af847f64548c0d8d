"""The outbox: mail that is to be sent, written in the same commit as what it is about.

A notice records that a user task asks for somebody; it needs neither people nor addresses, so that
every process that moves instances can write it. Whoever sends mail turns notices into mails, one
for each recipient. A mail is leased while it is being sent: a sender that dies leaves it to
others, at once if they see that its process is gone, and the recipient's program knows a second
copy by its Message-ID.

Every method that writes runs inside a transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mlkit.bpmn.journal.notices import Mail, NewMail, Notice
from mlkit.bpmn.journal.records import encode
from mlkit.bpmn.journal.sql.decoding import decode
from mlkit.errors import ConfigurationError
from mlkit.storage.database import Database

OUTBOX_VERSIONS = (
    """
CREATE TABLE notices (
  id {id}, instance BIGINT NOT NULL, activation BIGINT NOT NULL, kind TEXT NOT NULL,
  at DOUBLE PRECISION NOT NULL
);
CREATE TABLE mails (
  id {id}, message TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, instance BIGINT NOT NULL,
  activation BIGINT NOT NULL, person TEXT NOT NULL, recipient TEXT NOT NULL,
  content {blob} NOT NULL, state TEXT NOT NULL, attempts BIGINT NOT NULL DEFAULT 0,
  due DOUBLE PRECISION NOT NULL, lease DOUBLE PRECISION NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
  created DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION
);
CREATE INDEX mails_queued ON mails (due) WHERE state = 'queued'
""",
)
_COLUMNS = (
    "mails.id, message, kind, instance, activation, person, recipient, content, state, attempts,"
    " due, error, mails.created, ended"
)


class SqlOutbox:
    """The tables of a journal that hold mail.

    Args:
        database: The journal's.
        is_alive: Returns whether the process with a name, under which it sends, lives.
    """

    def __init__(self, database: Database, is_alive: Callable[[str], bool]) -> None:
        self.database = database
        self._is_alive = is_alive

    # -- what is to be sent ----------------------------------------------------------------

    def notice(self, instance: int, activation: int, kind: str, at: float) -> None:
        """Note that a user task asks for somebody."""
        self.database.execute(
            "INSERT INTO notices (instance, activation, kind, at) VALUES (?, ?, ?, ?)",
            (instance, activation, kind, at),
        )

    def notices(self, limit: int) -> list[Notice]:
        """Return the oldest notices."""
        rows = self.database.query(
            f"SELECT id, instance, activation, kind, at FROM notices ORDER BY id LIMIT {limit:d}"
        )
        return [Notice(*row) for row in rows]

    def add(self, mails: Iterable[NewMail], at: float) -> None:
        """Queue mails; one whose Message-ID is there already is not added."""
        for each in mails:
            self.database.execute(
                "INSERT INTO mails (message, kind, instance, activation, person, recipient,"
                " content, state, due, created) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)"
                " ON CONFLICT (message) DO NOTHING",
                (each.message, each.kind, each.instance, each.activation, each.person,
                 each.recipient, encode(each.content), each.due or at, at),
            )  # fmt: skip

    def turn(self, notice: Notice, mails: Sequence[NewMail], at: float) -> bool:
        """Put mails in the place of a notice; return whether it was still there."""
        if not self.database.execute("DELETE FROM notices WHERE id = ?", (notice.id,)):
            return False
        self.add(mails, at)
        return True

    # -- sending ---------------------------------------------------------------------------

    @property
    def _free(self) -> str:
        clock = self.database.clock
        return f"state = 'queued' AND due <= {clock} AND lease <= {clock}"

    def is_due(self) -> bool:
        """Return whether a mail could be claimed; this only reads."""
        return bool(self.database.query(f"SELECT 1 FROM mails WHERE {self._free} LIMIT 1"))

    def claim(self, owner: str, limit: int, seconds: float) -> list[Mail]:
        """Lease mails that are due, for a number of seconds; nobody else gets them meanwhile."""
        clock, free = self.database.clock, self._free
        statement = (
            f"UPDATE mails SET owner = ?, lease = {clock} + ? WHERE id IN"
            f" (SELECT id FROM mails WHERE {free} ORDER BY due, id LIMIT {limit:d}) AND {free}"
            f" RETURNING {_COLUMNS.replace('mails.', '')}"
        )
        rows = self.database.query(statement, (owner, seconds))
        return sorted(map(_mail, rows), key=lambda each: (each.due, each.id))

    def find_abandoned(self) -> list[str]:
        """Return the senders that have claimed mails and whose processes are gone."""
        clock = self.database.clock
        claimed = self.database.query(
            "SELECT DISTINCT owner FROM mails"
            f" WHERE state = 'queued' AND due <= {clock} AND lease > {clock}"
        )
        return [owner for (owner,) in claimed if not self._is_alive(owner)]

    def release(self, owners: Iterable[str]) -> None:
        """End the leases of senders before their time."""
        for each in owners:
            self.database.execute(
                "UPDATE mails SET owner = '', lease = 0 WHERE owner = ? AND state = 'queued'",
                (each,),
            )

    def renew(self, mail: Mail, owner: str, seconds: float) -> bool:
        """Lengthen a lease; return whether it was still this owner's."""
        statement = (
            f"UPDATE mails SET lease = {self.database.clock} + ?"
            " WHERE id = ? AND owner = ? AND state = 'queued'"
        )
        return bool(self.database.execute(statement, (seconds, mail.id, owner)))

    def settle(
        self, mail: Mail, owner: str, state: str, error: str = "", again: float | None = None
    ) -> None:
        """Record how sending went: `sent`, `failed`, `dropped`, or `queued` for another time.

        Where another sender has the mail meanwhile, it decides; what was sent was sent.

        Args:
            mail: The mail, with the address that it went to.
            owner: Who claimed it.
            state: What it is from now on.
            error: Why it was not sent.
            again: Seconds until the next attempt, where it is queued.
        """
        clock = self.database.clock
        ended = "NULL" if state == "queued" else clock
        statement = (
            "UPDATE mails SET state = ?, error = ?, recipient = ?,"
            f" owner = '', lease = 0, ended = {ended}, attempts = attempts + ?,"
            f" due = {'due' if again is None else clock + ' + ?'}"
            " WHERE id = ? AND state = 'queued'" + (" AND owner = ?" if state != "sent" else "")
        )
        pause = () if again is None else (again,)
        mine = (mail.id, owner) if state != "sent" else (mail.id,)
        values = (state, error, mail.recipient, int(state != "dropped"))
        self.database.execute(statement, (*values, *pause, *mine))

    # -- looking ---------------------------------------------------------------------------

    def find(self, message: str) -> Mail | None:
        """Return the mail with a Message-ID, in whichever state; None where there is none."""
        rows = self.database.query(f"SELECT {_COLUMNS} FROM mails WHERE message = ?", (message,))
        return _mail(rows[0]) if rows else None

    def mails(self, state: str | None = None, limit: int = 1000) -> list[Mail]:
        """Return mails, newest first; those of one state, where it is named."""
        where, values = ("WHERE state = ?", (state,)) if state else ("", ())
        rows = self.database.query(
            f"SELECT {_COLUMNS} FROM mails {where} ORDER BY id DESC LIMIT {limit:d}", values
        )
        return [_mail(each) for each in rows]

    def damage(self) -> list[str]:
        """Return the mails whose content cannot be read."""
        rows = self.database.query(f"SELECT {_COLUMNS} FROM mails ORDER BY mails.id")
        place = self.database.place
        return [f"{place}: mail {e.id}: {e.damage}" for e in map(_mail, rows) if e.damage]

    def counts(self) -> dict[str, int]:
        """Return how many mails there are in each state; notices count as queued."""
        found = dict(self.database.query("SELECT state, count(*) FROM mails GROUP BY state"))
        ((waiting,),) = self.database.query("SELECT count(*) FROM notices")
        found["queued"] = found.get("queued", 0) + waiting
        return found

    def retry(self, wanted: Iterable[int] | None = None) -> int:
        """Send mails again that failed or are delayed, of some numbers or all; return how many.

        What only waits for its time stays: a digest that went early would leave out what comes
        before its hour.
        """
        clock, numbers = self.database.clock, None if wanted is None else list(wanted)
        again = (
            f"UPDATE mails SET state = 'queued', due = {clock}, lease = 0, ended = NULL WHERE"
            " (state = 'failed' OR state = 'queued' AND (attempts > 0 OR lease > 0))"
        )

        if numbers is None:
            return self.database.execute(again)
        return sum(self.database.execute(f"{again} AND id = ?", (each,)) for each in numbers)


def _mail(row: Sequence[Any]) -> Mail:
    content: dict[str, Any] = {}
    damage = ""
    try:
        content = decode(row[7], dict[str, Any], "its content")
    except ConfigurationError as error:
        damage = error.message
    return Mail._make([*row[:7], content, *row[8:], damage])
