"""What happens to instances, written: their events, with all that others see of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlkit.bpmn.engine.events import Cancel
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import Append, Changes, Entry, Row, TakenOver, encode
from mlkit.bpmn.journal.sql.external import SqlExternalTasks
from mlkit.bpmn.journal.sql.index import SqlIndex
from mlkit.bpmn.journal.sql.mailbox import SqlMailbox
from mlkit.bpmn.journal.sql.outbox import SqlOutbox
from mlkit.storage.database import Database

SNAPSHOT_EVERY = 500
_EVENT = {
    "instance": "BIGINT", "sequence": "BIGINT", "at": "DOUBLE PRECISION", "event": "{blob}",
    "trace": "{blob}", "log": "{blob}",
}  # fmt: skip
_ADD_EVENTS = f"INSERT INTO events ({', '.join(_EVENT)}) SELECT {', '.join(_EVENT)} FROM {{rows}}"
_FENCE = {"number": "BIGINT", "epoch": "BIGINT", "sequence": "BIGINT"}
_STEP = {"sequence": "BIGINT", "updated": "DOUBLE PRECISION"}
_ROW = {
    **_STEP, "phase": "TEXT", "key": "TEXT", "due": "DOUBLE PRECISION", "ended": "DOUBLE PRECISION",
}  # fmt: skip
_RELEASED = {**_ROW, "owner": "TEXT"}


class EventWriter:
    """Appends to a journal; every method runs inside a transaction.

    Args:
        database: The journal's.
        mailbox: Has the verdicts on events that were delivered.
        index: What lists read.
        outbox: The mail of the instances.
        external: Their tasks for external workers.
    """

    def __init__(
        self,
        database: Database,
        mailbox: SqlMailbox,
        index: SqlIndex,
        outbox: SqlOutbox,
        external: SqlExternalTasks,
    ) -> None:
        self._database = database
        self._mailbox = mailbox
        self._index = index
        self._outbox = outbox
        self._external = external

    def append_all(self, appends: Sequence[Append]) -> dict[int, int]:
        """Append events of several instances inside a transaction; return the new sequence numbers.

        Raises:
            TakenOver: Another process owns one of the instances now.
        """
        # The fence comes first: who was taken over waits for no other lock, and writes nothing.
        self._fence(appends)
        verdicts: dict[int, str] = {}
        ended: dict[int, str] = {}
        for each in appends:
            verdicts |= each.changes.verdicts
            if each.state.status != "running":
                ended[each.number] = f"instance {each.row.id} is {each.status}"
        self._database.defer_rows(_ADD_EVENTS, _EVENT, _list_events(appends))
        for each in appends:
            if each.changes.moved is not None:
                self._redefine(each.changes.moved, each.state)
        if verdicts:
            self._mailbox.take(verdicts)
        self._index.note_all(appends)
        for each in appends:
            if each.changes.mails:
                self._outbox.add(each.changes.mails, each.at)
            if each.after // SNAPSHOT_EVERY > each.sequence // SNAPSHOT_EVERY:
                self._keep_snapshot(each)
        if ended:
            self._mailbox.forget(ended)
            self._external.forget(ended)
        return {each.number: each.after for each in appends}

    def _fence(self, appends: Sequence[Append]) -> None:
        """Change the rows of instances, if this process still owns them at these numbers.

        Most steps leave the columns alone that have an index, which would be written anew.
        """
        steps: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        released: list[tuple[Any, ...]] = []
        for each in appends:
            step = each.number, each.row.epoch, each.sequence, each.after, each.at
            if not each.releases and self._index.knows(each):
                steps.append(step)
                continue
            ended = None if each.state.status == "running" else each.at
            if each.releases:
                released.append((*step, *each.indexed, ended, ""))
            else:
                rows.append((*step, *each.indexed, ended))

        def missed(numbers: set[int]) -> None:
            first = min(numbers)
            raise TakenOver(next(each.row for each in appends if each.number == first))

        for columns, values in ((_STEP, steps), (_ROW, rows), (_RELEASED, released)):
            if values:
                self._database.defer_updates("instances", _FENCE, columns, values, missed)

    def _keep_snapshot(self, append: Append) -> None:
        self._database.defer(
            "INSERT INTO snapshots (instance, sequence, state) VALUES (?, ?, ?)"
            " ON CONFLICT (instance) DO UPDATE"
            " SET sequence = excluded.sequence, state = excluded.state",
            (append.number, append.after, encode(append.state)),
        )

    def _redefine(self, row: Row, state: State) -> None:
        """Set the version of an instance's definition, inside a transaction."""
        self._database.defer(
            "UPDATE instances SET definition = ?, options = ? WHERE number = ?",
            (row.definition, encode(row.options), row.number),
        )
        for each in state.activations.values():
            self._external.rename(row.number, each.id, each.node, row.definition)

    def abandon(self, row: Row, event: Cancel, at: float) -> None:
        """End an instance whose events cannot be replayed, inside a transaction."""
        state = State(row.process, status="cancelled", key=row.key)
        (last,) = self._database.query(
            "SELECT coalesce(max(sequence), 0) FROM events WHERE instance = ?", (row.number,)
        )[0]
        self._database.execute(
            "UPDATE instances SET sequence = ? WHERE number = ? AND epoch = ?",
            (last, row.number, row.epoch),
        )
        self.append_all([Append(row, last, state, Changes([Entry(at, event, [])]))])


def _list_events(appends: Sequence[Append]) -> list[tuple[Any, ...]]:
    """Return the rows of the events of appends."""
    found: list[tuple[Any, ...]] = []
    for append in appends:
        for position, each in enumerate(append.changes.entries, append.sequence + 1):
            log = None if each.log is None else encode(each.log)
            event, trace = encode(each.event), encode(each.trace)
            found.append((append.number, position, each.at, event, trace, log))
    return found
